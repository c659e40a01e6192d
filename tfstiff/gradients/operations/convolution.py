"""Convolutions: the gradient of a kernel for one example is its patches times its output gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import tensorflow as tf

from tfstiff._keras import quietly_traced
from tfstiff.gradients.forming import in_parts, padded_width
from tfstiff.gradients.operations import NoRule, Use, register
from tfstiff.gradients.operations.windows import Window


@register("Conv2D", "Conv3D")
def convolution(use: Use) -> tf.Tensor:
    """The gradients of the kernel (*kernel, channels in / groups, channels out), flat."""
    *kernel, channels_in, _ = use.weight_shape
    return _kernel_gradients(use, use.data, use.output_gradient, tuple(kernel), channels_in)


@register("Conv2DBackpropInput", "Conv3DBackpropInputV2")
def transposed_convolution(use: Use) -> tf.Tensor:
    """A transposed convolution is the backward pass of a plain one, in which input and output change places."""
    *kernel, channels_in, _ = use.weight_shape
    data = use.operation.inputs[2]
    return _kernel_gradients(use, use.output_gradient, data, tuple(kernel), channels_in)


@register("DepthwiseConv2dNative")
def depthwise_convolution(use: Use) -> tf.Tensor:
    """(n, kernel height × kernel width × channels × multiplier): each channel is a group."""
    *kernel, _, _ = use.weight_shape
    return _kernel_gradients(use, use.data, use.output_gradient, tuple(kernel), 1)


def _kernel_gradients(
    use: Use, image: tf.Tensor, gradient: tf.Tensor, kernel: tuple[int, ...], channels_in: int
) -> tf.Tensor:
    """Per-example gradients of the kernel of the convolution that takes `image` to the shape of `gradient`, flat.

    Args:
        use: The use.
        image: What the kernel's window moves over.
        gradient: What comes out of it.
        kernel: Spatial size.
        channels_in: Channels that one output channel sees.
    """
    if use.operand != 1:
        raise NoRule(f"a {use.operation.type} with weights as its image")
    image, gradient = _channels_last(use, image), _channels_last(use, gradient)
    if None in image.shape[1:] or None in gradient.shape[1:]:
        raise NoRule(f"a {use.operation.type} of a size that is not known while tracing")
    formed = _traced_once(_formed, Window.of(use.operation, kernel), channels_in, image, gradient)
    return use.sum_over_rows(formed)


def _channels_last(use: Use, tensor: tf.Tensor) -> tf.Tensor:
    """(rows, *spatial, channels)."""
    if not use.operation.get_attr("data_format").startswith(b"NC"):
        return tensor
    return tf.transpose(tensor, [0, *range(2, tensor.shape.rank), 1])


def _formed(window: Window, channels_in: int, image: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """The kernel gradients of each row, flat; a few zeros may stand behind them."""
    channels, channels_out = image.shape[-1], gradient.shape[-1]
    positions, entries = math.prod(gradient.shape[1:-1]), math.prod(window.kernel)
    width = entries * channels_in * channels_out
    num_bytes = positions * entries * channels * image.dtype.size
    if channels == channels_in:
        form = window.kernel_gradients
        width = padded_width(entries * channels, channels_out, image.dtype)
    elif channels_in == 1:
        form = window.depthwise_kernel_gradients
        num_bytes = (math.prod(image.shape[1:]) + 2 * positions * channels_out) * image.dtype.size
    else:
        form = partial(window.grouped_kernel_gradients, groups=channels // channels_in)
    return in_parts(form, (image, gradient), num_bytes, [width])


_traced: WeakKeyDictionary[tf.Graph, dict[Any, Callable[..., tf.Tensor]]] = WeakKeyDictionary()


def _traced_once(
    form: Callable[..., tf.Tensor], window: Window, channels_in: int, image: tf.Tensor, gradient: tf.Tensor
) -> tf.Tensor:
    """`form(window, channels_in, image, gradient)` as a function that all convolutions alike of a graph share."""
    signature = [tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype) for tensor in (image, gradient)]
    shared = _traced.setdefault(image.graph, {})
    key = (window, channels_in, *map(str, signature))
    if key not in shared:
        shared[key] = quietly_traced(
            lambda image, gradient: form(window, channels_in, image, gradient),
            input_signature=signature,
        )
    return shared[key](image, gradient)
