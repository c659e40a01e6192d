"""The Python and the commands of the how-to pages and of README.md, each page in a folder of its own."""

import csv
import glob
import io
import json
import re
import shlex
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from made_up import InProcess
from pages import DOCS, blocks, commands
from synthetic_runs import series, write_run
from tfstiff_cli import main

import tfstiff
from tfstiff.gradients import operations
from tfstiff.measuring.distributed.worker import compute_part

ELSEWHERE = {"clusters", "experiment-trackers"}  # in need of a cluster; tested beside what it is about


class InThisProcess:
    """Sums the parts of a probe without starting processes."""

    def __init__(self, jobs):
        self.jobs = jobs

    def run(self, folder, indices):
        for index in indices:
            compute_part(str(folder), index)
            yield index


def examples(rng, number):
    """Four classes that can be learnt, in 12 features."""
    y = np.arange(number) % 4
    return (rng.normal(size=(number, 12)) + 2 * np.eye(4, 12)[y]).astype("float32"), y


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the pages' code may use."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mymodels", raising=False)
    monkeypatch.setattr("tfstiff.runs.run.draw_figures", lambda *_: None)
    handler = signal.getsignal(signal.SIGTERM)
    rng = np.random.default_rng(0)
    (x_train, y_train), (x_val, y_val) = examples(rng, 600), examples(rng, 520)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(4)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    probe = tfstiff.Probe.from_arrays((x_train, y_train), (x_val, y_val), size=60)
    data = {"x_train": x_train, "y_train": y_train, "x_val": x_val, "y_val": y_val}
    yield {"keras": keras, "tfstiff": tfstiff, "model": model, "probe": probe, **data}
    signal.signal(signal.SIGTERM, handler)


def follow(page, names):
    """Runs a page from its beginning to its end; returns what each command printed."""
    outputs = {}
    for language, kind, text in blocks(page, "python", "sh"):
        if kind.startswith("file="):
            Path(kind.removeprefix("file=")).write_text(text)
        elif language == "python":
            exec(compile(text, f"{page}: {kind}", "exec"), names)
        else:
            for command in commands(text):
                arguments = shlex.split(command)[1:]
                arguments = [one for argument in arguments for one in sorted(glob.glob(argument)) or [argument]]
                result = CliRunner().invoke(main, arguments)
                assert result.exit_code == 0, f"{command}\n{result.output}"
                outputs[command] = result.stdout
    return outputs


def save_npz(names):
    arrays = {name: names[name] for name in ("x_train", "y_train", "x_val", "y_val")}
    np.savez("mine.npz", **arrays)


def test_readme(names, monkeypatch):
    monkeypatch.setattr(operations, "_RULES", dict(operations._RULES))
    names |= {"x": names["x_val"][:20], "y": names["y_val"][:20]}
    follow("README.md", names)
    assert names["latest"] is names["stiffness"].history[-1]["train_val"]
    np.testing.assert_allclose(names["G"] @ names["G"].T, names["K"], rtol=1e-4, atol=1e-5)


def test_own_model(names):
    for half in ("train", "val"):
        names |= {f"words_{half}": names[f"x_{half}"][:, :6], f"numbers_{half}": names[f"x_{half}"][:, 6:9]}
    follow("docs/how-to/own-model.md", names)
    assert names["K"].shape == (50, 50)
    np.testing.assert_allclose(names["G"] @ names["G"].T, names["K"], rtol=1e-4, atol=1e-5)
    assert tfstiff.load_run("runs/mine").measurements[-1].epoch == 3
    assert tfstiff.load_run("runs/mymodel").spec["arch"] == "mymodels:build"
    half = names["probe"].train
    margins = (2 * np.eye(4)[half.y] - 1) * names["model"].predict(half.x, verbose=0)
    assert names["m"].train.loss == pytest.approx((np.maximum(1 - margins, 0) ** 2).mean(), rel=1e-4)


def test_objectives(names):
    follow("docs/how-to/objectives.md", names)
    assert names["m"]["train_val"].cosine is None  # the last one: without classes
    assert np.isfinite(names["m"]["train_val"].mean_cosine)


