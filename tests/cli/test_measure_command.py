import csv
import os
import sys

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from tfstiff_cli import main

from tfstiff import Probe, load_run, measure
from tfstiff.datasets import load, prepare
from tfstiff.errors import PartFailed
from tfstiff.measuring.distributed.worker import compute_part

DATA = "npz:mine.npz"
ON_DATA = ("--dataset", DATA, "--probe-size", "9:6")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty folder with a data set of 8-bit values."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = (100 + 20 * rng.normal(size=(60, 6)) + 40 * np.eye(6)[y]).clip(0, 255).astype(np.uint8)
    np.savez(tmp_path / "mine.npz", x_train=x[:40], y_train=y[:40], x_validation=x[40:], y_validation=y[40:])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys.modules["tfstiff_cli.main"], "end_on_signals", lambda *_: None)
    monkeypatch.setattr("tfstiff.runs.run.draw_figures", lambda *_: None)
    monkeypatch.setenv("NO_COLOR", "1")


def tfstiff(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


def network(*layers, seed=0, inputs=(6,)):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input(inputs), *(layers or (keras.layers.Dense(3),))], name="mine")


def measured_directly(model, x, *, y=lambda labels: labels, loss=None):
    """The same measurement by the library, on a probe drawn of inputs `x` of both splits."""
    data = load(DATA)
    probe = Probe.from_arrays(
        (x[0], y(data.train.y)),
        (x[1], y(data.validation.y)),
        size=(9, 6),
        seed=0,
        class_names=data.class_names,
        ids=(data.train.ids, data.validation.ids),
    )
    return measure(model, probe, loss=loss)


def assert_equal(found, expected):
    assert found.scalars() == pytest.approx(expected.scalars(), nan_ok=True, abs=1e-6)
    assert found.train.loss == pytest.approx(expected.train.loss)


def test_a_whole_model_with_its_own_loss_on_values_from_0_to_1():
    model = network(keras.layers.Dense(3, activation="softmax"))
    model.compile("adam", "categorical_crossentropy")
    data = load(DATA)
    model.fit(data.train.x / 255.0, np.eye(3)[data.train.y], batch_size=8, verbose=0)
    model.save("mine.keras")
    result = tfstiff("measure", "mine.keras", *ON_DATA, "--inputs", "unit", "--out", "out")
    assert result.exit_code == 0, result.output
    (found,) = load_run("out").measurements
    assert (found.step, found.updates) == (5, 5)
    scaled = [half.x.astype(np.float32) / np.float32(255) for half in (data.train, data.validation)]
    assert_equal(found, measured_directly(model, scaled, y=lambda labels: np.eye(3, dtype=np.float32)[labels]))
    config = load_run("out").spec
    assert (config["inputs"], config["models"], config["dataset"]) == ("unit", ["mine.keras"], DATA)
    assert "learning_rate" not in config
    assert load_run("out").status == "completed"
    assert tfstiff("show", "out").exit_code == 0


def test_a_folder_of_weights_in_the_order_of_their_numbers():
    os.mkdir("kept")
    models = {number: network(keras.layers.Dense(4, "relu"), keras.layers.Dense(3), seed=number) for number in (2, 10)}
    for number, model in models.items():
        model.save_weights(f"kept/fc4-epoch{number}-0.35.weights.h5")
    result = tfstiff("measure", "kept", *ON_DATA, "--arch", "fc", "--hidden", "4", "--metrics", "sign", "--out", "out")
    assert result.exit_code == 0, result.output
    found = load_run("out").measurements
    assert [(m.step, m.epoch) for m in found] == [(2, 2.0), (10, 10.0)]
    ready = prepare(load(DATA))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for one, model in zip(found, models.values(), strict=True):
        assert_equal(one, measured_directly(model, (ready.train.x, ready.validation.x), loss=loss))
    assert not any("cosine" in line for line in result.stdout.splitlines()[:2])  # the headers
    with open("out/timings.csv") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "10"]


def test_the_models_that_a_run_kept():
    options = ("--hidden", "4", "--epochs", "1", "--batch-size", "8", "--probe-size", "9:6", "--schedule", "0,1")
    assert tfstiff("run", "--dataset", DATA, *options, "--keep-models", "--out", "kept").exit_code == 0
    result = tfstiff("measure", "kept", "--out", "out")
    assert result.exit_code == 0, result.output
    run, found = load_run("kept"), load_run("out")
    assert run.model_steps == [0, 5]
    assert [(m.step, m.epoch, m.learning_rate) for m in found.measurements] == [(0, 0.0, 8e-4), (5, 1.0, 8e-4)]
    for one, two in zip(run.measurements, found.measurements, strict=True):
        assert_equal(two, one)
    assert run.model_at(5).evaluate(prepare(load(DATA)).train.x, load(DATA).train.y, verbose=0)[1] >= 0
    with pytest.raises(ValueError, match="no model of step 3"):
        run.model_at(3)
    elsewhere = tfstiff("measure", "kept", "--out", "other", "--probe-size", "12", "--pair-sets", "val_val")
    assert elsewhere.exit_code == 0, elsewhere.output
    (name,) = load_run("other").measurements[0].pair_sets
    assert (name, load_run("other").measurements[0].train.num_examples) == ("val_val", 12)


