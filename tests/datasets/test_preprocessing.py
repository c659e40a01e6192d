import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfstiff import RunSpec
from tfstiff.datasets import Dataset, Examples, Preprocessing, prepare
from tfstiff.datasets import preprocessing as module
from tfstiff.datasets.dataset import numbered_ids
from tfstiff.errors import InvalidInput

AXES = {"global": lambda x: None, "channel": lambda x: tuple(range(x.ndim - 1)), "pixel": lambda x: 0}


def plain(train, x, centering):
    """The definition, at once and in float64."""
    train, x = train.astype(np.float64), x.astype(np.float64)
    axis = AXES[centering](train)
    std = train.std(axis=axis)
    scaled = (x - train.mean(axis=axis)) / np.where(std > 0, std, 1)
    flat = scaled.reshape(len(x), -1)
    norm = np.sqrt((flat**2).sum(axis=1, keepdims=True))
    return (flat / np.where(norm > 0, norm, 1)).reshape(x.shape)


def images(n, shape=(5, 4, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


@pytest.mark.parametrize("centering", ["global", "channel", "pixel"])
@pytest.mark.parametrize("shape", [(7,), (5, 4, 1), (5, 4, 3)])
def test_equals_the_plain_formula(centering, shape, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_BYTES", 8 * 3 * int(np.prod(shape)))  # chunks of three examples
    train, other = images(31, shape), images(10, shape, seed=1)
    fitted = Preprocessing.fit(train, centering)
    for x in (train, other):
        result = fitted.apply(x)
        assert result.dtype == np.float32
        assert result.shape == x.shape
        np.testing.assert_allclose(result, plain(train, x, centering), atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(
    x=hnp.arrays(
        st.sampled_from([np.uint8, np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=4, max_side=5),
        elements=st.integers(0, 255),
    ),
    centering=st.sampled_from(["global", "channel", "pixel"]),
)
def test_every_example_has_unit_length_or_is_zero(x, centering):
    result = Preprocessing.fit(x, centering).apply(x)
    length = np.linalg.norm(result.reshape(len(x), -1).astype(np.float64), axis=1)
    assert np.all(np.isclose(length, 1, atol=1e-6) | (length == 0))
    np.testing.assert_allclose(result, plain(x, x, centering), atol=1e-5)


@pytest.mark.parametrize("centering", ["global", "channel", "pixel"])
def test_inputs_that_are_all_the_same_become_zero(centering):
    x = np.full((7, 3, 3, 2), 0.1)  # 0.1 has no exact sum: a naive mean leaves a residue
    assert not Preprocessing.fit(x, centering).apply(x).any()


def test_constant_pixels_do_not_disturb_the_others():
    x = images(20).astype(np.float64)
    x[:, 0, 0, 0] = 0.3
    result = Preprocessing.fit(x, "pixel").apply(x)
    assert not result[:, 0, 0, 0].any()
    assert np.isfinite(result).all()


def test_a_large_mean_does_not_cancel():
    x = 1e8 + np.random.default_rng(0).normal(size=(100, 6))
    np.testing.assert_allclose(Preprocessing.fit(x, "channel").std, x.std(axis=0), rtol=1e-6)


def test_unusable_input_is_refused():
    with pytest.raises(InvalidInput, match="global or channel or pixel"):
        Preprocessing.fit(images(3), "whole")
    with pytest.raises(InvalidInput):
        Preprocessing.fit(images(0))
    with pytest.raises(InvalidInput, match="NaN"):
        Preprocessing.fit(np.array([[1.0, np.nan]]))
    with pytest.raises(InvalidInput, match="another shape"):
        Preprocessing.fit(images(3), "pixel").apply(images(3, (4, 4, 3)))


@pytest.mark.parametrize("centering", ["global", "channel", "pixel"])
def test_the_summary_is_json(centering):
    summary = json.loads(json.dumps(Preprocessing.fit(images(9), centering).summary()))
    assert summary["centering"] == centering
    assert summary["fitted_on"] == 9


def dataset(n=60, classes=3, *, coarse=False):
    y = np.arange(n) % classes
    train = Examples(images(n), y, numbered_ids("train", n), y // 2 if coarse else None)
    validation = Examples(images(9, seed=1), np.arange(9) % classes, numbered_ids("test", 9))
    return Dataset("made", train, validation, tuple("abcdefgh"[:classes])).with_provenance("test")


def test_prepare_fits_on_the_training_examples_that_remain():
    raw = dataset()
    ready = prepare(raw, train_examples=12, seed=3)
    chosen = np.isin(raw.train.ids, ready.train.ids)
    assert chosen.sum() == 12
    np.testing.assert_allclose(ready.train.x, plain(raw.train.x[chosen], raw.train.x[chosen], "global"), atol=1e-7)
    np.testing.assert_allclose(ready.validation.x, plain(raw.train.x[chosen], raw.validation.x, "global"), atol=1e-7)
    assert ready.provenance["preparation"]["preprocessing"]["fitted_on"] == 12
    assert ready.provenance["splits"] == raw.provenance["splits"]
    json.dumps(ready.provenance)


def test_the_subset_is_stratified_seeded_and_keeps_labels_with_their_examples():
    raw = dataset(100, 4)
    ready = prepare(raw, train_examples=20, seed=5)
    assert np.bincount(ready.train.y).tolist() == [5, 5, 5, 5]
    position = {identity: index for index, identity in enumerate(raw.train.ids)}
    assert all(raw.train.y[position[i]] == label for i, label in zip(ready.train.ids, ready.train.y, strict=True))
    assert ready.train.ids.tolist() == prepare(raw, train_examples=20, seed=5).train.ids.tolist()
    assert ready.train.ids.tolist() != prepare(raw, train_examples=20, seed=6).train.ids.tolist()


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 50), seed=st.integers(0, 5))
def test_a_subset_of_unequal_classes_keeps_their_proportions(size, seed):
    raw = dataset(50, 3)
    train = Examples(raw.train.x, np.repeat([0, 1, 2], [35, 10, 5]), raw.train.ids)
    raw = Dataset("made", train, raw.validation, ("a", "b", "c"))
    counts = np.bincount(prepare(raw, train_examples=size, seed=seed).train.y, minlength=3)
    assert counts.sum() == size
    assert np.all(np.abs(counts - np.array([35, 10, 5]) * size / 50) < 1)


def test_permuted_labels_keep_their_counts_and_leave_the_rest_alone():
    raw = dataset(90, 3, coarse=True)
    plain_run, permuted = prepare(raw, seed=1), prepare(raw, permute_labels=True, seed=1)
    assert np.bincount(permuted.train.y).tolist() == [30, 30, 30]
    assert (permuted.train.y != raw.train.y).any()
    assert (permuted.train.coarse == permuted.train.y // 2).all()
    np.testing.assert_array_equal(permuted.train.x, plain_run.train.x)
    np.testing.assert_array_equal(permuted.train.ids, raw.train.ids)
    np.testing.assert_array_equal(permuted.validation.y, raw.validation.y)
    kept = (permuted.train.y == raw.train.y).mean()
    assert permuted.provenance["preparation"]["labels_kept"] == pytest.approx(kept)
    assert plain_run.provenance["preparation"]["labels_kept"] == 1


def test_permuting_does_not_change_which_examples_are_chosen():
    raw = dataset()
    assert (
        prepare(raw, train_examples=9, seed=2).train.ids.tolist()
        == prepare(raw, train_examples=9, seed=2, permute_labels=True).train.ids.tolist()
    )


def test_a_regression_subset():
    raw = dataset()
    train = Examples(raw.train.x, np.linspace(0, 1, 60, dtype=np.float32), raw.train.ids)
    ready = prepare(Dataset("made", train, raw.validation), train_examples=7)
    assert len(ready.train) == 7
    assert ready.num_classes is None


@pytest.mark.parametrize("options", [{"train_examples": 61}, {"train_examples": 0}, {"seed": -1}, {"centering": "x"}])
def test_prepare_refuses(options):
    with pytest.raises(InvalidInput):
        prepare(dataset(), **options)


@pytest.mark.parametrize(("shape", "chosen"), [((7,), "feature"), ((5, 4, 1), "global"), ((6, 5), "global")])
def test_rows_of_features_are_standardised_feature_by_feature(shape, chosen):
    x = np.random.default_rng(0).normal(size=(40, *shape)) * np.arange(1, shape[-1] + 1) ** 4
    fitted = Preprocessing.fit(x, "auto")
    assert fitted.centering == chosen
    same = Preprocessing.fit(x, "pixel" if chosen == "feature" else chosen)
    np.testing.assert_array_equal(fitted.apply(x), same.apply(x))
    words = {"feature": "for each of 7 features", "global": "over all values"}[chosen]
    assert words in fitted.in_words()
    (of_a_run,) = (field for field in dataclasses.fields(RunSpec) if field.name == "centering")
    assert of_a_run.default == "auto"
