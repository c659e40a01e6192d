"""Hooks of PyTorch that catch what goes into dense layers and the gradient of what comes out; no gradient is formed.

It is what one writes by hand for a network of dense layers alone: the product of two gradients `x ⊗ d` of a weight and
`d` of its bias is `(x·x' + 1)(d·d')`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from peers.torch_models import build, tensors

CHUNKS = (20, 10, 4, 2, 1)


class Factors(NamedTuple):
    """The gradients of some examples, multiplied like a matrix of them.

    Attributes:
        layers: (n, p) what goes into each layer, and (n, q) gradients of what comes out.
    """

    layers: list[tuple[torch.Tensor, torch.Tensor]]

    @property
    def T(self) -> Factors:  # as that of a matrix
        return self

    def __matmul__(self, other: Factors) -> torch.Tensor:
        total = None
        for (x, d), (x2, d2) in zip(self.layers, other.layers, strict=True):
            products = (x @ x2.T).add_(1).mul_(d @ d2.T)
            total = products if total is None else total.add_(products)
        return total


def gradient_rows(
    name: str, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray
) -> tuple[Callable[[int, int], Factors], str]:
    model = build(name, weights).requires_grad_(False)
    inputs, labels = tensors(x, y)
    dense = [module for module in model.modules() if isinstance(module, nn.Linear)]
    own = {id(parameter) for module in dense for parameter in module.parameters()}
    if others := [key for key, parameter in model.named_parameters() if id(parameter) not in own]:
        raise NotImplementedError(f"It takes dense layers alone, and {', '.join(others[:3])} are of other ones.")
    caught: list[tuple[torch.Tensor, torch.Tensor]] = []
    for module in dense:
        module.register_forward_hook(lambda _, into, out: caught.append((into[0].detach(), out)))

    def rows(start: int, stop: int) -> Factors:
        caught.clear()
        loss = cross_entropy(model(inputs[start:stop].requires_grad_()), labels[start:stop], reduction="sum")
        gradients = torch.autograd.grad(loss, [out for _, out in caught])
        return Factors([(into, gradient) for (into, _), gradient in zip(caught, gradients, strict=True)])

    return rows, "hooks on dense layers"
