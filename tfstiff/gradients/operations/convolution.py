"""Convolutions: per-example kernel gradients, by one batched matrix product for each row of the kernel."""

from __future__ import annotations

import itertools
import math

import tensorflow as tf

from tfstiff.gradients.forming import formed_in_parts
from tfstiff.gradients.operations import NoRule, Use, register


@register("Conv2D", "Conv3D")
def convolution(use: Use) -> tf.Tensor:
    """The gradients of the kernel (*kernel, channels in / groups, channels out), flat."""
    if use.operand != 1:
        raise NoRule(f"a {use.operation.type} with weights as its image")
    return _kernel_gradients(use, use.operation.inputs[0], use.output_gradient, like=use.output)


@register("Conv2DBackpropInput", "Conv3DBackpropInputV2")
def transposed_convolution(use: Use) -> tf.Tensor:
    """A transposed convolution is the backward pass of a plain one, in which input and output change places."""
    if use.operand != 1:
        raise NoRule(f"a {use.operation.type} with weights as its image")
    return _kernel_gradients(use, use.output_gradient, use.operation.inputs[2], like=use.output)


@register("DepthwiseConv2dNative")
def depthwise_convolution(use: Use) -> tf.Tensor:
    """(n, kernel height, kernel width, channels, multiplier): each channel with its own outputs only."""
    if use.operand != 1:
        raise NoRule(f"a {use.operation.type} with weights as its image")
    *kernel, channels, multiplier = use.weight_shape
    window = _Window(use.operation, kernel)
    image, gradient = window.channels_last(use.data), window.channels_last(use.output_gradient)
    out = gradient.shape[1:-1].as_list()
    image = window.padded(image, out)
    gradient = tf.reshape(gradient, [-1, *out, channels, multiplier])
    entries = [
        tf.reduce_sum(window.shifted(image, offset, out)[..., None] * gradient, [1, 2])
        for offset in itertools.product(*map(range, kernel))
    ]
    return use.sum_over_rows(tf.reshape(tf.stack(entries, 1), [-1, *kernel, channels, multiplier]), use.output)


