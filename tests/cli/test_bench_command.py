import dataclasses
import json

import pytest
from click.testing import CliRunner
from tfstiff_cli import main

from tfstiff import gradients


def bench(*arguments):
    common = ["--hidden", "4", "--input-shape", "3x2", "--classes", "3", "--probe-size", "20", "--seconds", "0.1"]
    return CliRunner().invoke(main, ["bench", *common, *map(str, arguments)])


@dataclasses.dataclass
class Step:
    weight: str
    operation: str
    form: str
    multiply_adds: int
    bytes: int


@pytest.fixture
def plan(monkeypatch):
    steps = [Step("fc/dense/kernel", "MatMul", "outer", 1200, 80), Step("fc/dense/bias", "BiasAdd", "explicit", 34, 16)]
    monkeypatch.setattr(gradients, "explain", lambda model, x, y: steps, raising=False)
    return steps


def test_a_row_a_method():
    result = bench("--methods", "auto,per_example_gradients,loop")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    rows = [line.split() for line in lines if line.startswith(("forward+backward ", "auto ", "per_", "loop "))]
    assert [row[0] for row in rows] == ["forward+backward", "auto", "per_example_gradients", "loop"]
    assert [row[1].rstrip("*") for row in rows[:2]] == ["20", "20"]
    assert "43 parameters, examples of 3×2" in result.stdout  # 6·4 + 4 + 4·3 + 3
    assert "cores" in lines[-1]
    assert "timing" in result.stderr
    assert "timing" not in result.stdout


def test_json():
    found = json.loads(bench("--methods", "auto", "--json").stdout)
    assert found["input_shape"] == [3, 2]
    assert found["parameters"] == 43
    assert found["packages"]["tensorflow"]
    plain, auto = found["methods"]
    assert (plain["method"], plain["ratio"]) == ("forward+backward", 1)
    assert auto["examples"] == 20
    assert auto["examples_per_second"] == pytest.approx(20 / auto["seconds"])


def test_examples_of_a_data_set(tmp_path, plan):
    result = CliRunner().invoke(
        main, ["bench", "--dataset", "fashion_mnist_mini", "--hidden", "4", "--probe-size", "7", "--explain"]
    )
    assert result.exit_code == 0
    assert "products of 7 examples" in result.stdout


def test_explain_prints_the_plan_with_its_totals(plan):
    lines = bench("--explain").stdout.splitlines()
    assert lines[0].split() == ["weight", "operation", "form", "multiply-adds", "bytes"]
    assert lines[1].split() == ["fc/dense/kernel", "MatMul", "outer", "1,200", "80"]
    assert lines[3].split() == ["total", "1,234", "96"]


def test_explain_as_json(plan):
    assert json.loads(bench("--explain", "--json").stdout) == [dataclasses.asdict(step) for step in plan]


def test_a_network_of_ones_own(tmp_path, monkeypatch, plan):
    source = "import keras\ndef build(shape, classes):\n    return keras.Sequential([keras.Input(shape), "
    source += "keras.layers.Flatten(), keras.layers.Dense(classes)], name='mine')\n"
    (tmp_path / "networks.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["bench", "--arch", "networks:build", "--input-shape", "3", "--explain"])
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "auto,magic"], "'auto,magic' is not a list of"),
        (["--input-shape", "3x"], "'3x' is not a shape"),
        (["--input-shape", "0"], "'0' is not a shape"),
        (["--probe-size", "1"], "--probe-size"),
        (["--arch", "fcc"], "Did you mean fc"),
    ],
)
def test_wrong_usage(arguments, message):
    result = bench(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
