"""What the shell completes: names of data sets and of layers, and folders of runs.

`eval "$(_TFSTIFF_COMPLETE=bash_source tfstiff)"` turns it on; `zsh_source` and `fish_source` for other shells.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from tfstiff.records.run_folder import RunFolder

_MOST = 200  # folders that are looked into


def complete_data_sets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names in the catalog, with what they are."""
    from tfstiff.datasets import catalog

    rows = [row for row in catalog() if row.available is not None]
    return [CompletionItem(row.name, help=row.description) for row in rows if row.name.startswith(incomplete)]


def complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Folders of runs and of sweeps below what is typed, `runs/` where nothing is; and the folders on the way."""
    above, _, begun = incomplete.rpartition("/")
    here = Path(f"{above}/" if above or incomplete.startswith("/") else ".")
    prefix = incomplete[: len(incomplete) - len(begun)]
    folders = [one for one in _folders(here) if one.name.startswith(begun)]
    found = [CompletionItem(f"{prefix}{one.name}", type="plain" if _is_run(one) else "dir") for one in folders]
    if not incomplete:
        found += [CompletionItem(str(one)) for one in _folders(Path("runs")) if _is_run(one)]
    return found


def complete_layers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`input`, `all`, and the layers that the run which is measured again recorded."""
    names = ["input", "all"]
    model = ctx.params.get("model")
    if model is not None and (Path(model) / "records").is_dir():
        names += _layers(RunFolder(Path(model)))
    return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _layers(run: RunFolder) -> Iterable[str]:
    for measurement in run.measurements[-1:]:
        yield from measurement.layers
        for found in measurement.pair_sets.values():
            yield from found.spaces


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))[:_MOST]


def _is_run(folder: Path) -> bool:
    return (folder / "records").is_dir() or (folder / "sweep.json").is_file()
