"""The options of `tfstiff run` that say what science is done: the preset, what is measured, how training is varied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tfstiff.records import METRICS, PAIR_SETS
from tfstiff.runs.presets import PRESETS
from tfstiff.runs.spec import CHOICES, RunSpec

_DEFAULTS = RunSpec()
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _names(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(","))


def _losses(_: click.Context, __: click.Parameter, value: str | None) -> tuple[float, ...]:
    if value is None or value == "none":
        return ()
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a loss such as 0.1, several such as 1.0,0.3,0.1, or none."
        ) from None


def _one_of(option: str, name: str, text: str) -> Callable[[_Command], _Command]:
    return click.option(
        option, name, type=click.Choice(CHOICES[name]), default=getattr(_DEFAULTS, name), show_default=True, help=text
    )


def _several_of(option: str, name: str, all_of_them: tuple[str, ...], text: str) -> Callable[[_Command], _Command]:
    default = ",".join(getattr(_DEFAULTS, name))
    return click.option(
        option,
        name,
        callback=_names,
        metavar="NAMES",
        default=default,
        show_default=True,
        help=f"{text}: {', '.join(all_of_them)}.",
    )


preset_option = click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="iclr",
    show_default=True,
    help="The version of the paper whose settings are the defaults: its submission to ICLR 2020, which has those shown "
    "here, or the first.",
)

_OPTIONS = (
    click.option(
        "--permute-labels", is_flag=True, help="Permute the training labels; validation examples keep their own."
    ),
    click.option(
        "--stop-at-loss",
        callback=_losses,
        metavar="LOSSES",
        help="Measure where the training loss reaches each of these, and stop at the last: 1.0,0.3,0.1; or none.",
    ),
    click.option(
        "--stop-interval",
        type=int,
        metavar="N",
        default=_DEFAULTS.stop_interval,
        show_default=True,
        help="Look at that loss every N steps of an epoch. Fastest where a multiple of 16 or 32.",
    ),
    click.option(
        "--stop-examples",
        type=int,
        metavar="N",
        default=_DEFAULTS.stop_examples,
        show_default=True,
        help="Training examples that the loss is of, a fixed sample.",
    ),
    click.option(
        "--stop-when-stiffness-drops",
        type=click.IntRange(min=1),
        is_flag=False,
        flag_value=3,
        default=None,
        metavar="[PATIENCE]",
        help="Stop when stiffness lies below its maximum, by more than its error, in this many measurements in a row "
        "(3 where it is left out).  [default: never]",
    ),
    click.option(
        "--min-stiffness-drop",
        type=float,
        metavar="X",
        default=_DEFAULTS.min_stiffness_drop,
        show_default=True,
        help="By how much it has to be below, besides.",
    ),
    click.option(
        "--stiffness-monitor",
        metavar="NAME",
        help="The stiffness of that drop and of the onset of overfitting, such as sign_within_val_val.  [default: "
        "cosine_within_train_val]",
    ),
    _several_of("--pair-sets", "pair_sets", PAIR_SETS, "Pairs to measure"),
    _several_of("--metrics", "metrics", METRICS, "Stiffness to show and to put into Keras' logs"),
    _one_of("--distance", "distance", "Between two examples; cosine is 1 − cos, cosine_similarity is cos."),
    click.option(
        "--space",
        metavar="NAME",
        default=_DEFAULTS.space,
        show_default=True,
        help="Where distances are measured: input, the name of a layer, or all.",
    ),
    _one_of("--distance-pairs", "distance_pairs", "Classes of the pairs that are compared by distance."),
    _one_of("--xi-method", "critical_length_method", "How the critical length ξ is found."),
    _one_of("--xi-metric", "critical_length_metric", "The stiffness of which ξ is the zero."),
    click.option(
        "--groups",
        metavar="GROUPS",
        default=_DEFAULTS.groups,
        show_default=True,
        help="Groups of classes to compare blocks of the class matrix by: auto (CIFAR-100's superclasses, CIFAR-10's "
        "vehicles and animals, else none), none, a .json or .toml file, or group=class,class;group=class,class.",
    ),
)


def science_options(command: _Command) -> _Command:
    """Gives a command the options, but for `--preset`, in the order in which they stand above."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
