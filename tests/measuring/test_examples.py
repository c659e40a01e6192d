"""What a measurement says of single examples, against the products of all gradients that it kept."""

import keras
import numpy as np
import pytest
from four_inputs import network

from tfstiff import Probe, measure

RNG = np.random.default_rng(0)
SIZES = (14, 11)
LABELS = [RNG.permutation(np.resize([0, 1, 2], size)) for size in SIZES]
INPUTS = [RNG.normal(size=(size, 4)).astype(np.float32) for size in SIZES]


@pytest.fixture(scope="module")
def case():
    """Three classes and five outputs: two stand for no class."""
    probe = Probe.from_arrays(*zip(INPUTS, LABELS, strict=True))
    model = network(5, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model, probe, measure(model, probe, keep_gram=True)


@pytest.mark.parametrize("half", ["train", "validation"])
def test_stiffness_of_each_example(case, half):
    _, probe, m = case
    norms = np.sqrt(np.diag(m.gram).astype(float))
    cosines = m.gram / np.outer(norms, norms)
    classes = np.concatenate([probe.train.classes, probe.validation.classes])
    halves = np.repeat(["train", "validation"], SIZES)
    places = np.flatnonzero(halves == half)
    frame = m.examples(half, by_class=True).set_index(["example", "with_half", "with_class"])
    for example, i in enumerate(places):
        for other in ("train", "validation"):
            for c, name in enumerate(probe.class_names):
                others = [j for j in np.flatnonzero((halves == other) & (classes == c)) if j != i]
                row = frame.loc[(example, other, name)]
                assert row["num_others"] == len(others)
                for metric, values in (("cosine", cosines[i, others]), ("sign", np.sign(cosines[i, others]))):
                    assert row[metric] == pytest.approx(values.mean(), abs=1e-5)
                    assert row[f"{metric}_se"] == pytest.approx(values.std(ddof=1) / np.sqrt(len(others)), abs=1e-4)


def test_predictions_are_of_classes_and_margins_of_probabilities(case):
    model, probe, m = case
    probabilities = keras.ops.softmax(model(probe.train.x)).numpy()
    frame, scores = m.examples("train"), m.train.scores
    chosen = probabilities.argmax(1)
    assert scores.predicted.tolist() == [c if c < 3 else -1 for c in chosen]
    assert {-1} < set(scores.predicted.tolist())  # both kinds occur
    assert frame["predicted"].isna().tolist() == [c >= 3 for c in chosen]
    assert list(frame["class"].astype(int)) == LABELS[0].tolist()
    for i, y in enumerate(LABELS[0]):
        expected = probabilities[i, y] - np.delete(probabilities[i], y).max()
        assert scores.margin[i] == pytest.approx(expected, abs=1e-6)


def test_only_what_was_measured_is_there(case):
    model, probe, _ = case
    m = measure(model, probe, pair_sets=("val_val",))
    assert "cosine_own_validation" in m.examples("validation")
    assert not any("_train" in column for column in m.examples("validation").columns)
    assert not any("cosine" in column for column in m.examples("train").columns)


def test_numbers():
    y = [RNG.normal(size=size).astype(np.float32) for size in SIZES]
    m = measure(network(1, "mse"), Probe.from_arrays(*zip(INPUTS, y, strict=True)), keep_gram=True)
    norms = np.sqrt(np.diag(m.gram).astype(float))
    cosines = (m.gram / np.outer(norms, norms))[: SIZES[0], SIZES[0] :]
    np.testing.assert_allclose(m.examples("train")["cosine_all_validation"], cosines.mean(1), atol=1e-5)
    assert m.train.scores.predicted is None
    assert m.train.scores.classes is None
