"""A probe without validation examples: what is measured is what a probe with them says of the training half."""

import keras
import numpy as np
import pytest

import tfstiff
from tfstiff import Probe, StiffnessCallback, measure
from tfstiff.errors import InvalidInput

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 5)).astype(np.float32), np.arange(24) % 3


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    made = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(3)])
    made.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return made


def test_train_train_is_the_same_as_beside_a_validation_half(model):
    options = {"space": "all", "per_layer": True, "keep_gram": True}
    alone = measure(model, Probe.from_arrays((X, Y)), **options)
    beside = measure(model, Probe.from_arrays((X, Y), (X[:9] + 1, Y[:9])), **options)
    assert list(alone.pair_sets) == ["train_train"]
    for found, expected in ((alone.scalars(), beside.scalars()), (alone.standard_errors(), beside.standard_errors())):
        assert found == pytest.approx({name: expected[name] for name in found}, nan_ok=True)
    np.testing.assert_allclose(alone.gram, beside.gram[:24, :24], rtol=1e-5, atol=1e-7)
    assert alone.layers.keys() == beside.layers.keys()
    assert alone.train.loss == pytest.approx(beside.train.loss)
    assert alone.validation.num_examples == 0
    assert np.isnan([alone.validation.loss, alone.validation.accuracy]).all()
    assert alone.validation.scores is None


def test_numbers(model):
    found = measure(model, Probe.from_arrays((X, X[:, :3])), loss="mse")
    assert list(found.pair_sets) == ["train_train"]
    assert np.isfinite(found["train_train"].mean_cosine)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_fit_whose_folder_every_command_reads(model, tmp_path, monkeypatch):
    from click.testing import CliRunner
    from tfstiff_cli import main

    stiffness = StiffnessCallback(Probe.from_arrays((X, Y)), log_dir=tmp_path / "run")
    assert stiffness.publish[0] == "stiffness_cosine_within_train_train"
    stop = tfstiff.StopWhenStiffnessDrops(stiffness)
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[stiffness, stop])
    assert "stiffness_cosine_within_train_train" in history.history
    assert "train_train cosine within" in repr(stiffness.history[-1])
    folder = str(tmp_path / "run")
    commands = [["show", folder], ["plot", folder, "--format", "png"], ["report", folder, "--static"]]
    commands += [["export", folder, "--out", f"{folder}/export"], ["watch", "--once", folder], ["compare", folder]]
    for command in commands:
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, (command, result.output)
        assert "nan" not in result.stdout.lower(), command
    report = (tmp_path / "run" / "report.html").read_text()
    assert "24 training and 0 validation examples" in report


def test_what_is_no_probe_is_named(model):
    for call in (lambda probe: measure(model, probe), StiffnessCallback):
        with pytest.raises(InvalidInput, match=r"A probe is expected(.|\n)*tuple(.|\n)*Probe.from_arrays"):
            call((X, Y))
    with pytest.raises(InvalidInput, match="no validation examples"):
        measure(model, Probe.from_arrays((X, Y)), pair_sets=["val_val"])


def test_nothing_is_reserved_of_a_half_that_is_not_there(model):
    assert measure(model, Probe.from_arrays((X, Y))).reservations == ()
