"""Conv2D: per-example kernel gradients, formed by one batched matrix product for each row of the kernel."""

from __future__ import annotations

import tensorflow as tf

from tfstiff.gradients.operations import NoRule, Use, register


@register("Conv2D")
def convolution_2d(use: Use) -> tf.Tensor:
    """(n, kernel height, kernel width, channels in, channels out).

    With padded input x, strides s and dilations e, the kernel entry at (r, k) meets x[s·i + e·r, s·j + e·k] at output
    position (i, j), so its gradient is the sum over (i, j) of that input times the output gradient there. Shifted
    copies are laid side by side along the width only; a copy for each (r, k), as `extract_patches` makes, costs more to
    write than it saves.
    """
    operation, x, gradient = use.operation, use.data, use.output_gradient
    height, width, channels_in, channels_out = use.weight.shape.as_list()
    if operation.get_attr("data_format") != b"NHWC":
        raise NoRule("a Conv2D with channels first")
    if use.operand != 1 or x.shape[-1] != channels_in:
        raise NoRule("a grouped Conv2D")
    if None in x.shape[1:] or None in gradient.shape[1:]:
        raise NoRule("a Conv2D of a size that is not known while tracing")
    _, stride_h, stride_w, _ = operation.get_attr("strides")
    _, dilation_h, dilation_w, _ = operation.get_attr("dilations")
    out_h, out_w = gradient.shape[1], gradient.shape[2]
    x = tf.pad(
        x,
        [
            [0, 0],
            _padding(operation, 1, x.shape[1], out_h, stride_h, (height - 1) * dilation_h + 1),
            _padding(operation, 2, x.shape[2], out_w, stride_w, (width - 1) * dilation_w + 1),
            [0, 0],
        ],
    )
    shifted = tf.concat([_strided(x, 2, k * dilation_w, out_w, stride_w) for k in range(width)], 3)
    gradient = tf.reshape(gradient, [-1, out_h * out_w, channels_out])
    rows = [
        tf.matmul(
            tf.reshape(_strided(shifted, 1, r * dilation_h, out_h, stride_h), [-1, out_h * out_w, width * channels_in]),
            gradient,
            transpose_a=True,
        )
        for r in range(height)
    ]
    formed = tf.reshape(tf.stack(rows, 1), [-1, height, width, channels_in, channels_out])
    return formed if use.rows_per_example == 1 else tf.reduce_sum(use.by_example(formed), 1)


def _padding(operation: tf.Operation, axis: int, size: int, out: int, stride: int, extent: int) -> list[int]:
    """Zeros before and after along `axis`, as the operation's `padding` attribute defines them."""
    padding = operation.get_attr("padding")
    if padding == b"VALID":
        return [0, 0]
    if padding == b"EXPLICIT":
        return list(operation.get_attr("explicit_paddings")[2 * axis : 2 * axis + 2])
    total = max((out - 1) * stride + extent - size, 0)
    return [total // 2, total - total // 2]


def _strided(tensor: tf.Tensor, axis: int, start: int, count: int, stride: int) -> tf.Tensor:
    """`count` entries along `axis` from `start`, `stride` apart."""
    index = [slice(None)] * tensor.shape.rank
    index[axis] = slice(start, start + (count - 1) * stride + 1, stride)
    return tensor[tuple(index)]
