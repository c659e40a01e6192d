"""Convolutions: per-example kernel gradients, by one batched matrix product for each row of the kernel."""

from __future__ import annotations

import itertools

import tensorflow as tf

from tfstiff.gradients.operations import NoRule, Use, register


@register("Conv2D", "Conv3D")
def convolution(use: Use) -> tf.Tensor:
    """(n, *kernel, channels in / groups, channels out)."""
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
    """Per-example gradients of the kernel of the convolution that takes `image` to the shape of `gradient`.

    With padded image x, strides s and dilations e, the kernel entry at (r, k) meets x[s·i + e·r, s·j + e·k] at output
    position (i, j), so its gradient is the sum over (i, j) of that entry times the output gradient there. Shifted
    copies are laid side by side along the last axis only; a copy for each (r, k), as `extract_patches` makes, costs
    more to write than it saves.
    """
    *kernel, channels_in, channels_out = use.weight_shape
    window = _Window(use.operation, kernel)
    image, gradient = window.channels_last(image), window.channels_last(gradient)
    if None in image.shape[1:] or None in gradient.shape[1:]:
        raise NoRule(f"a {use.operation.type} of a size that is not known while tracing")
    out = gradient.shape[1:-1].as_list()
    image = window.padded(image, out)
    groups = image.shape[-1] // channels_in
    by_group = []
    for image_part, gradient_part in zip(tf.split(image, groups, -1), tf.split(gradient, groups, -1), strict=True):
        positions = tf.reshape(gradient_part, [-1, gradient.shape[1:-1].num_elements(), channels_out // groups])
        side_by_side = tf.concat(
            [window.shifted_along(image_part, -1, offset, out) for offset in range(kernel[-1])], axis=-1
        )
        rows = []
        for offsets in itertools.product(*map(range, kernel[:-1])):
            patch = side_by_side
            for axis, offset in enumerate(offsets):
                patch = window.shifted_along(patch, axis, offset, out)
            patch = tf.reshape(patch, [-1, positions.shape[1], kernel[-1] * channels_in])
            rows.append(tf.matmul(patch, positions, transpose_a=True))
        by_group.append(tf.reshape(tf.stack(rows, 1), [-1, *kernel, channels_in, channels_out // groups]))
    return use.sum_over_rows(tf.concat(by_group, -1) if groups > 1 else by_group[0], like)


class _Window:
    """How a convolution's kernel moves over its image."""

    def __init__(self, operation: tf.Operation, kernel: list[int]) -> None:
        self._operation = operation
        self._kernel = kernel
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
        extent = (self._kernel[axis] - 1) * self._dilations[axis] + 1
        total = max((out - 1) * self._strides[axis] + extent - size, 0)
        return [total // 2, total - total // 2]