def test_own_data(names):
    outputs = follow("docs/how-to/own-data.md", names)
    assert names["probe"].train.x.shape == (100, 12)
    assert len(names["stiffness"].history) == 2
    assert tfstiff.load_run("runs/mine").measurements[0].class_names == ("cat", "dog", "fox", "owl")
    assert tfstiff.load_run("runs/groups").measurements[0].groups == {"pets": ("cat", "dog"), "wild": ("fox", "owl")}
    assert "class_groups.png" in outputs["tfstiff plot runs/groups --figure class_groups --format png"]


def letters(rng, count):
    """Texts of three kinds, each with words of its own."""
    labels = np.arange(count) % 3
    own = [["dear", "yours"], ["invoice", "due"], ["sale", "free"]]
    texts = [
        " ".join([*rng.permutation(["the", "of", "and", *own[label]]), f"word{rng.integers(20)}"]) for label in labels
    ]
    return np.array(texts), np.array(["private", "bill", "advertisement"])[labels]


def test_text(names):
    rng = np.random.default_rng(0)
    for half, count in (("train", 90), ("val", 60)):
        names[f"texts_{half}"], names[f"labels_{half}"] = letters(rng, count)
    follow("docs/how-to/text.md", names)
    assert tfstiff.load_run("runs/letters").measurements[0].class_names == ("advertisement", "bill", "private")
    assert names["scores"].shape == (1, 3)
    bag = tfstiff.load_run("runs/bag")
    assert list(bag.measurements[-1]["train_val"].spaces) == ["pooled"]
    assert bag.spec["num_token_ids"] == len(names["words"])


def test_text_finetunes_a_backbone_of_keras_hub():
    keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)
    (code,) = [text for _, kind, text in blocks("docs/how-to/text.md", "python") if kind == "file=finetune.py"]
    page = {}
    exec(compile(code, "finetune.py", "exec"), page)
    keras.utils.set_random_seed(0)
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16, "max_sequence_length": 6}
    backbone = keras_hub.models.BertBackbone(vocabulary_size=30, **sizes)
    model = page["classifier"](backbone, (6,), 3)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = np.random.default_rng(0).integers(1, 30, (12, 6)).astype("int32"), np.arange(12) % 3
    x[::3, 4:] = 0
    K, plain = tfstiff.gradient_gram(model, x[:4], y[:4]), tfstiff.gradient_gram(model, x[:4], y[:4], method="loop")
    np.testing.assert_allclose(K, plain, rtol=1e-4, atol=1e-5 * np.abs(plain).max())
    m = tfstiff.measure(model, tfstiff.Probe.from_arrays((x, y), (x, y)))
    assert list(m["train_val"].spaces) == ["pooled"]


def test_early_stopping(names):
    write_run(Path("runs/mine"), series(6, 3))
    follow("docs/how-to/early-stopping.md", names)
    assert {one.threshold for one in names["stop"].reached} <= {1.3, 1.0}
    assert tfstiff.load_run("runs/drop").spec["stop_when_stiffness_drops"] == 4


def test_learning_rates(names):
    write_run(Path("runs/mine"), series(12, 3))
    outputs = follow("docs/how-to/learning-rates.md", names)
    assert names["found"]["epoch"].status == "ok"
    compared = next(text for command, text in outputs.items() if " compare " in command)
    assert "training loss 1.5" in compared
    assert "learning rate 0.0032" in compared
    assert Path("runs/rates/report.html").is_file()


def mean_sign(gradients):
    signs = np.sign(gradients @ gradients.T)
    return signs[np.triu_indices(len(signs), 1)].mean()


def test_optimizers(names):
    follow("docs/how-to/optimizers.md", names)
    assert names["m"].preconditioner == "<lambda>"
    assert names["K"].shape == (50, 50)
    assert names["steps"].correlation[0] > 0.99
    measurements = tfstiff.load_run("runs/adam").measurements
    assert {one.preconditioner for one in measurements} == {"optimizer"}
    assert measurements[0].step > 0
    steps = tfstiff.load_run("runs/steps").measurements[-1]
    assert list(steps.directions) == ["update", "next_update", "class_means"]
    assert {of.status for of in steps.directions.values()} == {"ok"}
    assert names["update"].validation.helped.shape == (1, 4)
    assert 0 < measurements[-1]["train_val"].sign_disagreement.between < 0.5


