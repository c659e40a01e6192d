import json
import sys

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from tfstiff_cli import main

from tfstiff.measuring.audit import audit as audits

DATA = ("--dataset", "npz:mine.npz")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty folder with a data set; only the quicker checks are made."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 6)).astype("float32"), np.arange(60) % 3
    np.savez(tmp_path / "mine.npz", x_train=x[:40], y_train=y[:40], x_validation=x[40:], y_validation=y[40:])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys.modules["tfstiff_cli.main"], "end_on_signals", lambda *_: None)
    monkeypatch.setenv("COLUMNS", "80")
    quick = [check for check in audits.CHECKS if check.name in ("random", "order", "mask", "fit")]
    monkeypatch.setattr(audits, "CHECKS", tuple(quick))


def tfstiff(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


def save(name, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, **options)])
    if options:
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.save(name)


def test_a_model_that_passes():
    save("right.keras")
    result = tfstiff("audit", "right.keras", *DATA, "--examples", 5)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["check", "question"]
    assert lines[1].split()[0] == "random"
    assert lines[1].endswith("passed")
    assert lines[-1] == "No check failed."
    assert max(map(len, lines)) <= 80
    assert "cross-entropy of logits" in result.stderr
    assert "order: passed" in result.stderr


def test_a_model_that_fails():
    save("wrong.keras", kernel_regularizer=keras.regularizers.L2(0.5))
    result = tfstiff("audit", "wrong.keras", *DATA)
    assert result.exit_code == 1, result.output
    text = " ".join(result.stdout.split())
    assert "fit Does fit minimise what is measured? FAILED" in text
    assert "alone the regularisation of 1 weight." in text
    assert text.endswith("1 check failed.")
    assert max(map(len, result.stdout.splitlines())) <= 80
    document = json.loads(tfstiff("audit", "wrong.keras", *DATA, "--json").stdout)
    assert document["passed"] is False
    assert [check["name"] for check in document["checks"] if check["result"] == "failed"] == ["fit"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("right.keras",), 2, "--dataset NAME"),
        (("absent.keras", *DATA), 2, "no model absent.keras"),
        (("right.keras", "--dataset", "npz:absent.npz"), 3, "absent.npz"),
        (("right.keras", *DATA, "--examples", "1"), 2, "--examples"),
        (("right.keras", *DATA, "--loss", "mse", "--objective", "a:b"), 2, "not both"),
    ],
)
def test_what_cannot_be_audited(arguments, code, told):
    save("right.keras")
    result = tfstiff("audit", *arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert told in result.stderr
