"""`torch.func`: `vmap(grad)` of one example's loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from peers.torch_models import WrittenOutLSTM, build, tensors


def gradient_rows(
    name: str, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray
) -> tuple[Callable[[int, int], torch.Tensor], str]:
    model = build(name, weights, WrittenOutLSTM)
    inputs, labels = tensors(x, y)
    parameters = {key: value.detach() for key, value in model.named_parameters()}

    def loss(parameters: dict[str, torch.Tensor], example: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return cross_entropy(functional_call(model, parameters, (example[None],)), label[None])

    gradients = vmap(grad(loss), in_dims=(None, 0, 0))

    def rows(start: int, stop: int) -> torch.Tensor:
        found = gradients(parameters, inputs[start:stop], labels[start:stop])
        return torch.cat([gradient.flatten(1) for gradient in found.values()], 1)

    return rows, "vmap(grad)" + (", LSTM written out" if name == "lstm" else "")
