import math
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from plain_sums import sums_of
from synthetic_runs import measurement, write_run
from tfstiff_cli import main

from tfstiff import figures
from tfstiff.errors import InvalidInput
from tfstiff.export import schema, write_tidy
from tfstiff.report import write_report
from tfstiff.stiffness import statistics
from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.statistics import STATISTICS, half_statistics
from tfstiff.stiffness.statistics.class_means import class_mean_gram
from tfstiff.stiffness.statistics.coherence import coherence
from tfstiff.stiffness.statistics.noise_scale import noise_scale

RNG = np.random.default_rng(0)
CLASSES = np.arange(20) % 4
GRADIENTS = RNG.normal(size=(20, 6)) + 0.5 * RNG.normal(size=(4, 6))[CLASSES] + 0.5


def test_all_of_them_at_once():
    sums = sums_of(GRADIENTS, CLASSES)
    found = half_statistics(sums)
    gram = GRADIENTS @ GRADIENTS.T
    pairs = gram[np.triu_indices(20, 1)]
    norms = np.linalg.norm(GRADIENTS, axis=1)
    assert found["mean_squared_norm"] == pytest.approx(np.trace(gram) / 20)
    assert found["m_coherence"] == pytest.approx(gram.sum() / np.trace(gram))
    assert found["gradient_diversity"] == pytest.approx(np.trace(gram) / gram.sum())
    assert found["batch_size_bound"] == pytest.approx(20 * np.trace(gram) / gram.sum())
    assert found["negative_share"] == pytest.approx(np.mean(pairs < 0))
    assert found["smallest_cosine"] == pytest.approx((gram / np.outer(norms, norms)).min())
    assert found["participation_ratio"] == pytest.approx(np.trace(gram) ** 2 / (gram**2).sum())
    noise = noise_scale(coherence(HalfSums(sums)))
    assert [found[f"noise_scale{end}"] for end in ("", "_low", "_high")] == [noise.value, noise.low, noise.high]
    means = class_mean_gram(HalfSums(sums))
    share = np.full(4, 1 / 4)
    assert found["within_class_trace"] + share @ np.diag(means) == pytest.approx(found["mean_squared_norm"])
    assert list(found) == [name for statistic in STATISTICS for name, _ in statistic.columns()]
    assert not any(math.isnan(value) for value in found.values())


def test_one_class_has_nothing_to_compare():
    found = half_statistics(sums_of(GRADIENTS))
    assert math.isnan(found["in_class_alignment"])
    assert math.isnan(found["label_alignment"])
    assert math.isnan(found["within_class_trace"])
    assert found["coherence"] > 0


@pytest.mark.parametrize("gradients", [np.zeros((4, 3)), np.full((4, 3), np.nan), np.zeros((0, 3)), np.ones((1, 3))])
def test_nothing_to_measure_is_nan_without_a_warning(gradients, recwarn):
    found = half_statistics(sums_of(gradients, np.arange(len(gradients)) % 2, num_classes=2))
    assert math.isnan(found["coherence"])
    assert math.isnan(found["label_alignment"])
    assert not recwarn.list


def test_two_halves_have_none():
    with pytest.raises(InvalidInput, match="one half"):
        half_statistics(sums_of(GRADIENTS, CLASSES, GRADIENTS, CLASSES))


def test_a_line_in_the_table_is_all_that_a_statistic_takes(tmp_path, monkeypatch):
    """One is made up, put into the table, and found in record, show, figure, report, tables and data frame."""
    made_up = statistics.Statistic("made_up", "number that was made up", "1", lambda half: 0.125 * len(half.classes))
    monkeypatch.setattr(statistics, "STATISTICS", table := (*STATISTICS, made_up))
    for module in ("tfstiff.figures.half_statistics", "tfstiff.report.tables", "tfstiff_cli.statistics_table"):
        monkeypatch.setattr(f"{module}.STATISTICS", table)
    monkeypatch.setattr("tfstiff.export.schema.STATISTICS", table)
    monkeypatch.setattr("tfstiff.export.frames.TABLES", tables := schema._tables())
    monkeypatch.setattr("tfstiff.export.tidy.TABLES", tables)
    one = measurement(0, 0.0, 0.0, 4)
    found = statistics.half_statistics(sums_of(GRADIENTS, CLASSES))
    assert found["made_up"] == 2.5
    sets = one.pair_sets | {"val_val": replace(one["val_val"], statistics=found)}
    run = write_run(tmp_path / "mine", [replace(one, pair_sets=sets), replace(one, pair_sets=sets, step=1, epoch=1.0)])
    assert run.measurements[0]["val_val"].statistics["made_up"] == 2.5
    assert "made up" in CliRunner().invoke(main, ["show", str(run.folder)]).stdout
    assert "made up" in [panel.get_title() for panel in figures.statistics(run).axes]
    assert "made up" in write_report(run, interactive=False).read_text("utf-8")
    paths = {path.stem: path.read_text("utf-8") for path in write_tidy([run], tmp_path / "out")}
    assert "made_up" in paths["statistics"]
    assert "number that was made up" in paths["columns"]
    assert run.to_dataframe().made_up.dropna().tolist() == [2.5, 2.5]
