"""The report in Debian's Chromium, without a network: what a reader does with it, and what it must never do."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from synthetic_runs import SPEC, series, write_run

from tfstiff.report import write_report

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="there is no Chromium here: apt-get install chromium chromium-driver"
)
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "<b>bold</b> &amp;",
    "%{x} $x^2$ 'q' \"q\"",
    "</script></style>",
)
BEFORE_ALL = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => {
  violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
window.alert = (text) => { window.alerted = text; };
"""


class Browser:
    """One page at a time."""

    def __init__(self, driver):
        self._driver = driver
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": BEFORE_ALL})

    def open(self, path, width=1280, height=900, dark=False):
        self._driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        self.emulate("", dark)
        for log in ("browser", "performance"):
            self._driver.get_log(log)
        self._driver.get(path.resolve().as_uri())
        if "plotly-packed" in path.read_text("utf-8"):
            from selenium.webdriver.support.wait import WebDriverWait

            state = "return document.documentElement.dataset.ready || document.getElementById('trouble').textContent"
            assert WebDriverWait(self._driver, 60).until(lambda _: self.run(state)) == "yes"
        return self

    def emulate(self, media, dark=False):
        """Screen or print, light or dark."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [feature]})

    def run(self, script, *arguments):
        return self._driver.execute_script(script, *arguments)

    def comes_to(self, script, value):
        """Whether a script returns a value in the end: the page hears of another medium some moments later."""
        from selenium.common.exceptions import TimeoutException
        from selenium.webdriver.support.wait import WebDriverWait

        try:
            return WebDriverWait(self._driver, 60).until(lambda _: self.run(script) == value)
        except TimeoutException:
            return self.run(script) == value

    def choose(self, section, name, value):
        """Sets a control as a reader would."""
        found = self.run(
            "const one = document.querySelector(`#${arguments[0]} [name=${arguments[1]}]`); one.value = arguments[2];"
            "for (const kind of ['input', 'change']) one.dispatchEvent(new Event(kind)); return one.value;",
            section,
            name,
            value,
        )
        assert found == str(value)

    def press(self, section, name, key):
        self._driver.find_element("css selector", f"#{section} [name={name}]").send_keys(key)

    def data(self, section, plot):
        """What Plotly has drawn."""
        traces = self.run(
            "return JSON.stringify(document.querySelector(`#${arguments[0]} [data-plot=${arguments[1]}] .plot`).data)",
            section,
            plot,
        )
        return json.loads(traces)

    def complaints(self):
        """Messages on the console, violations of the policy, and what was fetched beside the page itself."""
        said = [entry["message"] for entry in self._driver.get_log("browser")]
        events = [json.loads(entry["message"])["message"] for entry in self._driver.get_log("performance")]
        asked = [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]
        fetched = [url for url in asked if not url.startswith(("data:", "blob:"))][1:]
        return said + fetched + self.run("return violations")

    def width(self):
        return self.run("return document.documentElement.scrollWidth")


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run"):
        options.add_argument(f"--{argument}")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield Browser(driver)
    driver.quit()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    measurements = [
        dataclasses.replace(one, layers={"model/<i>dense</i>": one.pair_sets})
        for one in series(6, 5, class_names=HOSTILE, holes=True)
    ]
    spec = {**SPEC, "dataset": HOSTILE[0], "arch": HOSTILE[1]}
    return write_run(tmp_path_factory.mktemp("report") / "run", measurements, spec=spec)


@pytest.fixture(scope="module")
def page(run):
    return write_report(run, interactive=True)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    runs = [
        write_run(
            folder / f"lr{rate}-s{seed}", series(5, 3, seed=seed), spec={**SPEC, "learning_rate": rate, "seed": seed}
        )
        for rate in (1e-4, 1e-3)
        for seed in (0, 1)
    ]
    return runs, write_report(runs, interactive=True)


def expected(matrix):
    return pytest.approx(np.round(matrix, 4), abs=1e-9, nan_ok=True)


def drawn(trace):
    return np.array([[np.nan if cell is None else cell for cell in row] for row in trace["z"]])


def test_it_loads_without_a_complaint_and_fetches_nothing(browser, page):
    browser.open(page)
    assert browser.run("return document.querySelectorAll('.plot .main-svg').length") > 8
    assert browser.complaints() == []


def test_the_slider_changes_the_matrix(browser, page, run):
    browser.open(page)
    for stage in (5, 0, 3):
        browser.choose("matrix", "stage", stage)
        (heatmap,) = browser.data("matrix", "matrix")
        assert drawn(heatmap) == expected(run.measurements[stage]["train_val"].sign.matrix)
        assert (heatmap["zmin"], heatmap["zmax"]) == (-1, 1)
    browser.choose("matrix", "metric", "cosine")
    browser.choose("matrix", "pairs", "val_val")
    (heatmap,) = browser.data("matrix", "matrix")
    assert drawn(heatmap) == expected(run.measurements[3]["val_val"].cosine.matrix)
    assert browser.complaints() == []


def test_the_slider_obeys_the_keyboard_and_says_where_it_is(browser, page, run):
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    browser.press("matrix", "stage", Keys.HOME)
    browser.press("matrix", "stage", Keys.ARROW_RIGHT)
    (heatmap,) = browser.data("matrix", "matrix")
    assert drawn(heatmap) == expected(run.measurements[1]["train_val"].sign.matrix)
    spoken = browser.run("return document.querySelector('#matrix [name=stage]').getAttribute('aria-valuetext')")
    assert f"step {run.measurements[1].step}" in spoken


def test_cells_without_a_pair_are_said_to_have_none(browser, page):
    browser.open(page)
    (heatmap,) = browser.data("matrix", "matrix")
    assert heatmap["z"][1] == [None] * 5
    assert all("no pair" in text for text in heatmap["hovertext"][1])
    assert "±" in heatmap["hovertext"][0][2]


def test_the_choice_of_pairs_and_metric_changes_the_curve(browser, page, run):
    browser.open(page)
    for pair_set, metric in (("val_val", "cosine"), ("train_train", "cosine"), ("train_train", "sign")):
        browser.choose("curves", "pairs", pair_set)
        browser.choose("curves", "metric", metric)
        for kind in ("within", "between"):
            *bands, line = browser.data("curves", kind)
            values = [getattr(getattr(one[pair_set], metric), kind) for one in run.measurements]
            assert line["y"] == pytest.approx(values, rel=1e-4)
            half = 1.97190 * getattr(getattr(run.measurements[0][pair_set], metric), f"{kind}_se")  # t(0.975, 200)
            assert bands[0]["y"][0] == pytest.approx(values[0] + half, rel=1e-3)
    assert browser.complaints() == []


def test_stiffness_against_distance_and_its_line(browser, page, run):
    browser.open(page)
    browser.choose("distance", "stage", 4)
    found = run.measurements[4]["train_val"]
    traces = browser.data("distance", "distance")
    dots = next(trace for trace in traces if trace["mode"] == "markers")
    profile = found.distance_profile
    assert dots["y"] == pytest.approx(profile.mean[profile.count > 0], rel=1e-4)
    diamond = traces[-1]
    assert diamond["x"] == pytest.approx([found.critical_length.value], rel=1e-4)
    assert found.critical_length.status == "ok"
    note = browser.run("return document.querySelector('#distance .note').textContent")
    assert "within the distances observed" in note


def test_hostile_names_stay_text(browser, page):
    browser.open(page)
    labels = browser.run("return [...document.querySelectorAll('#matrix .ytick text')].map((one) => one.textContent)")
    assert labels == [name if len(name) <= 16 else name[:15] + "…" for name in HOSTILE]
    browser.run("document.querySelector('#matrix details').open = true")
    browser.choose("matrix", "stage", 2)
    heads = browser.run("return [...document.querySelectorAll('#matrix tbody th')].map((one) => one.textContent)")
    assert heads == list(HOSTILE)
    layers = browser.run(
        "return [...document.querySelectorAll('#curves [name=scope] option')].map((one) => one.textContent)"
    )
    assert layers == ["whole model", "model/<i>dense</i>"]
    browser.choose("matrix", "scope", "model/<i>dense</i>")
    assert browser.run("return window.alerted ?? null") is None
    assert browser.run("return document.querySelectorAll('main img, main b, main i').length") == 0
    assert browser.complaints() == []


def test_the_policy_holds(browser, page):
    browser.open(page)
    browser.run(
        "const made = document.createElement('script'); made.textContent = 'window.broken = 1';"
        "document.body.append(made);"
        "fetch('http://127.0.0.1:9/').catch(() => {}); new Image().src = 'http://127.0.0.1:9/picture';"
    )
    assert browser.run("return window.broken ?? null") is None
    violations = browser.run("return violations")
    assert {one.split()[0] for one in violations} >= {"script-src-elem", "connect-src", "img-src"}
    browser.complaints()


def test_dark_and_print_change_the_charts_too(browser, page):
    ink = "return document.querySelector('#curves .xtick text').style.fill"
    browser.open(page)
    assert browser.run(ink) == "rgb(29, 31, 35)"
    browser.open(page, dark=True)
    assert browser.run(ink) == "rgb(232, 234, 237)"
    browser.emulate("print", dark=True)
    assert browser.comes_to(ink, "rgb(0, 0, 0)")
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("return [...document.querySelectorAll('.controls')].every((one) => !one.offsetHeight)")


def test_charts_are_as_wide_as_the_paper_and_then_as_the_screen_again(browser, page):
    widest = "return Math.max(...[...document.querySelectorAll('.plot .main-svg')].map((one) => one.clientWidth))"
    browser.open(page)
    before = browser.run(widest)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run(widest) <= 680 < before
    assert browser.run("return document.querySelectorAll('#numbers details:not([open])').length") == 0
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.run(widest) == before


@pytest.mark.parametrize("what", ["one run", "several", "pictures", "hundred classes"])
def test_nothing_is_wider_than_a_phone(browser, page, comparison, tmp_path, what):
    if what == "pictures":
        path = write_report(write_run(tmp_path / "run", series(1, 0)), interactive=False, say=lambda _: None)
    elif what == "hundred classes":
        path = write_report(write_run(tmp_path / "run", series(2, 100)), interactive=True)
    else:
        path = page if what == "one run" else comparison[1]
    browser.open(path, width=360, height=740)
    assert browser.width() == 360
    assert browser.complaints() == []


@pytest.mark.parametrize(
    "measurements", [series(1, 2), series(3, 0), series(80, 3)], ids=["one", "regression", "eighty"]
)
def test_other_runs_load_too(browser, tmp_path, measurements):
    browser.open(write_report(write_run(tmp_path / "run", measurements), interactive=True))
    assert browser.complaints() == []
    has_classes = bool(measurements[0].class_names)
    assert browser.run("return !!document.getElementById('matrix')") == has_classes
    *_, line = browser.data("curves", "within" if has_classes else "mean")
    assert len(line["y"]) == len(measurements)


def test_runs_are_compared_by_learning_rate(browser, comparison):
    runs, path = comparison
    browser.open(path)
    name = "stiffness_cosine_between_train_val"
    dots, means = browser.data("compare", name)
    values = [run.measurements[-1]["train_val"].cosine.between for run in runs]
    rates = [1e-4, 1e-4, 1e-3, 1e-3]  # two runs each, beside each other
    aside = 10 ** np.array([-0.15, 0.15, -0.15, 0.15])  # of the way to the next rate, which is ten times as large
    np.testing.assert_allclose(dots["x"], rates * aside)
    assert means["x"] == [1e-4, 1e-3]
    assert dots["y"] == pytest.approx(values, rel=1e-4)
    assert means["y"] == pytest.approx([np.mean(values[:2]), np.mean(values[2:])], rel=1e-3)
    browser.choose("compare", "point", 3)  # after three epochs
    assert "training loss" in browser.run("return document.querySelector('#compare figcaption').textContent")
    browser.choose("matrix", "run", 2)
    (heatmap,) = browser.data("matrix", "matrix")
    assert drawn(heatmap) == expected(runs[2].measurements[-1]["train_val"].sign.matrix)
    assert browser.complaints() == []
