"""What the report of one run or several holds, as the template wants it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from tfstiff.analysis.source import Source, read_sources
from tfstiff.errors import InvalidInput
from tfstiff.records import RunFolder
from tfstiff.records.words import LENGTH_STATUSES, PAIR_SET_NAMES
from tfstiff.report.chart_data import chart_data
from tfstiff.report.comparison import comparison_points, quantities
from tfstiff.report.comparison_findings import comparison_findings
from tfstiff.report.findings import findings
from tfstiff.report.settings import model_in_words
from tfstiff.report.static_figures import static_figures
from tfstiff.report.tables import (
    Table,
    event_table,
    group_table,
    layer_table,
    measurement_table,
    named_values,
    point_table,
    runs_table,
    statistics_table,
)

_FIGURES = ("curves", "class_matrices", "distance")


def contents(runs: Sequence[RunFolder], interactive: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Collects what the template shows.

    Args:
        runs: One run or several.
        interactive: Whether charts are drawn in the browser; otherwise figures are drawn here.
        say: Called with a sentence for each figure that is left out.

    Raises:
        InvalidInput: No run has a measurement.
    """
    sources = read_sources(runs)
    measured = [source for source in sources if source.measurements]
    if not measured:
        where = ", ".join(source.name for source in sources)
        raise InvalidInput(
            f"There is nothing to report: {where} holds no measurement.",
            expected="at least one readable record",
            remedy="Wait for the first measurement, or check why the run recorded none.",
        )
    pair_set = _shared_pair_set(measured)
    points = comparison_points(measured, pair_set) if len(measured) > 1 else []
    names = quantities(measured, pair_set)
    figures = () if interactive else _FIGURES if len(measured) == 1 else _FIGURES[:1]
    return {
        "title": _title(sources),
        "runs": [
            {
                "name": source.name,
                "status": source.status,
                "model": model_in_words(source),
                "findings": findings(source) if source.measurements else [],
                "problems": source.problems,
                "tables": _tables(source) if source.measurements else [],
                "provenance": _provenance(source),
                "figures": static_figures(run, figures, say) if figures and source.measurements else [],
            }
            for run, source in zip(runs, sources, strict=True)
        ],
        "comparison": _comparison(sources, measured, points, names, pair_set) if len(sources) > 1 else None,
        "data": chart_data(measured, points, names) if interactive else None,
        "has_classes": any(source.has_classes for source in measured),
        "statuses": {name: status.words for name, status in LENGTH_STATUSES.items()},
        "version": version("tfstiff"),
    }


def _title(sources: Sequence[Source]) -> str:
    def shared(name: str) -> list[str]:
        return list(dict.fromkeys(str(source.spec[name]) for source in sources if source.spec.get(name)))

    parts = [", ".join(found) for found in (shared("dataset"), shared("arch")) if 0 < len(found) <= 3]
    subject = "Stiffness of one run" if len(sources) == 1 else f"Stiffness of {len(sources)} runs"
    return f"{subject}: {', '.join(parts)}" if parts else subject


def _shared_pair_set(sources: Sequence[Source]) -> str:
    """The main pair set, or the first that all runs have; of runs that share none, the first run's."""
    shared = [name for name in PAIR_SET_NAMES if all(name in source.pair_sets for source in sources)]
    main = sources[0].main_pair_set
    return main if main in shared or not shared else shared[0]


def _comparison(
    sources: Sequence[Source],
    measured: Sequence[Source],
    points: Sequence[Any],
    names: Mapping[str, str],
    pair_set: str,
) -> dict[str, Any]:
    tables: list[Table | None] = [runs_table(sources)]
    for point in points:
        tables += [point_table(measured, point, names), group_table(measured, point, names)]
    return {
        "pairs": PAIR_SET_NAMES[pair_set],
        "findings": comparison_findings(measured, points, names, pair_set),
        "tables": [table for table in tables if table is not None],
        "has_points": bool(points),
    }


def _tables(source: Source) -> list[Table]:
    pair_sets = sorted(source.pair_sets, key=lambda name: name != source.main_pair_set)
    found: list[Table | None] = [measurement_table(source, name) for name in pair_sets]
    found += [layer_table(source, source.main_pair_set), event_table(source.events)]
    found += [statistics_table(source, name) for name in pair_sets]
    return [table for table in found if table is not None]


def _provenance(source: Source) -> list[Table]:
    groups = {"Settings": source.spec, "Provenance": source.meta, "Seconds": source.timings}
    return [table for caption, values in groups.items() if (table := named_values(values, caption)) is not None]
