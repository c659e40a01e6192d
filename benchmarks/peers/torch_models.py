"""The models of `workloads` in PyTorch, with weights as Keras has them. Shapes are read off the weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn

torch.set_num_threads(os.cpu_count() or 1)

HEADS = 4
UNITS = 64
_KERAS_EPSILON = 1e-3  # of Keras' layer normalisation


class LastAxisFlat(nn.Module):
    """Flattens images with the channels last, as Keras does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


class MeanOver(nn.Module):
    """The mean over given axes."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(self.axes)


class Residual(nn.Module):
    """A block of ResNet-20. Strided "same" convolutions of even sizes are padded at the end only."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.padding = nn.ZeroPad2d((0, 1, 0, 1) if stride > 1 else 1)
        self.first = nn.Conv2d(channels, width, 3, stride)
        self.shortcut = nn.Conv2d(channels, width, 1, stride) if stride > 1 else nn.Identity()
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.inner_relu, self.outer_relu = nn.ReLU(), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.second(self.inner_relu(self.first(self.padding(x))))
        return self.outer_relu(self.shortcut(x) + inner)


class Attention(nn.Module):
    """Multi-head self-attention, out of layers that every library knows."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.joined = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        return self.joined((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


class EncoderBlock(nn.Module):
    """Normalisation before attention, and before two dense layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width, _KERAS_EPSILON), Attention(width))
        self.dense = nn.Sequential(
            nn.LayerNorm(width, _KERAS_EPSILON), nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(x)
        return x + self.dense(x)


class LastOutput(nn.Module):
    """A recurrent layer's output at the last step."""

    def __init__(self, recurrent: nn.Module) -> None:
        super().__init__()
        self.recurrent = recurrent

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.recurrent(x)[0][:, -1]


class WrittenOutLSTM(nn.Module):
    """`nn.LSTM` as a loop over steps, for a library that does not know it."""

    def __init__(self, features: int, units: int, batch_first: bool = True) -> None:
        super().__init__()
        self.from_input = nn.Linear(features, 4 * units, bias=False)
        self.from_state = nn.Linear(units, 4 * units)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        state = cell = x.new_zeros(len(x), self.from_state.in_features)
        for given in self.from_input(x).unbind(1):
            write, keep, new, read = (given + self.from_state(state)).chunk(4, -1)
            cell = keep.sigmoid() * cell + write.sigmoid() * new.tanh()
            state = read.sigmoid() * cell.tanh()
        return state[:, None], None


Recurrent = Callable[..., nn.Module]


def build(name: str, weights: Sequence[np.ndarray], recurrent: Recurrent = nn.LSTM) -> nn.Module:
    """The model `name` with these weights; `recurrent` makes the LSTM."""
    classes = weights[-1].shape[0]
    model = {
        "fc": _dense,
        "fc-v1": _dense,
        "cnn": _convolutional,
        "cnn-v1": _convolutional,
        "resnet20": _resnet20,
        "encoder": _encoder,
        "lstm": lambda weights: [LastOutput(recurrent(weights[0].shape[0], UNITS, batch_first=True))],
    }[name](weights)
    whole = nn.Sequential(*model, nn.Linear(weights[-2].shape[0], classes))
    _load(whole, weights)
    return whole


def tensors(x: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples as PyTorch takes them: images with the channels first."""
    inputs, labels = (torch.from_numpy(array).to(torch.get_default_device()) for array in (x, y))
    return (inputs.permute(0, 3, 1, 2).contiguous() if x.ndim == 4 else inputs), labels


def _dense(weights: Sequence[np.ndarray]) -> list[nn.Module]:
    hidden = [layer for kernel in weights[:-2:2] for layer in (nn.Linear(*kernel.shape), nn.ReLU())]
    return [LastAxisFlat(), *hidden]


def _convolutional(weights: Sequence[np.ndarray]) -> list[nn.Module]:
    blocks = [
        layer
        for kernel in weights[:-2:2]
        for layer in (nn.Conv2d(*kernel.shape[2:], 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    ]
    return [*blocks, LastAxisFlat()]


def _resnet20(weights: Sequence[np.ndarray]) -> list[nn.Module]:
    widths = (16, 16, 32, 64)
    stages = [
        Residual(before if block == 0 else width, width, 2 if block == 0 and stage > 0 else 1)
        for stage, (before, width) in enumerate(pairwise(widths))
        for block in range(3)
    ]
    return [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), *stages, MeanOver(2, 3)]


def _encoder(weights: Sequence[np.ndarray]) -> list[nn.Module]:
    width, arrays_of_a_block = weights[0].shape[0], 16
    blocks = [EncoderBlock(width) for _ in range((len(weights) - 4) // arrays_of_a_block)]
    return [*blocks, nn.LayerNorm(width, _KERAS_EPSILON), MeanOver(1)]


def freeze_second_bias(model: nn.Module) -> None:
    """Takes the second of the two biases that a recurrent layer of PyTorch has out: Keras has one."""
    for name, parameter in model.named_parameters():
        if ".bias_hh" in name:
            parameter.requires_grad_(False).zero_()


def _load(model: nn.Module, weights: Sequence[np.ndarray]) -> None:
    freeze_second_bias(model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.copy_(torch.from_numpy(_as_in_torch(weight, tuple(parameter.shape))))


def _as_in_torch(weight: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) == 4:
        weight = weight.transpose(3, 2, 0, 1)
    elif len(shape) == 2:  # attention's kernels have an axis of heads in Keras
        weight = weight.reshape(shape[::-1]).T
    else:
        weight = weight.reshape(shape)
    if weight.shape != shape:  # which copying would broadcast
        raise ValueError(f"A weight of shape {weight.shape} stands where {shape} was expected.")
    return weight
