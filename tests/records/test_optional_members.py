import dataclasses
import json
import math

import numpy as np
from arbitrary import assert_same
from made_up import example_scores

from tfstiff.records import (
    BlockStiffness,
    ClassStiffness,
    HalfSummary,
    Measurement,
    PairSetStiffness,
    read_record,
    write_record,
)
from tfstiff.records.scores import ExampleScores

RNG = np.random.default_rng(0)


def test_scores_and_statistics_are_read_as_they_were_written(tmp_path):
    scores = [
        example_scores(5, 3, classes=[0, 2, 1, 1, 0], halves=["validation"]),
        ExampleScores(*RNG.normal(size=(2, 4)), None),
    ]
    halves = [HalfSummary(len(one.loss), 1.0, math.nan, 0, 0, one) for one in scores]
    statistics = {"noise_scale": math.inf, "of/any name": 0.25, "m_coherence": math.nan}
    means = RNG.normal(size=(3, 3))
    pair_sets = {
        name: PairSetStiffness(None, None, None, 0.1, 0.2, 0.3, 0.4, {}, statistics=one, class_mean_gram=gram)
        for name, one, gram in (("train_train", statistics, means), ("val_val", {}, None))
    }
    write_record(tmp_path / "one.npz", Measurement(*halves, pair_sets))
    read = read_record(tmp_path / "one.npz")
    for half, one in zip((read.train, read.validation), scores, strict=True):
        assert_same(half.scores, one)
    np.testing.assert_equal(read["train_train"].statistics, statistics)
    np.testing.assert_array_equal(read["train_train"].class_mean_gram, means)
    assert read["val_val"].statistics == {}
    assert read["val_val"].class_mean_gram is None


def test_summaries_are_equal_whatever_their_scores():
    scores = ExampleScores(np.ones(3), np.ones(3), None)
    assert HalfSummary(3, 1.0, 0.5, 0, 0, scores) == HalfSummary(3, 1.0, 0.5, 0, 0)
    assert "ExampleScores" not in repr(HalfSummary(3, 1.0, 0.5, 0, 0, scores))


def test_a_record_from_before_classes_were_grouped_is_read(tmp_path):
    path = tmp_path / "one.npz"
    names = {field.name for field in dataclasses.fields(ClassStiffness)} - {"blocks"}
    arrays = {"matrix", "matrix_se", "matrix_df", "within_influence", "between_influence"}
    by_class = ClassStiffness(**{name: np.ones((2, 2)) if name in arrays else 1 for name in names})
    blocks = BlockStiffness(*np.arange(9.0).tolist(), 0.25, 3, True, np.ones(4, np.float32))
    by_class = dataclasses.replace(by_class, blocks=blocks)
    half = HalfSummary(2, 1.0, 0.5, 0, 0)
    pair_set = PairSetStiffness(by_class, by_class, np.ones((2, 2), int), 0.1, 0.2, 0.3, 0.4, {})
    whole = Measurement(half, half, {"train_val": pair_set}, ("a", "b"), groups={"x/y": ("a",), "z": ("b",)})
    write_record(path, whole)
    assert read_record(path).groups == {"x/y": ("a",), "z": ("b",)}
    assert read_record(path)["train_val"].sign.blocks.is_exact is True
    with np.load(path) as file:
        members = {name: file[name] for name in file.files if "blocks" not in name and "groups" not in name}
    scalars = json.loads(members["scalars"].item())
    assert any("blocks" in name for name in scalars)
    members["scalars"] = np.asarray(json.dumps({n: v for n, v in scalars.items() if "blocks" not in n}))
    np.savez(path, **members)
    old = read_record(path)
    assert (old.groups, old["train_val"].sign.blocks, old["train_val"].sign.within) == ({}, None, 1)
