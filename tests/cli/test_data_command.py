import json

import numpy as np
import pytest
from click.testing import CliRunner
from tfstiff_cli import main

from tfstiff.datasets import names


def run(*arguments):
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


def test_list_shows_every_name_and_whether_it_is_here(tmp_path):
    result = run("list", "--data-dir", tmp_path)
    assert result.exit_code == 0
    rows = {line.split()[0]: line.split()[1] for line in result.stdout.splitlines()}
    here = {"fashion_mnist_mini": "yes", "spherical_harmonics": "yes", "npz:PATH": "-"}
    assert rows == {"NAME": "HERE", **dict.fromkeys(names(), "no"), **here}
    assert str(tmp_path) in result.stderr


def test_list_as_json(tmp_path):
    rows = json.loads(run("list", "--data-dir", tmp_path, "--json").stdout)
    assert [row["name"] for row in rows] == [*names(), "npz:PATH"]
    assert rows[0]["available"] is True


def test_check_the_embedded_data_set():
    result = run("check", "fashion_mnist_mini")
    assert result.exit_code == 0
    assert "train: 10000 examples of 28x28x1 uint8" in result.stdout
    assert "Ankle boot 200" in result.stdout
    assert "sha256" in result.stdout


def test_check_as_json(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x_train=np.ones((4, 3)), y_train=[0, 1, 1, 1], x_test=np.ones((2, 3)), y_test=[0, 1])
    described = json.loads(run("check", f"npz:{path}", "--json").stdout)
    assert described["splits"]["train"]["class_counts"] == {"0": 1, "1": 3}
    assert len(described["splits"]["validation"]["sha256"]) == 64


def test_check_regression(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x_train=np.ones((2, 3)), y_train=[0.5, -1], x_test=np.ones((2, 3)), y_test=[0, 1])
    result = run("check", f"npz:{path}")
    assert result.exit_code == 0
    assert "targets: -1 to 0.5" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["check", "mnits"], 2, "Did you mean mnist"),
        (["check", "npz:/nowhere/a.npz"], 3, "cannot be read"),
        (["check"], 2, "NAME"),
    ],
)
def test_errors_go_to_standard_error_with_their_exit_code(arguments, exit_code, message):
    result = run(*arguments)
    assert result.exit_code == exit_code
    assert message in result.stderr
    assert result.stdout == ""


def test_check_a_data_set_that_is_not_here(tmp_path):
    result = run("check", "cifar10", "--data-dir", tmp_path, "--offline")
    assert result.exit_code == 3
    assert str(tmp_path / "cifar10" / "3.0.2") in result.stderr
    assert result.stdout == ""


def test_check_of_texts(tmp_path):
    for shape, told in (((4,), "examples of text\n"), ((2, 2), "examples of 2 texts\n")):
        texts = np.array(["one", "two", "three", "four"]).reshape(shape)
        y = np.arange(len(texts)) % 2
        np.savez(tmp_path / "a.npz", x_train=texts, y_train=y, x_test=texts, y_test=y)
        result = run("check", f"npz:{tmp_path / 'a.npz'}")
        assert result.exit_code == 0, result.output
        assert f"train: {len(texts)} {told}" in result.stdout
