import base64
import builtins
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from made_up import directions
from synthetic_runs import SPEC, series, write_run

from tfstiff import load_run
from tfstiff.errors import InvalidInput
from tfstiff.records import RunWriter
from tfstiff.report import default_path, page, write_report

HOSTILE = ("<script>alert(1)</script>", "<img src=x onerror=alert(2)>", "</style></script>", "&amp; %{x} $x$", "\"'`")


class Reader(HTMLParser):
    """Elements with their attributes, and the text in each kind of element."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self._open = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        self._open.pop()

    def handle_data(self, data):
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)

    def attributes(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def policy(self):
        (content,) = [a["content"] for a in self.attributes("meta") if a.get("http-equiv") == "Content-Security-Policy"]
        return {rule.split()[0]: rule.split()[1:] for rule in content.split("; ")}


def written(runs, path=None, **options):
    return Reader(write_report(runs, path, **options).read_text("utf-8"))


def digest(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_whether_steps_along_directions_help_is_a_table(tmp_path):
    m = replace(series(1, 3)[0], directions=directions(3))
    cells = written(write_run(tmp_path / "mine", [m]), interactive=False)
    captions = cells.texts["caption"]
    assert sum("a step along" in text for text in captions) == 2
    assert any("next_update: the weights have not moved" in text for text in captions)
    effects = m.directions["update"].validation
    assert any(text.startswith(f"{effects.helped[0, 1]:.3f}±") for text in cells.texts["td"])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run", series(4, 3))


@pytest.fixture(scope="module")
def static(run):
    """Drawing takes seconds."""
    return written(run, run.folder / "static.html", interactive=False)


@pytest.fixture(scope="module")
def lively(run):
    return written(run, run.folder / "lively.html", interactive=True)


@pytest.mark.parametrize("kind", ["static", "lively"])
def test_nothing_in_the_page_points_elsewhere(request, kind):
    reader = request.getfixturevalue(kind)
    for tag, attributes in reader.elements:
        for name in ("src", "href", "action", "srcset", "data", "poster", "style"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
        assert tag not in ("link", "iframe", "object", "embed", "form", "base")
        assert not [name for name in attributes if name.startswith("on")]


def test_the_policy_names_the_scripts_of_the_page_and_no_others(lively):
    (script,) = [text for text in lively.texts["script"] if "DecompressionStream" in text]
    from plotly.offline import get_plotlyjs

    assert lively.policy["default-src"] == ["'none'"]
    assert set(lively.policy["script-src"]) == {digest(script), digest(get_plotlyjs())}
    assert not [rule for rule, sources in lively.policy.items() if "http" in " ".join(sources)]


def test_a_static_page_has_no_script_and_a_stricter_policy(static):
    assert static.attributes("script") == []
    assert static.policy["script-src"] == ["'none'"]
    assert static.policy["style-src"] == [digest(static.texts["style"][0])]
    images = static.attributes("img")
    assert len(images) == 3
    for image in images:
        assert image["alt"]
        assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")


def test_the_curves_follow_the_summary(static):
    order = [attributes.get("id", tag) for tag, attributes in static.elements if "id" in attributes or tag == "img"]
    assert order[:3] == ["summary", "img", "run"]
    assert static.attributes("img")[0]["alt"].startswith("Loss, accuracy and stiffness")


def test_both_kinds_of_page_say_the_same(static, lively):
    texts = [[text for text in one.texts["li"] if text.strip()] for one in (static, lively)]
    assert texts[0] == texts[1]
    assert static.texts["td"] == lively.texts["td"]


def test_names_from_outside_stay_text(tmp_path):
    spec = {"dataset": HOSTILE[0], "arch": HOSTILE[1], "learning_rate": 1e-3, HOSTILE[2]: {HOSTILE[4]: HOSTILE[0]}}
    run = write_run(tmp_path / "<b>run", series(3, 5, class_names=HOSTILE), spec=spec)
    RunWriter(run.folder).add_event({"event": HOSTILE[0], "step": 1, "epoch": 0.5, HOSTILE[1]: HOSTILE[1]})
    reader = written(load_run(run.folder), interactive=True)
    assert {tag for tag, _ in reader.elements} & {"img", "b", "svg"} == set()
    assert len(reader.attributes("script")) == 4  # the three that are packed, and ours
    everything = " ".join(text for texts in reader.texts.values() for text in texts)
    for name in (*HOSTILE[:3], "<b>run"):
        assert name in everything


def test_equal_runs_give_equal_files(tmp_path):
    pages = [
        write_report(write_run(tmp_path / place / "run", series(3, 3)), interactive=True).read_bytes()
        for place in ("here", "there")
    ]
    assert pages[0] == pages[1]


def test_plotly_is_compressed_and_the_page_stays_below_three_megabytes(make_run):
    path = write_report(make_run(series(80)), interactive=True)
    assert path.stat().st_size < 3e6


def test_without_plotly_the_charts_are_pictures_and_it_is_said(make_run, monkeypatch):
    monkeypatch.setattr("tfstiff.report.has_plotly", lambda: False)
    said = []
    path = write_report(make_run(series(1, 0)), say=said.append)  # few pictures
    assert "data:image/png" in path.read_text("utf-8")
    assert "pip install 'tfstiff[report]'" in said[0]


def test_asking_for_plotly_where_it_is_not_is_an_error_with_its_remedy(make_run, monkeypatch):
    real = builtins.__import__

    def without_plotly(name, *rest):
        if name.startswith("plotly"):
            raise ImportError(name)
        return real(name, *rest)

    page._packed_plotly.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without_plotly)
    with pytest.raises(InvalidInput, match=r"tfstiff\[report\]"):
        write_report(make_run(), interactive=True)


def test_usual_places(make_run, tmp_path):
    one, other = make_run(name="a"), make_run(name="b")
    assert default_path([one]) == one.folder / "report.html"
    assert default_path([one, other]) == tmp_path / "report.html"
    elsewhere = write_run(tmp_path / "deep" / "c", series(1, 2))
    with pytest.raises(InvalidInput, match="different folders"):
        default_path([one, elsewhere])


def test_a_failed_writing_leaves_the_old_report(make_run, monkeypatch):
    run = make_run()
    path = write_report(run, interactive=True)
    old = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(InvalidInput, match="disk full"):
        write_report(run, interactive=True)
    assert path.read_bytes() == old
    assert [one.name for one in run.folder.iterdir() if one.name.startswith(".tmp")] == []


def test_settings_events_warnings_and_provenance_are_shown(tmp_path):
    run = write_run(tmp_path / "run", series(5, 3), spec={**SPEC, "batch_size": 32}, status="failed")
    writer = RunWriter(run.folder)
    writer.write_meta(
        {"packages": {"keras": "3.15.1"}, "devices": ["GPU:0"], "dataset": {"splits": {"train": {"sha256": "abc"}}}}
    )
    writer.add_event({"event": "training_loss_reached", "step": 7, "epoch": 0.5, "threshold": 0.3})
    damaged = sorted((run.folder / "records").iterdir())[1]
    damaged.write_bytes(b"nothing")
    (run.folder / "status.json").write_text("{")
    text = write_report(load_run(run.folder), interactive=True).read_text("utf-8")
    for part in (
        "batch size",
        "packages › keras",
        "3.15.1",
        "GPU:0",
        "splits › train › sha256",
        "training loss reached",
    ):
        assert part in text
    assert "threshold 0.3" in text
    assert f"{damaged.name} cannot be read" in text
    assert "status.json is not JSON" in text


@pytest.mark.parametrize(
    ("chosen", "measured", "told"),
    [("auto", "input", "input"), ("auto", "pooled", "pooled"), ("all", "input", "all"), ("dense", "dense", "dense")],
)
def test_the_space_of_distances_is_told_as_it_was(tmp_path, chosen, measured, told):
    one = series(1, 3)[0]
    pair_sets = {
        name: replace(pair_set, spaces={measured: pair_set.spaces["input"]}) for name, pair_set in one.pair_sets.items()
    }
    spec = {**SPEC, "distance": "cosine", "space": chosen, "critical_length_method": "linear"}
    run = write_run(tmp_path / "run", [replace(one, pair_sets=pair_sets)], spec=spec)
    assert f"in the space {told}, of pairs" in write_report(run, interactive=True).read_text("utf-8")


def test_runs_without_a_measurement(make_run):
    empty = make_run([], name="empty", status="running")
    with pytest.raises(InvalidInput, match="nothing to report"):
        write_report(empty)
    reader = written([empty, make_run(name="full")], interactive=True)
    assert any("Only one of the runs has a measurement" in text for text in reader.texts["li"])


def test_every_chart_has_a_table_of_its_numbers(run):
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", (write_report(run, interactive=True)).read_text("utf-8"))
    for one in run.measurements:
        row = next(row for row in rows if row.startswith(f"{one.epoch:.3g}</th><td>{one.step}<"))
        assert f"{one.train.loss:.4f}" in row
        assert f"{one['train_val'].critical_length.value:.3f} [" in row
        assert f">{one['train_val'].critical_length.status}<" in row
