"""Runs on texts: the vocabulary is fitted to the training texts, kept with the run, and used for all that follows."""

import json
from pydoc_data.topics import topics

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from own_code import code_of_ones_own
from tfstiff_cli import main

from tfstiff import RunSpec, load_run, run
from tfstiff.datasets.text import TextEncoding
from tfstiff.errors import InvalidInput, RecordCorrupt
from tfstiff.runs.checkpoints.interval import CheckpointInterval
from tfstiff.runs.data import draw_probe, load_examples
from tfstiff.runs.progress import Progress

TOPICS = ("compound", "specialnames", "types")  # of Python's own documentation, which comes with it
NETWORK = """
import keras

def build(input_shape, num_classes, num_token_ids):
    ids = keras.Input(input_shape, dtype="int32")
    tokens = keras.layers.Embedding(num_token_ids, 4)(ids)
    pooled = keras.layers.GlobalAveragePooling1D(name="pooled")(tokens)
    return keras.Model(ids, keras.layers.Dense(num_classes)(pooled), name="bag_of_words")
"""
OWN = "tfstiff_bag_of_words:build"


def paragraphs(first, last):
    found = [[text for text in topics[topic].split("\n\n") if len(text.split()) >= 10] for topic in TOPICS]
    rows = [(text, label) for label, texts in enumerate(found) for text in texts[first:last]]
    return np.array([text for text, _ in rows]), np.array([TOPICS[label] for _, label in rows])


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for name, start in (("python", 0), ("other", 45)):
        (x, y), (x_validation, y_validation) = paragraphs(start, start + 20), paragraphs(start + 20, start + 30)
        np.savez(folder / f"{name}.npz", x_train=x, y_train=y, x_validation=x_validation, y_validation=y_validation)
    with code_of_ones_own(folder, "tfstiff_bag_of_words", NETWORK):
        yield folder


def spec_of(arch, **changes):
    settings = {"epochs": 1, "schedule": "epoch", "probe_size": 9, "batch_size": 20, "sequence_length": 12}
    probe = settings.pop("probe_size")
    return RunSpec(
        "npz:python.npz",
        arch=arch,
        probe_size=(probe, probe),
        vocabulary_size=150,
        keep_models=True,
        **settings | changes,
    )


@pytest.fixture(scope="module")
def bag(place):
    return run(spec_of(OWN), place / "bag")


def loss_of(finished, measurement, spec, split, arch=None):
    """The mean loss of the probe's texts by the model and the vocabulary that the run kept."""
    raw = load_examples(spec, "raw")
    half = getattr(draw_probe(spec, raw), split)
    model = finished.model_at(measurement.step, arch)
    outputs = model(finished.encode(half.x))
    return float(np.mean(keras.losses.sparse_categorical_crossentropy(half.y, outputs, from_logits=True)))


def test_the_transformer_learns_texts_and_distances_are_between_their_representations(place):
    spec = spec_of("transformer", epochs=3, schedule=(0, 3), batch_size=5, learning_rate=3e-3)
    finished = run(spec, place / "transformer")
    assert finished.status == "completed"
    encoding = TextEncoding.fit(paragraphs(0, 20)[0].astype(object), 150, 12)
    assert finished.vocabulary == encoding.as_config()
    assert finished.spec["num_token_ids"] == 150
    assert finished.spec["input_shape"] == [12]
    for measurement in finished.measurements:
        assert list(measurement["train_val"].spaces) == ["pooled"]
        assert measurement["train_val"].critical_length.status != "unavailable"
    last = finished.measurements[-1]
    assert last.train.loss < 0.7 * finished.measurements[0].train.loss
    for split in ("train", "validation"):
        assert getattr(last, split).loss == pytest.approx(loss_of(finished, last, spec, split), rel=1e-4)


