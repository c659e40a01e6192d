import dataclasses
import math

import numpy as np

from tfstiff.records import HalfSummary, Measurement, PairSetStiffness, read_record, write_record
from tfstiff.records.diagnostics import ExampleScores, GradientDiagnostics

RNG = np.random.default_rng(0)


def diagnostics(class_mean_gram):
    names = [field.name for field in dataclasses.fields(GradientDiagnostics)]
    values = dict(zip(names, [math.nan, math.inf, *RNG.normal(size=len(names))], strict=False))
    return GradientDiagnostics(**values | {"class_mean_gram": class_mean_gram})


def same(found, expected):
    for field in dataclasses.fields(expected):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name), strict=True)


def test_scores_and_diagnostics_are_read_as_they_were_written(tmp_path):
    scores = [ExampleScores(*RNG.normal(size=(3, 5))), ExampleScores(*RNG.normal(size=(2, 4)), None)]
    halves = [HalfSummary(len(one.loss), 1.0, math.nan, 0, 0, one) for one in scores]
    found = [diagnostics(RNG.normal(size=(3, 3))), diagnostics(None), None]
    pair_sets = {
        name: PairSetStiffness(None, None, None, 0.1, 0.2, 0.3, 0.4, {}, diagnostics=one)
        for name, one in zip(("train_train", "val_val", "train_val"), found, strict=True)
    }
    write_record(tmp_path / "one.npz", Measurement(*halves, pair_sets))
    read = read_record(tmp_path / "one.npz")
    for half, one in zip((read.train, read.validation), scores, strict=True):
        same(half.scores, one)
    same(read["train_train"].diagnostics, found[0])
    same(read["val_val"].diagnostics, found[1])
    assert read["train_val"].diagnostics is None


def test_summaries_are_equal_whatever_their_scores():
    scores = ExampleScores(np.ones(3), np.ones(3), None)
    assert HalfSummary(3, 1.0, 0.5, 0, 0, scores) == HalfSummary(3, 1.0, 0.5, 0, 0)
    assert "ExampleScores" not in repr(HalfSummary(3, 1.0, 0.5, 0, 0, scores))
