"""What public objects show of themselves."""

import html
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from synthetic_runs import measurement, series, write_run

from tfstiff.analysis.comparison import compare
from tfstiff.callbacks.history import History
from tfstiff.measuring.probe import Probe
from tfstiff.records.shown import Showing, brief, on_one_line
from tfstiff.runs.spec import RunSpec

HOSTILE = "<script>alert(1)</script>\n\x1b[31m&\"'"


class Cells(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self._text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._text = ""

    def handle_data(self, data):
        self._text += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[-1].append(self._text)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("shown") / "mine", series(4, 3))


@pytest.fixture(scope="module")
def probe():
    x = np.zeros((30, 4, 2), np.float32)
    return Probe.from_arrays((x, np.arange(30) % 3), (x[:20], np.arange(20) % 3))


def shown_objects(run, probe):
    first = run.measurements[0]
    stiffness = first["train_val"]
    return [
        *(run, first, first.train, stiffness, stiffness.cosine, stiffness.critical_length),
        *(stiffness.distance_profile, probe, probe.train, History(run.measurements), compare([run])),
        *(compare([run]).groups[0], RunSpec(), RunSpec(epochs=3, dataset="mnist")),
    ]


def test_every_repr_is_a_short_line(run, probe):
    for value in shown_objects(run, probe):
        assert repr(value).startswith(f"{type(value).__name__}(")
        assert len(repr(value)) < 1000
        assert "\n" not in repr(value)
        assert " object at 0x" not in repr(value)


def test_a_measurement_is_a_table_of_its_pair_sets():
    found = measurement(30, 1.5, 0.5)
    table = Cells(found._repr_html_())
    assert table.rows[0] == ["pairs", "sign within", "sign between", "cosine within", "cosine between", "ξ"]
    assert [row[0] for row in table.rows[1:]] == ["train–train", "train–validation", "validation–validation"]
    within = found["train_val"].cosine.within
    assert table.rows[2][3] == f"{within:.3f}±.039"  # t(0.975, 200) of 0.02
    assert f"{found.train.loss:.4f} and {found.validation.loss:.4f}" in repr(found)
    assert "epoch 1.5 (step 30)" in repr(found)
    assert str(found).splitlines()[1].split()[:3] == ["pairs", "sign", "within"]


def test_without_classes_the_mean_over_all_pairs_stands_there():
    found = measurement(30, 1.5, 0.5)
    plain = {name: replace(one, sign=None, cosine=None) for name, one in found.pair_sets.items()}
    found = replace(found, pair_sets=plain, class_names=())
    assert Cells(found._repr_html_()).rows[0] == ["pairs", "sign mean", "cosine mean", "ξ"]


def test_a_run_has_a_row_a_measurement_and_many_are_cut_in_the_middle(run):
    table = Cells(run._repr_html_())
    assert [row[1] for row in table.rows[1:]] == [str(m.step) for m in run.measurements]
    assert repr(run) == f"Run({str(run.folder)!r}, 4 measurements, completed, fashion_mnist, cnn)"
    many = History(series(30, 2))
    steps = [row[1] for row in Cells(many._repr_html_()).rows[1:]]
    assert steps == [*(str(m.step) for m in many[:6]), "…", *(str(m.step) for m in many[-6:])]
    assert repr(many).startswith("History(30 measurements, the last at epoch")


def test_a_damaged_run_is_shown_all_the_same(tmp_path):
    run = write_run(tmp_path / "mine", series(1, 2))
    (run.folder / "config.json").write_text("{")
    (run.folder / "status.json").write_text("{")
    assert repr(run) == f"Run({str(run.folder)!r}, 1 measurements)"
    assert "<table>" in run._repr_html_()


def test_a_probe_says_what_it_holds(probe):
    assert repr(probe) == f"Probe(30 training and 20 validation examples; {probe.labels_are})"
    rows = Cells(probe._repr_html_()).rows
    assert rows[1] == ["training", "30", "4×2 float32", "one int64", "10"]
    assert rows[2] == ["validation", "20", "4×2 float32", "one int64", "6 to 7"]


def test_a_comparison_has_a_row_a_quantity(run):
    found = compare([run])
    rows = Cells(found._repr_html_()).rows
    assert len(rows) == 1 + len(found.quantities)
    assert rows[0][3:] == [milestone.label for milestone in found.milestones]


def test_a_history_is_a_list_with_a_data_frame(run):
    history = History(run.measurements)
    assert history == run.measurements
    assert history.to_dataframe().equals(run.to_dataframe())


def test_hostile_names_stay_text(tmp_path):
    x = np.zeros((4, 2), np.float32)
    probe = Probe.from_arrays((x, [0, 1, 0, 1]), (x, [0, 1, 0, 1]), class_names=(HOSTILE, "b"))
    found = replace(measurement(30, 1.5, 0.5), layers={HOSTILE: {}})
    run = write_run(tmp_path / "mine", [found])
    (run.folder / "config.json").write_text('{"dataset": "<script>\\u001b[31m"}')
    for value in (probe, found, run, Showing(HOSTILE, [HOSTILE], [[HOSTILE]], [HOSTILE])):
        page = value._repr_html_() if hasattr(value, "_repr_html_") else value.html()
        assert "script" not in Cells(page).tags
        assert "<script" not in page
        text = value.text() if isinstance(value, Showing) else repr(value) + str(value)
        for one in (page, text):
            assert "\x1b" not in one
    assert html.unescape(re.findall("classes: .*?<", probe._repr_html_())[0]).startswith("classes: <script>alert(1)")
    assert repr(run).count("\n") == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((3, 2)), "array of 3×2"),
        (0.123456, "0.1235"),
        (float("nan"), "nan"),
        ({str(i): 0 for i in range(9)}, "{'0', '1', '2', '3', '4', … 9 in all}"),
        (("a", 1, None), "['a', 1, None]"),
        ("x" * 100, "'" + "x" * 58 + "…"),
    ],
)
def test_values_in_a_few_characters(value, text):
    assert brief(value) == text
    assert on_one_line("a\nb\x1b") == r"a\nb\x1b"