def test_a_run_is_measured_with_its_own_vocabulary_on_other_texts_too(bag):
    out = bag.folder.parent / "again"
    arguments = ["measure", str(bag.folder), "--dataset", "npz:other.npz", "--arch", OWN, "--out", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    measured = load_run(out)
    assert measured.vocabulary == bag.vocabulary
    fitted = TextEncoding.fit(paragraphs(45, 65)[0].astype(object), 150, 12)
    assert list(fitted.words) != measured.vocabulary["words"]
    spec = RunSpec.from_config(bag.spec | {"dataset": "npz:other.npz"})
    for found in measured.measurements:
        for split in ("train", "validation"):
            assert getattr(found, split).loss == pytest.approx(loss_of(bag, found, spec, split, OWN), rel=1e-4)
    result = CliRunner().invoke(main, [*arguments, "--sequence-length", "5"])
    assert result.exit_code == 2
    assert "leave out --sequence-length" in result.output


def test_of_a_model_without_its_run_it_is_said_that_the_vocabulary_is_another(bag):
    bag.model_at(bag.model_steps[-1], arch=OWN).save("alone.keras")
    arguments = ["measure", "alone.keras", "--dataset", "npz:other.npz", "--arch", OWN, "--sequence-length", "12"]
    arguments += ["--vocabulary-size", "150", "--probe-size", "9"]
    told = "which vocabulary these models were trained with is not known"
    result = CliRunner().invoke(main, [*arguments, "--out", "alone"])
    assert result.exit_code == 0, result.output
    assert told in result.stderr
    result = CliRunner().invoke(main, ["measure", str(bag.folder), "--arch", OWN, "--out", "with-its-run"])
    assert told not in result.stderr


def test_inputs_have_no_distances_but_layers_have(bag):
    assert list(bag.measurements[0]["train_val"].spaces) == ["pooled"]
    told = []

    class Told(Progress):
        def say(self, text):
            told.append(text)

    out = bag.folder.parent / "by-input"
    with pytest.warns(UserWarning, match="choose the space of a layer: embedding.*, pooled, dense"):
        found = run(spec_of(OWN, space="input"), out, progress=Told())
    assert found.measurements[0]["train_val"].critical_length.status == "unavailable"
    before, after = found.measurements[0].scalars(), bag.measurements[0].scalars()
    assert before["stiffness_cosine_within_train_val"] == after["stiffness_cosine_within_train_val"]


def test_a_run_goes_on_with_the_vocabulary_that_it_kept(bag, monkeypatch):
    class Stop(Progress):
        def measured(self, *_):
            self.calls = getattr(self, "calls", 0) + 1
            if self.calls == 2:
                raise KeyboardInterrupt

    out, spec = bag.folder.parent / "stopped", spec_of(OWN, schedule=(0, 1 / 3, 1))
    with pytest.raises(KeyboardInterrupt):
        run(spec, out, progress=Stop(), checkpoints=CheckpointInterval(steps=1))
    monkeypatch.setattr(TextEncoding, "fit", lambda *_: pytest.fail("it was fitted again"))
    kept = load_run(out).vocabulary
    (out / "vocabulary.json").write_text(json.dumps(kept | {"sequence_length": 3}))
    with pytest.raises(RecordCorrupt, match="not the vocabulary of the run"):
        run(spec, out)
    (out / "vocabulary.json").write_text(json.dumps(kept))
    finished = run(spec, out)
    assert finished.status == "completed"
    assert finished.vocabulary == kept
    assert len(finished.measurements) == 3


def test_a_vocabulary_that_is_gone(bag, tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "config.json").write_text((bag.folder / "config.json").read_text())
    with pytest.raises(RecordCorrupt, match="missing, or holds no vocabulary"):
        load_run(tmp_path).encode(["text"])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidInput, match="keeps no vocabulary"):
        load_run(tmp_path).encode(["text"])


@pytest.mark.parametrize("tokens", [True, "3", [4], 0])
def test_a_number_of_token_ids_that_is_none(bag, tokens, tmp_path, monkeypatch):
    (tmp_path / "records").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(bag.spec | {"num_token_ids": tokens}))
    monkeypatch.setattr("tfstiff.records.run_folder.RunFolder.model_steps", [0])
    with pytest.raises(RecordCorrupt, match="does not say which model"):
        load_run(tmp_path).model_at(0, OWN)


def test_numbers_are_token_ids_to_the_transformer_alone(place):
    ids = np.arange(24).reshape(6, 4)
    np.savez(place / "ids.npz", x_train=ids, y_train=[0, 1] * 3, x_validation=ids, y_validation=[0, 1] * 3)
    np.savez(place / "fractions.npz", x_train=ids / 2, y_train=[0, 1] * 3, x_validation=ids, y_validation=[0, 1] * 3)
    as_ids = load_examples(RunSpec("npz:ids.npz", arch="transformer"))
    assert as_ids.num_token_ids == 24
    np.testing.assert_array_equal(as_ids.train.x, ids)
    assert load_examples(RunSpec("npz:ids.npz")).num_token_ids is None
    assert load_examples(RunSpec("npz:ids.npz")).train.x.dtype == np.float32
    with pytest.raises(InvalidInput, match="no sequences of token ids"):
        load_examples(RunSpec("npz:fractions.npz", arch="transformer"))


def test_networks_of_numbers_are_refused_before_training(place):
    with pytest.raises(InvalidInput, match="takes numbers, and the examples are texts"):
        run(spec_of("fc"), place / "none")
    assert not (place / "none").exists()
    with pytest.raises(InvalidInput, match="sequence_length must be a whole number"):
        spec_of("transformer", sequence_length=0)
