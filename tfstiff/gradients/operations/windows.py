"""How the kernel of a convolution moves over its image, and the kernel gradients of single rows that follow from it.

With padded image x, strides s and dilations e, the kernel entry at (r, k) meets x[s·i + e·r, s·j + e·k] at output
position (i, j), so its gradient is the sum over (i, j) of that entry times the output gradient there.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfstiff.gradients.forming import padded_width, sum_of_outers

# Patches are gathered by copying the channels at one place of the image at a time, which are too few bytes where there
# are this many or fewer; then slices of whole planes are faster, but for strides, at which slices are ten times slower.
_FEW_CHANNELS = 4


@dataclass(frozen=True)
class Window:
    """How a kernel moves. Images are (rows, *spatial, channels), and so are output gradients.

    Attributes:
        kernel: Its size along each spatial axis.
        strides: Steps from one output position to the next.
        dilations: Steps from one kernel entry to the next.
        padding: Zeros before and behind each spatial axis, or "SAME" or "VALID".
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    padding: str | tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, operation: tf.Operation, kernel: tuple[int, ...]) -> Window:
        """That of a convolution, plain, depthwise or transposed."""
        first = 2 if operation.get_attr("data_format").startswith(b"NC") else 1
        spatial = slice(first, first + len(kernel))
        padding: str | tuple[tuple[int, int], ...] = operation.get_attr("padding").decode()
        if padding == "EXPLICIT":
            given = operation.get_attr("explicit_paddings")
            padding = tuple(zip(given[0::2], given[1::2], strict=True))[spatial]
        strides, dilations = (tuple(operation.get_attr(name)[spatial]) for name in ("strides", "dilations"))
        return cls(kernel, strides, dilations, padding)

    def kernel_gradients(self, image: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """(rows, kernel entries × channels in × channels out): patches times output gradients, summed over positions.

        A few zeros may stand behind them.
        """
        out, channels = gradient.shape[1:-1].as_list(), image.shape[-1]
        gradient = tf.reshape(gradient, [-1, math.prod(out), gradient.shape[-1]])
        if channels <= _FEW_CHANNELS and all(stride == 1 for stride in self.strides):
            return self._by_slices(image, gradient, out)
        patches = self.patches(image, out)
        return sum_of_outers(tf.reshape(patches, [-1, math.prod(out), math.prod(self.kernel) * channels]), gradient)

    def grouped_kernel_gradients(self, image: tf.Tensor, gradient: tf.Tensor, groups: int) -> tf.Tensor:
        """(rows, kernel entries × channels in each group × channels out): the groups are so many rows more."""
        by_group = [self._group_rows(tensor, groups) for tensor in (image, gradient)]
        shape = [math.prod(self.kernel) * by_group[0].shape[-1], by_group[1].shape[-1]]
        formed = self.kernel_gradients(*by_group)[:, : math.prod(shape)]
        formed = tf.transpose(tf.reshape(formed, [-1, groups, *shape]), [0, 2, 1, 3])
        return tf.reshape(formed, [-1, groups * math.prod(shape)])

    def depthwise_kernel_gradients(self, image: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """(rows, kernel entries × channels out): of a kernel that sees one channel at a time.

        There is one product with the image, shifted, for each kernel entry. Strides become axes of their own, since
        slices that skip entries are ten times slower.
        """
        out, channels = gradient.shape[1:-1].as_list(), image.shape[-1]
        steps = list(zip(self.kernel, self.strides, self.dilations, out, strict=True))
        lengths = [(((k - 1) * dilation) // stride + size) * stride for k, stride, dilation, size in steps]
        image = self._padded(image, out, lengths)
        shape, gradient_shape = [-1], [-1]
        for (_, stride, _, size), length in zip(steps, lengths, strict=True):
            shape += [length] if stride == 1 else [length // stride, stride]
            gradient_shape += [size] if stride == 1 else [size, 1]
        multiplier = [gradient.shape[-1] // channels] if gradient.shape[-1] > channels else []
        image = tf.reshape(image, [*shape, channels, *([1] if multiplier else [])])
        gradient = tf.reshape(gradient, [*gradient_shape, channels, *multiplier])
        sizes = [-1, *gradient_shape[1:], *image.shape[len(shape) :]]
        products = []
        for entry in itertools.product(*map(range, self.kernel)):
            begin = [0]
            for place, (_, stride, dilation, _) in zip(entry, steps, strict=True):
                offset = place * dilation
                begin += [offset] if stride == 1 else [offset // stride, offset % stride]
            begin += [0] * (len(sizes) - len(begin))
            products.append(tf.reduce_sum(tf.slice(image, begin, sizes) * gradient, range(1, len(shape))))
        return tf.reshape(tf.concat(products, 1), [-1, len(products) * channels * math.prod(multiplier)])

    def patches(self, image: tf.Tensor, out: list[int]) -> tf.Tensor:
        """(rows, positions, kernel entries, channels): what each kernel entry meets at each output position."""
        image = self._padded(image, out)
        sizes, rank = image.shape[1:-1].as_list(), len(out)
        places = []
        for axis, (steps, entries) in enumerate(zip(out, self.kernel, strict=True)):
            along = np.add.outer(np.arange(steps) * self.strides[axis], np.arange(entries) * self.dilations[axis])
            places.append(np.expand_dims(along, [other for other in range(2 * rank) if other % rank != axis]))
        index = np.ravel_multi_index(np.broadcast_arrays(*places), sizes).reshape(math.prod(out), -1)
        flat = tf.reshape(image, [-1, math.prod(sizes), image.shape[-1]])
        return tf.gather(flat, index.astype(np.int32), axis=1)

    def _by_slices(self, image: tf.Tensor, gradient: tf.Tensor, out: list[int]) -> tf.Tensor:
        """As `kernel_gradients`, for strides of 1: a part of the kernel at a time, slices of each channel's plane.

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
        start = entry * self.dilations[axis]
        after = (slice(None),) * (len(out) - 1 - axis)
        return planes[(..., slice(start, start + out[axis]), *after)]

    def _padded(self, image: tf.Tensor, out: list[int], lengths: list[int] | None = None) -> tf.Tensor:
        """`image` with the zeros around it that the padding means; brought to `lengths` by zeros or cuts at the end."""
        around = [self._zeros(axis, image.shape[axis + 1], size) for axis, size in enumerate(out)]
        if lengths is not None:
            sizes = [before + size for (before, _), size in zip(around, image.shape[1:-1], strict=True)]
            around = [
                (before, max(length - size, 0))
                for (before, _), size, length in zip(around, sizes, lengths, strict=True)
            ]
        image = tf.pad(image, [[0, 0], *around, [0, 0]]) if any(map(any, around)) else image
        if lengths is not None and image.shape[1:-1].as_list() != lengths:
            image = image[(slice(None), *(slice(length) for length in lengths))]
        return image

    def _zeros(self, axis: int, size: int, out: int) -> tuple[int, int]:
        if not isinstance(self.padding, str):
            return self.padding[axis]
        if self.padding == "VALID":
            return 0, 0
        extent = (self.kernel[axis] - 1) * self.dilations[axis] + 1
        total = max((out - 1) * self.strides[axis] + extent - size, 0)
        return total // 2, total - total // 2

    @staticmethod
    def _group_rows(tensor: tf.Tensor, groups: int) -> tf.Tensor:
        """(rows, *spatial, channels) to (rows × groups, *spatial, channels of a group)."""
        *spatial, channels = tensor.shape[1:].as_list()
        axes = range(1, len(spatial) + 1)
        split = tf.reshape(tensor, [-1, *spatial, groups, channels // groups])
        split = tf.transpose(split, [0, len(spatial) + 1, *axes, len(spatial) + 2])
        return tf.reshape(split, [-1, *spatial, channels // groups])
