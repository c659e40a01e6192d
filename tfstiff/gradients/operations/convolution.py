"""Convolutions: the gradient of a kernel for one example is its patches times its output gradients."""

from __future__ import annotations

import itertools
import math

import numpy as np
import tensorflow as tf

from tfstiff.gradients.forming import in_parts, padded_width, sum_of_outers
from tfstiff.gradients.operations import NoRule, Use, register

# Patches are gathered by copying the channels at one place of the image at a time, which are too few bytes where there
# are this many or fewer; then slices of whole planes are faster, but for strides, at which slices are ten times slower.
_FEW_CHANNELS = 4


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

    def form(image: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        patches = window.patches(image, gradient.shape[1:-1].as_list())
        by_channel = tf.reshape(gradient, [-1, patches.shape[1], 1, channels, multiplier])
        return tf.reshape(tf.reduce_sum(patches[..., None] * by_channel, 1), [-1, *use.weight_shape])

    num_bytes = math.prod(gradient.shape[1:]) * math.prod(kernel) * image.dtype.size
    formed = in_parts(form, (image, gradient), num_bytes, use.weight_shape)
    return use.sum_over_rows(formed, use.output)


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
    """The kernel gradients of each row, flat; see `sum_of_outers`."""
    entries = math.prod(window.kernel) * image.shape[-1]
    num_bytes = math.prod(gradient.shape[1:-1]) * entries * image.dtype.size
    width = padded_width(entries, gradient.shape[-1], image.dtype)
    return in_parts(window.kernel_gradients, (image, gradient), num_bytes, [width])


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
        """(rows, kernel entries × channels in × channels out): patches times output gradients, summed over positions.

        A few zeros may stand behind them.
        """
        out, channels = gradient.shape[1:-1].as_list(), image.shape[-1]
        gradient = tf.reshape(gradient, [-1, math.prod(out), gradient.shape[-1]])
        if channels <= _FEW_CHANNELS and all(stride == 1 for stride in self._strides):
            return self._by_slices(image, gradient, out)
        patches = self.patches(image, out)
        return sum_of_outers(tf.reshape(patches, [-1, math.prod(out), math.prod(self.kernel) * channels]), gradient)

    def patches(self, image: tf.Tensor, out: list[int]) -> tf.Tensor:
        """(rows, positions, kernel entries, channels): what each kernel entry meets at each output position."""
        image = self._padded(image, out)
        sizes, rank = image.shape[1:-1].as_list(), len(out)
        places = []
        for axis, (steps, entries) in enumerate(zip(out, self.kernel, strict=True)):
            along = np.add.outer(np.arange(steps) * self._strides[axis], np.arange(entries) * self._dilations[axis])
            places.append(np.expand_dims(along, [other for other in range(2 * rank) if other % rank != axis]))
        index = np.ravel_multi_index(np.broadcast_arrays(*places), sizes).reshape(math.prod(out), -1)
        flat = tf.reshape(image, [-1, math.prod(sizes), image.shape[-1]])
        return tf.gather(flat, index.astype(np.int32), axis=1)

    def _by_slices(self, image: tf.Tensor, gradient: tf.Tensor, out: list[int]) -> tf.Tensor:
        """The same product for strides of 1, a part of the kernel at a time, from slices of each channel's plane.

        Planes shifted along the last axis are laid beside each other; along the others there is one product a shift.
        """
        rank, width = len(out), self.kernel[-1] * image.shape[-1]
        planes = tf.transpose(self._padded(image, out), [0, rank + 1, *range(1, rank + 1)])
        shifted = tf.stack([self._shifted(planes, rank - 1, entry, out) for entry in range(self.kernel[-1])], 1)
        products = []
        for offset in itertools.product(*map(range, self.kernel[:-1])):
            patches = shifted
            for axis, entry in enumerate(offset):
                patches = self._shifted(patches, axis, entry, out)
            products.append(tf.matmul(tf.reshape(patches, [-1, width, math.prod(out)]), gradient))
        size = math.prod(self.kernel) * image.shape[-1]
        missing = padded_width(size, gradient.shape[-1], image.dtype) // gradient.shape[-1] - size
        products.append(tf.zeros_like(products[0][:, :missing]))
        return tf.reshape(tf.concat(products, 1), [-1, (size + missing) * gradient.shape[-1]])

    def _shifted(self, planes: tf.Tensor, axis: int, entry: int, out: list[int]) -> tf.Tensor:
        """What the kernel's entry along a spatial axis, these being the last ones, meets where the stride is 1."""
        start = entry * self._dilations[axis]
        after = (slice(None),) * (len(out) - 1 - axis)
        return planes[(..., slice(start, start + out[axis]), *after)]

    def _padded(self, image: tf.Tensor, out: list[int]) -> tf.Tensor:
        """`image` with the zeros around it that the operation's padding means."""
        around = [self._zeros(axis, image.shape[axis + 1], size) for axis, size in enumerate(out)]
        return tf.pad(image, [[0, 0], *around, [0, 0]]) if any(map(any, around)) else image

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
