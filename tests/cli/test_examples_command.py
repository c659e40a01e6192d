import csv
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner
from planted import SIZES, gradients, measured
from synthetic_runs import series, write_run
from tfstiff_cli import main


def tfstiff(*arguments):
    return CliRunner().invoke(main, ["examples", *map(str, arguments)])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One example that fights its class, one whose label is wrong, one that is forgotten."""
    parts, classes = gradients()
    classes[0] = classes[0].copy()
    parts[0][4] = -parts[0][7]
    classes[0][3] = 2
    right, wrong = classes[0].copy(), classes[0].copy()
    wrong[8] = (wrong[8] + 1) % 3
    measurements = [measured(parts, classes, right, step=1), measured(parts, classes, wrong, step=9, gram=True)]
    folder = tmp_path_factory.mktemp("runs") / "run"
    found = write_run(folder, measurements)
    np.savez(
        folder / "probe.npz",
        train_ids=np.array([f"train_{7 * i:05d}" for i in range(SIZES[0])]),
        train_x=np.random.default_rng(0).random((SIZES[0], 6)).astype(np.float16),
    )
    return found.folder


def test_lists_with_what_was_found(run):
    result = tfstiff(run, "--top", 3)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].endswith("training half of the probe, epoch 0.9 (step 9)")
    for title in ("Fight their own class", "Label looks wrong", "Near duplicates at odds", "Most helpful", "Forgotten"):
        assert title in lines
    first = lines[lines.index("Fight their own class") + 2 :]
    assert first[1].split()[0] == "train_00028"
    assert "*" in first[1]
    assert "2 of 36 training examples agree with another class" in result.stdout  # the one that fights, too
    assert "1 of 36 training examples was classified rightly at one of 2" in result.stdout
    assert not any("Fight" in line for line in tfstiff(run, "--list", "label").stdout.splitlines())


def test_json_has_the_lists_and_every_example(run):
    document = json.loads(tfstiff(run, "--json", "--sort", "cosine_own_train", "--top", 2).stdout)
    assert document["step"] == 9
    fight, label, *_ = document["lists"]
    assert (fight["name"], len(fight["rows"])) == ("fight", 2)
    assert {(row["id"], row["index"]) for row in label["rows"]} == {("train_00021", 21), ("train_00028", 28)}
    assert next(row for row in label["rows"] if row["index"] == 21)["closest_class"] == "cat"
    assert len(document["examples"]) == SIZES[0]
    values = [row["cosine_own_train"] for row in document["examples"]]
    assert values == sorted(values)
    assert document["examples"][0]["index"] == 28


def test_csv_is_sorted_as_asked_and_of_the_step_asked_for(run):
    rows = list(csv.DictReader(io.StringIO(tfstiff(run, "--csv", "--sort=-loss", "--step", 1).stdout)))
    losses = [float(row["loss"]) for row in rows]
    assert losses == sorted(losses, reverse=True)
    assert len(rows) == SIZES[0]
    assert {row["id"] for row in rows} == {f"train_{7 * i:05d}" for i in range(SIZES[0])}
    assert all(row["predicted"] == row["class"] for row in rows)  # nothing was forgotten by then


def test_cells_of_a_spreadsheet_are_no_formulas(run, tmp_path):
    import shutil

    folder = shutil.copytree(run, tmp_path / "run")
    np.savez(folder / "probe.npz", train_ids=np.array([f"=1+{i}" for i in range(SIZES[0])]))
    rows = list(csv.DictReader(io.StringIO(tfstiff(folder, "--csv").stdout)))
    assert not any(row["id"].startswith("=") for row in rows)
    assert rows[3]["id"].endswith("=1+3")
    assert any(row["cosine_own_train"].startswith("-") for row in rows)  # numbers stay numbers


def test_the_other_half_has_places_where_ids_are_not_known(run):
    rows = list(csv.DictReader(io.StringIO(tfstiff(run, "--csv", "--half", "validation").stdout)))
    assert [row["id"] for row in rows] == [str(i) for i in range(SIZES[1])]
    assert {row["index"] for row in rows} == {""}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--step", 5), 2, "Expected: 1, 9"),
        (("--csv", "--sort", "los"), 2, "Did you mean loss?"),
        (("--sort", "loss"), 2, "--sort goes with --csv or --json"),
        (("--csv", "--json"), 2, "exclude one another"),
        (("--half", "test"), 2, "train"),
    ],
)
def test_usage(run, arguments, code, text):
    result = tfstiff(run, *arguments)
    assert result.exit_code == code
    assert text in result.stderr


def test_runs_that_say_nothing_of_examples(tmp_path):
    older = write_run(tmp_path / "older", series(2, 3)).folder
    assert tfstiff(older).exit_code == 1
    assert "older versions" in tfstiff(older).stderr
    empty = write_run(tmp_path / "empty", []).folder
    assert "no measurement" in tfstiff(empty).stderr
    assert tfstiff(tmp_path / "nothing").exit_code == 2


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A model that knows its data set, in which the first training example has another's label."""
    import keras

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    y = [np.arange(size) % 3 for size in (45, 30)]
    x = [(3 * np.eye(3, 6)[labels] + rng.normal(size=(len(labels), 6))).astype(np.float32) for labels in y]
    y[0][0] = 1
    np.savez("mine.npz", x_train=x[0], y_train=y[0], x_val=x[1], y_val=y[1])
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.set_weights([np.eye(6, 3) / 4, np.zeros(3)])
    model.save("mine.keras")
    return "mine.keras"


def test_a_whole_training_set(saved):
    arguments = ("--all", saved, "--dataset", "npz:mine.npz", "--inputs", "raw", "--reference", 12)
    result = tfstiff(*arguments, "--top", 2)
    assert result.exit_code == 0, result.output
    assert "Scoring 45 training examples against 12 validation examples." in result.stderr
    assert "45 of 45 (100 %)" in result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("mine.keras, all 45 training examples")
    assert lines[lines.index("Fight their own class") + 3].split()[0] == "train_00000"
    assert "Forgotten" not in lines
    rows = list(csv.DictReader(io.StringIO(tfstiff(*arguments, "--csv", "--sort", "cosine_own_validation").stdout)))
    assert len(rows) == 45
    assert rows[0]["id"] == "train_00000"
    assert rows[0]["index"] == "0"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--all", "mine.keras"), "--dataset NAME"),
        (("--all", "mine.keras", "--half", "validation"), "--all is of training examples"),
        (("--all", "mine.keras", "--list", "forgotten"), "--all is of training examples"),
        (("mine.keras", "--reference", 5), "go with --all"),
        (("mine.keras", "--offline"), "go with --all"),
    ],
)
def test_usage_of_all(saved, arguments, text):
    result = tfstiff(*arguments)
    assert result.exit_code == 2
    assert text in result.stderr


def test_all_of_a_run_that_kept_no_models(run):
    result = tfstiff("--all", run)
    assert result.exit_code == 2
    assert "--keep-models" in result.stderr
