"""`tfstiff examples`: which examples of a run's probe to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from click.core import ParameterSource

from tfstiff.analysis.example_lists import ExampleList, ExamplesAt
from tfstiff.analysis.examples import index_in_split
from tfstiff.analysis.examples_to_look_at import LISTS, examples_to_look_at, lists_at
from tfstiff.errors import unknown_name
from tfstiff.records import Measurement
from tfstiff.records.atomic import finite
from tfstiff.records.cells import harmless
from tfstiff.records.measurement import HALVES
from tfstiff.records.words import ABSENT, moment
from tfstiff.runs.data import INPUTS, STANDARDIZED

from .all_examples import scored
from .completion import complete_runs
from .given_runs import open_runs
from .setting_options import setting_options
from .tables import plain_number, plain_table, print_whole

if TYPE_CHECKING:
    import pandas as pd

_OF_DATA = ("data_dir", "offline", "train_examples", "permute_labels", "centering", "seed")
_WITH_ALL = ("reference", "data_set", "inputs", "arch")
_RANKED_BY = {  # by list: the value that a table shows with its error, and its header
    "fight": ("cosine_own", "cosine\nown class"),
    "label": ("cosine_closest_less_own", "closest class\nless own"),
    "helpful": ("cosine_mean", "mean\ncosine"),
}


@click.command("examples")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path), shell_complete=complete_runs)
@click.option("--half", type=click.Choice(HALVES), default="train", show_default=True, help="Half of the probe.")
@click.option("--step", type=int, help="Of the measurement.  [default: the last]")
@click.option(
    "--list",
    "wanted",
    type=click.Choice(LISTS),
    multiple=True,
    help="Lists to print; may be given several times.  [default: all]",
)
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="Rows of each list.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: the lists, and every example.")
@click.option("--csv", "as_csv", is_flag=True, help="Print every example as CSV, a row each.")
@click.option(
    "--sort",
    metavar="COLUMN",
    help="Column that --csv and the examples of --json are sorted by; --sort=-loss sorts from the largest loss down.",
)
@click.option(
    "--all",
    "of_all",
    is_flag=True,
    help="Every training example of the data set, against some validation examples, by a model that a run kept "
    "(--keep-models) or a saved one, given in place of RUN.",
)
@click.option(
    "--reference", type=click.IntRange(min=1), default=1000, show_default=True, help="With --all: validation examples."
)
@click.option("--dataset", "data_set", help="With --all: the data set.  [default, for a run: that of the run]")
@click.option(
    "--inputs",
    type=click.Choice(INPUTS),
    default=STANDARDIZED,
    show_default=True,
    help="With --all: what the model takes, as for `tfstiff measure`.",
)
@click.option("--arch", help="With --all: the network that the weights are of, as for `tfstiff measure`.")
@setting_options(_OF_DATA)
@click.pass_context
def command(  # noqa: PLR0913  # one for each option
    ctx: click.Context,
    run: Path,
    half: str,
    step: int | None,
    wanted: tuple[str, ...],
    top: int,
    as_json: bool,
    as_csv: bool,
    sort: str | None,
    of_all: bool,
    reference: int,
    inputs: str,
    arch: str | None,
    data_set: str | None,
    **data: Any,
) -> None:
    """Tell which examples of a run's probe to look at.

    RUN is a folder that `tfstiff run` or StiffnessCallback(log_dir=...) wrote. Lists:
    fight (those that fight their own class most), label (those whose label looks wrong,
    by EL2N, with whether they agree with another class more than with their own),
    duplicates (near duplicates whose gradients oppose one another; needs a run with
    --keep-gram), helpful (those that help most), forgotten (right at one measurement,
    wrong at the next). Ids such as train_00012 say where in the split an example stands.
    With --all the lists are fight, label and helpful.

    \b
    Examples:
      tfstiff examples runs/mine
      tfstiff examples runs/mine --list label --top 30
      tfstiff examples runs/mine --csv --sort cosine_own_train > examples.csv
      tfstiff examples --all mine.keras --dataset mnist --csv > all.csv
    """  # noqa: D301  # click wants the character \b itself
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude one another.")
    if sort and not (as_json or as_csv):
        raise click.UsageError("--sort goes with --csv or --json; lists are in the order of their rank.")
    given = {name: value for name, value in data.items() if value is not None}
    if of_all:
        if half != "train" or not {"duplicates", "forgotten"}.isdisjoint(wanted):
            raise click.UsageError("--all is of training examples, with the lists fight, label and helpful.")
        named = given if data_set is None else {"dataset": data_set, **given}
        measurement, examples = scored(run, step, reference, inputs, arch, named)
        lists = lists_at(examples)
    else:
        if given or any(ctx.get_parameter_source(name) != ParameterSource.DEFAULT for name in _WITH_ALL):
            raise click.UsageError("Settings of data and model go with --all.")
        measurement, examples, lists = _of_probe(run, half, step)
    if as_csv:
        cells = _sorted(_frame(measurement, examples), sort).map(harmless)
        click.echo(cells.to_csv(index=False), nl=False)
        return
    chosen = [one for one in lists if not wanted or one.name in wanted]
    if as_json:
        document = {
            "folder": str(run),
            "step": measurement.step,
            "epoch": measurement.epoch,
            "half": half,
            "lists": [{**vars(one), "rows": list(one.rows[:top])} for one in chosen],
            "examples": _sorted(_frame(measurement, examples), sort).to_dict("records"),
        }
        click.echo(json.dumps(finite(document), indent=2, ensure_ascii=False, allow_nan=False))
        return
    of = f"all {len(examples.ids):,} training examples" if of_all else f"{examples.words} half of the probe"
    click.echo(f"{run}, {of}, {moment(measurement)}")
    for one in chosen:
        _print(one, top)


def _of_probe(folder: Path, half: str, step: int | None) -> tuple[Measurement, ExamplesAt, list[ExampleList]]:
    opened, *others = open_runs([str(folder)])
    if others:
        raise click.UsageError(
            f"{folder} is a sweep of {1 + len(others)} runs. Give one of them, such as {opened.folder}."
        )
    for problem in opened.problems:
        click.echo(f"Warning: {problem}", err=True)
    examples, lists = examples_to_look_at(opened.measurements, opened.probe, half, step)
    chosen = opened.measurements[-1].step if step is None else step
    return next(m for m in opened.measurements if m.step == chosen), examples, lists


def _frame(measurement: Measurement, examples: ExamplesAt) -> pd.DataFrame:
    frame = measurement.examples(examples.half)
    frame.insert(0, "index", np.array([index_in_split(str(one)) for one in examples.ids], object))
    frame.insert(0, "id", examples.ids)
    return frame


def _sorted(frame: pd.DataFrame, wanted: str | None) -> pd.DataFrame:
    if wanted is None:
        return frame
    column = wanted.removeprefix("-")
    if column not in frame:
        raise unknown_name("There is no such column to sort by.", column, frame.columns)
    return frame.sort_values(column, ascending=column == wanted, kind="stable")


def _print(found: ExampleList, top: int) -> None:
    rows = found.rows[:top]
    if not rows:
        click.echo(f"\n{found.title}\n{found.sentence}")
        return
    if found.name == "duplicates":
        table = plain_table("id", "class", "other id", "class", "distance", "cosine")
        for row in rows:
            table.add_row(
                row["id"], _text(row.get("class")), row["other_id"], _text(row.get("other_class")),
                plain_number(row["distance"], 4), plain_number(row["cosine"]),
            )  # fmt: skip
    elif found.name == "forgotten":
        table = plain_table("id", "class", "predicted", "times\nforgotten", "loss")
        for row in rows:
            table.add_row(
                row["id"], _text(row["class"]), _text(row["predicted"]), str(row["times_forgotten"]),
                plain_number(row["loss"]),
            )  # fmt: skip
    else:
        name, header = _RANKED_BY[found.name]
        has_el2n = any("el2n" in row for row in rows)
        others = ["EL2N"] * has_el2n + ["closest\nclass"] * (found.name == "label")
        table = plain_table("id", "class", "predicted", *others, header, "± se", "", "loss")
        for row in rows:
            cells = [plain_number(row["el2n"])] if has_el2n else []
            cells += [_text(row.get("closest_class"))] if found.name == "label" else []
            table.add_row(
                row["id"], _text(row.get("class")), _text(row.get("predicted")), *cells, plain_number(row[name]),
                plain_number(row[f"{name}_se"]), _marks(row), plain_number(row["loss"]),
            )  # fmt: skip
    marks = ["*  past its error"] if any(row.get("is_certain") for row in rows) else []
    if any(row.get("is_unusual") for row in rows):
        marks.append("!  agrees with its class far less than is usual in it")
    print_whole(table, [*marks, found.sentence], title=found.title)


def _marks(row: Mapping[str, Any]) -> str:
    return "*" * row["is_certain"] + "!" * row.get("is_unusual", False)


def _text(value: Any) -> str:
    return ABSENT if value is None else str(value)