def test_saved_models(names):
    save_npz(names)
    follow("docs/how-to/saved-models.md", names)
    (found,) = tfstiff.load_run("runs/measured").measurements
    ids = tfstiff.load_run("runs/measured").probe["train_ids"]
    chosen = [int(name.rpartition("_")[2]) for name in ids]
    gradients = tfstiff.per_example_gradients(names["model"], names["x_train"][chosen], names["y_train"][chosen])
    assert found["train_train"].mean_sign == pytest.approx(mean_sign(gradients), abs=1e-6)
    assert len(tfstiff.load_run("runs/kept-l2").measurements) == 2
    assert isinstance(names["trained"], keras.Model)


def test_large_probes(names, monkeypatch):
    monkeypatch.setattr("tfstiff.measuring.distributed.measure.LocalProcesses", InThisProcess)
    follow("docs/how-to/large-probes.md", names)
    whole = tfstiff.measure(names["model"], names["probe"])
    np.testing.assert_allclose(names["m"]["train_val"].cosine.matrix, whole["train_val"].cosine.matrix, atol=1e-5)


def test_sweeps(names, monkeypatch):
    monkeypatch.setattr("tfstiff.sweeps.LocalExecutor", lambda jobs: InProcess())
    trials = []
    for _, _, text in blocks("docs/how-to/sweeps.md", "toml"):
        Path("sweep.toml").write_text(text)
        result = CliRunner().invoke(main, ["sweep", "--file", "sweep.toml", "--dry-run", "--json"])
        assert result.exit_code == 0, result.output
        trials.append(len(json.loads(result.stdout)["trials"]))
    assert trials == [5 * 3 * 2, (2 + 2) * 3]
    follow("docs/how-to/sweeps.md", names)
    assert len(names["states"]) == 2 * 3
    assert {state.state for state in names["states"].values()} == {"completed"}


def test_find_examples(names, capsys):
    outputs = follow("docs/how-to/find-examples.md", names)
    assert int(re.search(r"(\d+) of 60 were planted", capsys.readouterr().out)[1]) >= 30  # 6 by chance
    lists, listed, _, everything = outputs.values()
    assert "Fight their own class" in lists
    of_probe, of_all = (list(csv.DictReader(io.StringIO(text))) for text in (listed, everything))
    assert (len(of_probe), len(of_all)) == (600, 600)
    wrong = set(names["wrong"].tolist())
    assert len({int(row["index"]) for row in of_all[:60]} & wrong) >= 30
    page = Path("runs/planted/report.html").read_text("utf-8")
    assert page.split('<section id="examples">')[1].count("data:image/png") >= 8


def test_keras_tuner(names):
    pytest.importorskip("keras_tuner")
    (compared,) = follow("docs/how-to/keras-tuner.md", names).values()
    for number, folder in enumerate(("stiffness", "stiffness-2", "stiffness-3")):  # in the order of the trials
        chosen = names["tuner"].oracle.get_trial(str(number)).hyperparameters.values["rate"]
        first = tfstiff.load_run(f"search/{folder}").measurements[0]
        assert first.learning_rate == pytest.approx(chosen)
        assert f"learning rate {first.learning_rate:.4g}"[:19] in compared
    assert "stiffness_cosine_within_train_val" in names["tuner"].oracle.get_trial("0").metrics.metrics
    tfstiff.measure(names["tuner"].get_best_models()[0], names["probe"])


def test_every_how_to_is_tested_here_or_where_its_subject_is():
    here = {name.removeprefix("test_").replace("_", "-") for name in globals() if name.startswith("test_")}
    assert {page.stem for page in (DOCS / "how-to").glob("*.md")} <= here | ELSEWHERE