def test_layers_have_the_same_names_in_every_record():
    os.mkdir("kept")
    for number in (1, 2):
        model = network(keras.layers.Dense(4, "relu"), keras.layers.Dense(3), seed=number)
        model.save_weights(f"kept/{number}.weights.h5")
    how = ("--arch", "fc", "--hidden", "4", "--space", "all", "--per-layer", "--out", "out")
    result = tfstiff("measure", "kept", *ON_DATA, *how)
    assert result.exit_code == 0, result.output
    first, second = load_run("out").measurements
    assert list(first["train_val"].spaces) == list(second["train_val"].spaces)
    assert list(first.layers) == list(second.layers)
    assert len(first.layers) == 2
    assert result.stderr.count("The model has no loss") == 1


def save(name, *layers, **options):
    network(*layers, **options).save(name)
    return name


def lambda_layer():
    return save("bad.keras", keras.layers.Dense(3), keras.layers.Lambda(lambda x: x * 2))


def damaged():
    name = save("bad.keras")
    with open(name, "rb+") as file:
        content = bytearray(file.read())
        content[len(content) // 2] ^= 255
        file.seek(0)
        file.write(content)
    return name


def half_of_weights():
    network().save_weights("bad.weights.h5")
    with open("bad.weights.h5", "rb+") as file:
        file.truncate(os.path.getsize("bad.weights.h5") // 2)
    return "bad.weights.h5"


def weights():
    network().save_weights("some.weights.h5")
    return "some.weights.h5"


def empty_folder():
    os.mkdir("empty")
    return "empty"


def unknown_class():
    class Mine(keras.layers.Dense):
        pass

    return save("bad.keras", Mine(3))


BAD = [
    (lambda: "absent.keras", ON_DATA, 2, "no model absent.keras"),
    (lambda: "mine.npz", ON_DATA, 2, "not a kind of model"),
    (empty_folder, ON_DATA, 2, "no models in empty"),
    (damaged, ON_DATA, 3, "cannot be read"),
    (half_of_weights, (*ON_DATA, "--arch", "fc"), 3, "cannot be read"),
    (lambda_layer, ON_DATA, 2, "Python code"),
    (unknown_class, ON_DATA, 2, "not known here"),
    (weights, ON_DATA, 2, "--arch"),
    (weights, (*ON_DATA, "--arch", "fc"), 2, "do not fit the architecture"),
    (lambda: save("a.keras", inputs=(7,)), ON_DATA, 2, "does not take the data set's examples"),
    (lambda: save("a.keras", keras.layers.Dense(2)), ON_DATA, 2, "fewer outputs"),
    (lambda: save("a.keras"), ("--probe-size", "9:6"), 2, "--dataset NAME"),
    (lambda: save("a.keras"), (*ON_DATA, "--loss", "magic"), 2, "not known to Keras"),
    (lambda: save("a.keras"), ("--dataset", "npz:absent.npz"), 3, "absent.npz"),
    (lambda: save("a.keras"), ("--dataset", DATA, "--probe-size", "50"), 2, "probe cannot take 50"),
    (lambda: save("a.keras"), (*ON_DATA, "--out", "."), 2, "holds something else"),
]


@pytest.mark.parametrize(("model", "options", "code", "told"), BAD)
def test_what_cannot_be_measured(model, options, code, told):
    name = model()
    result = tfstiff("measure", name, *(options if "--out" in options else (*options, "--out", "out")))
    assert result.exit_code == code, result.output
    assert told in result.stderr
    assert result.stdout == ""
    assert not os.path.exists("out")


def test_several_processes_sum_what_one_does_and_go_on_where_they_were_stopped(monkeypatch):
    network().save("mine.keras")
    assert tfstiff("measure", "mine.keras", *ON_DATA, "--out", "one").exit_code == 0

    class InThisProcess:
        stops_after = 1

        def __init__(self, jobs):
            self.jobs = jobs

        def run(self, folder, indices):
            for count, index in enumerate(indices):
                if count == self.stops_after:
                    raise PartFailed("A process failed.")
                yield compute_part(str(folder), index)

    monkeypatch.setattr("tfstiff.measuring.distributed.measure.LocalProcesses", InThisProcess)
    monkeypatch.setattr("tfstiff.gradients.memory._FEWEST_ROWS", 3)
    monkeypatch.setattr("tfstiff.gradients.memory._BLOCK_BYTES", 1)
    command = ("measure", "mine.keras", *ON_DATA, "--jobs", "2", "--out", "two")
    stopped = tfstiff(*command)
    assert stopped.exit_code == 1
    assert "A process failed" in stopped.stderr
    assert load_run("two").status == "failed"
    InThisProcess.stops_after = 10**6
    gone_on = tfstiff(*command)
    assert gone_on.exit_code == 0, gone_on.stderr
    assert "; 1 were before." in gone_on.stderr
    (one,), (two,) = load_run("one").measurements, load_run("two").measurements
    assert_equal(two, one)
    assert not os.path.exists("two/parts")
    again = tfstiff(*command)
    assert again.exit_code == 0
    assert "Summing" not in again.stderr
    other = tfstiff("measure", "mine.keras", *ON_DATA, "--space", "all", "--out", "two")
    assert other.exit_code == 2
    assert "holds something else" in other.stderr