def _kernel_gradients(use: Use, image: tf.Tensor, gradient: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Per-example gradients of the kernel of the convolution that takes `image` to the shape of `gradient`, flat.

    With padded image x, strides s and dilations e, the kernel entry at (r, k) meets x[s·i + e·r, s·j + e·k] at output
    position (i, j), so its gradient is the sum over (i, j) of that entry times the output gradient there.
    """
    *kernel, channels_in, channels_out = use.weight_shape
    window = _Window(use.operation, kernel)
    image, gradient = window.channels_last(image), window.channels_last(gradient)
    if None in image.shape[1:] or None in gradient.shape[1:]:
        raise NoRule(f"a {use.operation.type} of a size that is not known while tracing")
    groups = image.shape[-1] // channels_in
    shape = [-1, *kernel, channels_in, channels_out // groups]
    place = use.place(like)
    if groups == 1 and (place.axis, place.before, place.after) == (0, 1, 1):
        return _formed(window, image, gradient)
    parts = [
        tf.reshape(_formed(window, *part)[:, : math.prod(shape[1:])], shape)
        for part in zip(tf.split(image, groups, -1), tf.split(gradient, groups, -1), strict=True)
    ]
    return use.sum_over_rows(tf.concat(parts, -1), like)


def _formed(window: _Window, image: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """The kernel gradients of each row, flat; see `formed_in_parts`."""
    num_bytes = window.count_copies(image.shape, gradient.shape) * image.dtype.size
    size = math.prod(window.kernel) * image.shape[-1] * gradient.shape[-1]
    return formed_in_parts(window.kernel_gradients, (image, gradient), num_bytes, size)


class _Window:
    """How a convolution's kernel moves over its image.

    Attributes:
        kernel: Its size along each spatial axis.
    """

    def __init__(self, operation: tf.Operation, kernel: list[int]) -> None:
        self._operation = operation
        self.kernel = kernel
        self._channels_first = operation.get_attr("data_format").startswith(b"NC")
        first = 2 if self._channels_first else 1
        self._spatial = slice(first, first + len(kernel))
        self._strides = operation.get_attr("strides")[self._spatial]
        self._dilations = operation.get_attr("dilations")[self._spatial]

    def channels_last(self, tensor: tf.Tensor) -> tf.Tensor:
        """(rows, *spatial, channels)."""
        if not self._channels_first:
            return tensor
        return tf.transpose(tensor, [0, *range(2, tensor.shape.rank), 1])

    def kernel_gradients(self, image: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """(rows, *kernel, channels in, channels out), by products of shifted copies laid side by side.

        Along the last axis copies of the image are laid side by side. Along the others, either the image is shifted
        again, with one product for each shift; or the gradient is shifted against the image, all shifts side by side
        in one product: what makes the smaller copies. A copy of the image for each kernel entry, as `extract_patches`
        makes, costs more to write than it saves.
        """
        out = gradient.shape[1:-1].as_list()
        image = self.padded(image, out)
        side_by_side = tf.concat(
            [self.shifted_along(image, -1, offset, out) for offset in range(self.kernel[-1])], axis=-1
        )
        if self._shifts_gradient(image.shape[-1], gradient.shape[-1]):
            return self._by_shifted_gradients(side_by_side, gradient)
        positions = tf.reshape(gradient, [-1, math.prod(out), gradient.shape[-1]])
        rows = []
        for offsets in itertools.product(*map(range, self.kernel[:-1])):
            patch = side_by_side
            for axis, offset in enumerate(offsets):
                patch = self.shifted_along(patch, axis, offset, out)
            patch = tf.reshape(patch, [-1, positions.shape[1], side_by_side.shape[-1]])
            rows.append(tf.matmul(patch, positions, transpose_a=True))
        return tf.reshape(tf.stack(rows, 1), [-1, *self.kernel, image.shape[-1], gradient.shape[-1]])

    def count_copies(self, image: tf.TensorShape, gradient: tf.TensorShape) -> int:
        """Entries for each row of the largest copies that `kernel_gradients` holds at a time."""
        channels_in, channels_out, positions = image[-1], gradient[-1], math.prod(gradient[1:-1])
        shifted = channels_out if self._shifts_gradient(channels_in, channels_out) else self.kernel[-1] * channels_in
        return positions * (self.kernel[-1] * channels_in + math.prod(self.kernel[:-1]) * shifted)

    def _shifts_gradient(self, channels_in: int, channels_out: int) -> bool:
        is_dense = all(stride == 1 for stride in self._strides[:-1])
        return is_dense and math.prod(self.kernel[:-1]) > 1 and channels_out <= self.kernel[-1] * channels_in

    def _by_shifted_gradients(self, side_by_side: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """The gradient at position i belongs to image entries i + e·r: shifted by e·r it stands beside them."""
        channels_in, channels_out = side_by_side.shape[-1] // self.kernel[-1], gradient.shape[-1]
        copies = []
        for offsets in itertools.product(*map(range, self.kernel[:-1])):
            around = []
            for axis, offset in enumerate(offsets):
                first = offset * self._dilations[axis]
                around.append([first, side_by_side.shape[axis + 1] - gradient.shape[axis + 1] - first])
            copies.append(tf.pad(gradient, [[0, 0], *around, [0, 0], [0, 0]]))
        positions = math.prod(side_by_side.shape[1:-1])
        product = tf.matmul(
            tf.reshape(side_by_side, [-1, positions, side_by_side.shape[-1]]),
            tf.reshape(tf.concat(copies, -1), [-1, positions, len(copies) * channels_out]),
            transpose_a=True,
        )
        product = tf.reshape(product, [-1, self.kernel[-1] * channels_in, len(copies), channels_out])
        return tf.reshape(tf.transpose(product, [0, 2, 1, 3]), [-1, *self.kernel, channels_in, channels_out])

    def padded(self, image: tf.Tensor, out: list[int]) -> tf.Tensor:
        """`image` with the zeros around it that the operation's padding means."""
        around = [self._zeros(axis, image.shape[axis + 1], size) for axis, size in enumerate(out)]
        return tf.pad(image, [[0, 0], *around, [0, 0]])

    def shifted(self, image: tf.Tensor, offset: tuple[int, ...], out: list[int]) -> tf.Tensor:
        """What the kernel entry at `offset` meets: (rows, *out, channels)."""
        for axis, steps in enumerate(offset):
            image = self.shifted_along(image, axis, steps, out)
        return image

    def shifted_along(self, image: tf.Tensor, axis: int, offset: int, out: list[int]) -> tf.Tensor:
        """The same along one spatial axis."""
        start, stride = offset * self._dilations[axis], self._strides[axis]
        index = [slice(None)] * image.shape.rank
        index[axis % len(out) + 1] = slice(start, start + (out[axis] - 1) * stride + 1, stride)
        return image[tuple(index)]

    def _zeros(self, axis: int, size: int, out: int) -> list[int]:
        padding = self._operation.get_attr("padding")
        if padding == b"VALID":
            return [0, 0]
        if padding == b"EXPLICIT":
            first = 2 * (self._spatial.start + axis)
            return list(self._operation.get_attr("explicit_paddings")[first : first + 2])
        extent = (self.kernel[axis] - 1) * self._dilations[axis] + 1
        total = max((out - 1) * self._strides[axis] + extent - size, 0)
        return [total // 2, total - total // 2]
