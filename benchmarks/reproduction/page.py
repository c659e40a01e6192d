"""The tables of `docs/reproduction.md`, between its marks; the sentences around them are written by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from benchmarks.reproduction import claims, concordance, league, predictors, verdicts

PAGE = Path(__file__).parents[2] / "docs" / "reproduction.md"


def tables() -> dict[str, str]:
    """By the name of their mark."""
    of_predictors = verdicts.predictors_table()
    is_rank = [name.startswith("τ") for name in of_predictors.columns]
    others = [name for name, is_it in zip(of_predictors.columns, is_rank, strict=True) if not is_it]
    ranks = ["candidate", *(name for name, is_it in zip(of_predictors.columns, is_rank, strict=True) if is_it)]
    return {
        "what ran": what_ran(),
        "claims": markdown(verdicts.claims_table()),
        "concordance": markdown(verdicts.concordance_table()),
        "league": markdown(verdicts.league_table()),
        "league by noise": markdown(verdicts.regret_by_noise()),
        "predictors": markdown(of_predictors[others]),
        "predictors over all": markdown(of_predictors[ranks]),
    }


def what_ran() -> str:
    trainings = {
        "trainings for the predictors": len(predictors.table()),
        "trainings of the league": len(league.tables()[1].drop_duplicates(list(league.KEYS))),
        "runs for the claims": len(claims.tables()[1]),
        "numbers of others, computed again": len(concordance.table()),
    }
    return "".join(f"- {count:,} {what}\n" for what, count in trainings.items())


def markdown(table: pd.DataFrame) -> str:
    lines = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def update(page: Path = PAGE) -> None:
    """Writes each table between `<!-- NAME -->` and `<!-- end -->`.

    Raises:
        ValueError: The page lacks a mark.
    """
    text = page.read_text()
    for name, table in tables().items():
        text, count = re.subn(
            rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)",
            lambda found, table=table: f"{found[1]}{table}{found[2]}",
            text,
            flags=re.DOTALL,
        )
        if count != 1:
            raise ValueError(f"{page} has the mark <!-- {name} --> {count} times; expected once")
    page.write_text(text)
