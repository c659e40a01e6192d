"""BackPACK: `BatchGrad`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from backpack import backpack, extend
from backpack.extensions import BatchGrad
from torch import nn

from peers.torch_models import build, tensors


def gradient_rows(
    name: str, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray
) -> tuple[Callable[[int, int], torch.Tensor], str]:
    model = extend(build(name, weights))
    loss = extend(nn.CrossEntropyLoss(reduction="sum"))
    inputs, labels = tensors(x, y)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def rows(start: int, stop: int) -> torch.Tensor:
        with backpack(BatchGrad()):
            loss(model(inputs[start:stop]), labels[start:stop]).backward()
        if unknown := {type(module).__name__ for module in model.modules() if _is_left_out(module)}:
            raise NotImplementedError(f"BatchGrad knows no {', '.join(sorted(unknown))}: no grad_batch.")
        found = torch.cat([parameter.grad_batch.flatten(1) for parameter in parameters], 1)
        for parameter in parameters:
            parameter.grad = None
            del parameter.grad_batch
        return found

    return rows, "BatchGrad"


def _is_left_out(module: nn.Module) -> bool:
    own = module.parameters(recurse=False)
    return any(parameter.requires_grad and not hasattr(parameter, "grad_batch") for parameter in own)
