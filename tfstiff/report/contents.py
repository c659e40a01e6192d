"""What the report of one run or several holds, as the template wants it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from tfstiff.analysis.comparison import Comparison, compare, shared_pair_set
from tfstiff.analysis.source import Source, read_sources
from tfstiff.errors import InvalidInput
from tfstiff.records import RunFolder
from tfstiff.records.words import LENGTH_STATUSES, PAIR_SET_NAMES
from tfstiff.report.chart_data import chart_data
from tfstiff.report.comparison import comparison_findings
from tfstiff.report.examples import example_section
from tfstiff.report.findings import findings
from tfstiff.report.settings import model_in_words
from tfstiff.report.static_figures import static_figures
from tfstiff.report.summary import summary
from tfstiff.report.tables import (
    ReportTable,
    direction_tables,
    event_table,
    layer_table,
    measurement_table,
    milestone_tables,
    named_values,
    runs_table,
    statistics_table,
)

_FIGURES = ("curves", "class_matrices", "distance")


def contents(
    runs: Sequence[RunFolder], interactive: bool, say: Callable[[str], None], *, thumbnails: bool = True
) -> dict[str, Any]:
    """Collects what the template shows.

    Args:
        runs: One run or several.
        interactive: Whether charts are drawn in the browser; otherwise figures are drawn here.
        say: Called with a sentence for each figure that is left out.
        thumbnails: Whether single examples are shown, beside what is told of them.

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
    found = compare(measured) if len(measured) > 1 else None
    examples = example_section(runs[0], with_inputs=thumbnails) if len(runs) == 1 else None
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
        "examples": examples,
        "summary": summary(measured[0], has_examples=examples is not None) if len(runs) == 1 else None,
        "comparison": _comparison(sources, measured, found) if len(sources) > 1 else None,
        "data": chart_data(measured, found) if interactive else None,
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


def _comparison(sources: Sequence[Source], measured: Sequence[Source], found: Comparison | None) -> dict[str, Any]:
    tables, pair_set = [runs_table(sources)], shared_pair_set(measured)
    names = {source.folder: source.name for source in sources}
    if found is not None:
        tables += [one for milestone in found.milestones for one in milestone_tables(found, milestone, names)]
    return {
        "pairs": PAIR_SET_NAMES[pair_set],
        "findings": comparison_findings(measured, found, pair_set),
        "tables": tables,
        "has_points": found is not None and bool(found.milestones),
    }


def _tables(source: Source) -> list[ReportTable]:
    pair_sets = sorted(source.pair_sets, key=lambda name: name != source.main_pair_set)
    found: list[ReportTable | None] = [measurement_table(source, name) for name in pair_sets]
    found += [layer_table(source, source.main_pair_set), event_table(source.events)]
    found += direction_tables(source)
    found += [statistics_table(source, name) for name in pair_sets]
    return [table for table in found if table is not None]


def _provenance(source: Source) -> list[ReportTable]:
    groups = {"Settings": source.spec, "Provenance": source.meta, "Seconds": source.timings}
    return [table for caption, values in groups.items() if (table := named_values(values, caption)) is not None]
