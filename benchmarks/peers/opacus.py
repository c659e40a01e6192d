"""Opacus: `GradSampleModule`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from opacus import GradSampleModule
from opacus.validators import ModuleValidator
from torch.nn.functional import cross_entropy

from peers.torch_models import build, freeze_second_bias, tensors


def gradient_rows(
    name: str, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray
) -> tuple[Callable[[int, int], torch.Tensor], str]:
    supported = ModuleValidator.fix(build(name, weights))  # puts Opacus' own LSTM in the place of PyTorch's
    freeze_second_bias(supported)
    model = GradSampleModule(supported, loss_reduction="sum")
    inputs, labels = tensors(x, y)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def rows(start: int, stop: int) -> torch.Tensor:
        cross_entropy(model(inputs[start:stop]), labels[start:stop], reduction="sum").backward()
        found = torch.cat([parameter.grad_sample.flatten(1) for parameter in parameters], 1)
        model.zero_grad(set_to_none=True)
        return found

    return rows, "GradSampleModule" + (" of DPLSTM" if name == "lstm" else "")
