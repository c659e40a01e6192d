"""The figures of `docs/reproduction.md`, from the tables."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.reproduction import claims, league, predictors, verdicts
from benchmarks.reproduction.tables import PAIR_SETS
from tfstiff.records.words import quantity_in_words

FOLDER = Path(__file__).parents[2] / "docs" / "images"
OURS, OTHERS, THIRD = "#0072B2", "#D55E00", "#009E73"


def draw_all(folder: Path = FOLDER) -> list[Path]:
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figures = {"league": draw_league(), "predictors": draw_predictors(), "claims": draw_claims()}
        return [_saved(figure, folder / f"reproduction_{name}.png") for name, figure in figures.items()]


def _saved(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=130)
    return path


def _named(name: str) -> str:
    """A candidate, or a monitor, in words."""
    kind, _, pairs = name.rpartition("_")
    if pairs in PAIR_SETS:
        return quantity_in_words(f"{kind}_{PAIR_SETS[pairs]}").replace(" pairs", "")
    return {
        "osgr": "one-step generalisation ratio",
        "gsnr": "GSNR",
        "m_coherence": "m-coherence",
        "train_loss": "training loss",
        "critical_length": "ξ",
    }.get(name, name.replace("_", " "))


def _dots(axes: Axes, means: dict[str, verdicts.Mean], is_ours: dict[str, bool], offset: float = 0.0, **style) -> None:
    for place, (name, mean) in enumerate(means.items()):
        colour = OURS if is_ours[name] else OTHERS
        axes.plot([mean.low, mean.high], [place + offset] * 2, color=colour, linewidth=1.2)
        axes.plot(mean.value, place + offset, "o", color=colour, markersize=4, **style)
    axes.set_yticks(range(len(means)), list(means))
    axes.set_ylim(len(means) - 0.5, -0.5)


def draw_league() -> Figure:
    wide = league.by_seed(league.regrets(*league.tables()))
    means = {rule: verdicts.mean_of(wide[rule]) for rule in wide.mean().sort_values().index}
    named = {}
    for rule, mean in means.items():
        kind, _, monitor = rule.replace("late turn", "late-turn").partition(" ")
        if kind in ("turn", "late-turn", "best"):
            words = _named(monitor.removeprefix("of "))
            named[f"{kind.replace('-', ' ')}: {words}"] = mean
        else:
            named[rule] = mean
    figure = Figure(figsize=(6.6, 7.4), layout="constrained")
    axes = figure.subplots()
    _dots(axes, named, {name: name.startswith(("turn:", "late turn:", "best:")) for name in named})
    axes.axvspan(0, means[verdicts.REFERENCE].value + verdicts.AS_GOOD, color="0.93", zorder=0)
    axes.set_xlim(0)
    axes.set_xlabel("regret in test accuracy, points:\nmean and 95 % interval over seeds")
    figure.suptitle("When to stop: rules of stiffness (blue) and others (orange)", x=0.01, ha="left", fontsize=9)
    return figure


def draw_predictors() -> Figure:
    scored = predictors.scored(predictors.table())
    figure = Figure(figsize=(6.6, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True, sharex=True)
    order = None
    for axes, moment in zip(panels, ("late", "early"), strict=True):
        one = scored[(scored["moment"] == moment) & (scored["outcome"] == "gap")]
        wide = one.pivot_table(index="seed", columns="candidate", values="by_factor")
        order = order or list(wide.mean().sort_values(ascending=False).index)
        means = {_named(name): verdicts.mean_of(wide[name]) for name in order}
        ours = {_named(name): name.startswith(("sign", "cosine")) or name == "critical_length" for name in order}
        _dots(axes, means, ours)
        axes.axvline(0, color="0.6", linewidth=0.8, zorder=0)
        axes.set_title(f"{moment}: at step {predictors.STEPS[moment]:,}", loc="left", fontsize=9)
        axes.set_xlabel("agreement with the gap, by factor")
    figure.suptitle("What foretells the generalisation gap: stiffness (blue) and others (orange)", x=0.01, ha="left")
    return figure


def draw_claims() -> Figure:
    rows, _ = claims.tables()
    figure = Figure(figsize=(6.6, 6.6), layout="constrained")
    kinds = {"plain": "right labels", "permuted": "permuted labels", "few": "1,500 images"}
    data = [one for one in claims.DATA if len(rows[rows["dataset"] == one[0]])]
    panels = figure.subplots(len(data), 3, squeeze=False)
    for of_data, (dataset, arch) in zip(panels, data, strict=True):
        one = rows[(rows["dataset"] == dataset) & (rows["arch"] == arch)]
        for axes, (kind, words) in zip(of_data, kinds.items(), strict=True):
            runs = one[(one["kind"] == kind) & np.isclose(one["lr"], claims.RATE)]
            for name, colour, label in (
                ("sign_within_tv", OURS, "sign within"),
                ("sign_between_tt", OTHERS, "sign between"),
                ("cosine_within_tv", THIRD, "cosine within"),
            ):
                for place, (_, run) in enumerate(runs.groupby("seed")):
                    _line(axes, run, name, colour, label if place == 0 else None)
            axes.axhline(0, color="0.7", linewidth=0.6, zorder=0)
            axes.set_xscale("symlog", linthresh=0.01)
            axes.set_xticks([0, 0.01, 0.1, 1, 10], ["init", "0.01", "0.1", "1", "10"])
            axes.set_xlim(0, claims.KINDS[kind]["epochs"])
            axes.set_ylim(-1.05, 1.05)
            axes.set_title(f"{dataset}, {arch}: {words}", loc="left", fontsize=8)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), ncols=3, frameon=False, loc="outside upper left")
    figure.supxlabel("epoch. Lines are seeds; dots are where the validation loss was lowest.", fontsize=8)
    return figure


def _line(axes: Axes, run: pd.DataFrame, name: str, colour: str, label: str | None) -> None:
    axes.plot(run["epoch"], run[name], color=colour, linewidth=1, label=label)
    best = run.iloc[int(run["validation_loss"].to_numpy().argmin())]
    axes.plot(best["epoch"], best[name], "o", color=colour, markersize=3)
