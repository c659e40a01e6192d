"""The bias of a layer joined to the kernel whose output it is added to: one matrix product for both."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfstiff.gradients.factors import Factor, Outer
from tfstiff.gradients.uses import UseSite

# What a weight is to the output of an operation that it meets examples at.
KERNEL, BIAS, OTHER = "kernel", "bias", "other"


def role_of(site: UseSite) -> str:
    """`KERNEL` where `y_t = x_t W`, `BIAS` where a weight is added along the last axis of y."""
    operation = site.operation
    if operation.type in ("Add", "AddV2") or (
        operation.type == "BiasAdd" and operation.get_attr("data_format") == b"NHWC"
    ):
        return BIAS
    transposed = {"MatMul": "transpose_b", "BatchMatMul": "adj_y", "BatchMatMulV2": "adj_y", "BatchMatMulV3": "adj_y"}
    is_product = operation.type in transposed and site.operand == 1
    return KERNEL if is_product and not operation.get_attr(transposed[operation.type]) else OTHER


def with_biases(
    factors: dict[int, Factor], received: dict[int, list[tuple[str, str]]], shapes: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], Factor]:
    """Joins the bias of a layer to the kernel whose output it is added to.

    The bias receives the same output gradients as the kernel, so its gradient is that of one more row of the kernel
    that always sees a 1, and `(a_i·a_j + 1)(d_i·d_j)` is the product of both: one more entry of a_i instead of a matrix
    product. Where several kernels receive them, because their outputs are added up, the bias is joined to the first.
    """

    def is_only(weight: int, role: str) -> bool:
        return all(found == role for _, found in received[weight])

    biases = {
        tuple(name for name, _ in received[weight]): weight
        for weight in factors
        if len(shapes[weight]) == 1 and is_only(weight, BIAS)
    }
    joined: dict[tuple[int, ...], Factor] = {}
    for weight, factor in factors.items():
        if not isinstance(factor, Outer) or not is_only(weight, KERNEL):
            continue
        bias = biases.pop(tuple(name for name, _ in received[weight]), None)
        if bias is not None and shapes[bias] == (factor.columns.shape[-1],):
            ones = tf.ones_like(factor.rows[..., :1])
            joined[weight, bias] = Outer(tf.concat([factor.rows, ones], -1), factor.columns)
    taken = {weight for weights in joined for weight in weights}
    return joined | {(weight,): factor for weight, factor in factors.items() if weight not in taken}
