"""The text transformer: what its masks and positions do, and its gradients."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from tfstiff import gradient_gram, models
from tfstiff.errors import InvalidInput

LENGTH, IDS = 7, 11


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    built = models.build("transformer", (LENGTH,), 3, num_token_ids=IDS)
    for weight in built.trainable_weights:  # no norm scale or bias is at its neutral value
        weight.assign_add(0.1 * keras.random.normal(weight.shape, seed=3))
    built.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return built


@pytest.fixture(scope="module")
def ids():
    ids = np.random.default_rng(0).integers(1, IDS, (6, LENGTH)).astype(np.int32)
    ids[0, 4:] = 0
    ids[1, 2:4] = 0  # in between, as at the end of the first of two texts
    ids[2, :3] = 0
    ids[3] = 0
    return ids


def plain(model, ids):
    """The logits of one example by NumPy, of the tokens that are there alone, float64."""
    weights = {weight.path: np.asarray(weight.value, np.float64) for weight in model.weights}
    norms = [path.rpartition("/")[0] for path in weights if path.endswith("gamma")]  # in the order of the layers

    def normed(x, place):
        name = norms[place]
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
        return x * weights[f"{name}/gamma"] + weights[f"{name}/beta"]

    def heads(x, block, part):
        path = f"attention_{block}/{part}"
        return np.einsum("td,dhk->htk", x, weights[f"{path}/kernel"]) + weights[f"{path}/bias"][:, None]

    last = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dense)][-1]
    there = np.flatnonzero(ids)
    if not len(there):
        return weights[f"{last}/bias"]
    x = weights["tokens/embeddings"][ids[there]] + weights["positions/positions"][there]
    denses = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    for block in range(2):
        y = normed(x, 2 * block)
        query, key, value = (heads(y, block, part) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[2])
        shares = np.exp(scores - scores.max(2, keepdims=True))
        y = shares / shares.sum(2, keepdims=True) @ value
        path = f"attention_{block}/attention_output"
        x = x + np.einsum("htk,hkd->td", y, weights[f"{path}/kernel"]) + weights[f"{path}/bias"]
        inner, outer = denses[2 * block : 2 * block + 2]
        y = normed(x, 2 * block + 1) @ weights[f"{inner}/kernel"] + weights[f"{inner}/bias"]
        y = keras.activations.gelu(y.astype(np.float64)).numpy()
        x = x + y @ weights[f"{outer}/kernel"] + weights[f"{outer}/bias"]
    return normed(x, 4).mean(0) @ weights[f"{last}/kernel"] + weights[f"{last}/bias"]


def test_the_tokens_that_are_there_are_all_that_counts(model, ids):
    expected = np.stack([plain(model, one) for one in ids])
    np.testing.assert_allclose(model(ids), expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 0.1  # the examples differ


def test_gradients_are_those_of_one_tape_per_example(model, ids):
    y = np.arange(len(ids)) % 3
    np.testing.assert_allclose(
        gradient_gram(model, ids, y), gradient_gram(model, ids, y, method="loop"), rtol=1e-4, atol=1e-5
    )


def test_it_is_saved_and_read_in_safe_mode(model, ids, tmp_path):
    model.save(tmp_path / "text.keras")
    again = keras.saving.load_model(tmp_path / "text.keras", safe_mode=True)
    np.testing.assert_array_equal(again(ids), model(ids))


def test_other_processes_know_its_layers():
    """Those that sum a part of a measurement, which read the model from a file."""
    known = "keras.saving.get_registered_object('tfstiff>Positions')"
    code = f"import keras, tfstiff.measuring.distributed.job; assert {known} is not None"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_networks_for_other_inputs_are_named():
    with pytest.raises(InvalidInput, match="takes texts or token ids"):
        models.build("transformer", (28, 28, 1), 3)
    with pytest.raises(InvalidInput, match="takes numbers, and the examples are texts"):
        models.build("fc", (7,), 3, num_token_ids=IDS)


def test_a_builder_of_ones_own_is_told_how_many_ids_there_are(monkeypatch):
    told = []

    def takes(input_shape, num_classes, num_token_ids=None):
        told.append((input_shape, num_classes, num_token_ids))
        return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(num_classes)])

    def does_not(input_shape, num_classes):
        return takes(input_shape, num_classes)

    monkeypatch.setattr(models, "takes", takes, raising=False)
    monkeypatch.setattr(models, "does_not", does_not, raising=False)
    models.build("tfstiff.models:takes", (7,), 3, num_token_ids=IDS)
    models.build("tfstiff.models:takes", (7,), 3)
    models.build("tfstiff.models:does_not", (7,), 3, num_token_ids=IDS)
    assert told == [((7,), 3, IDS), ((7,), 3, None), ((7,), 3, None)]
