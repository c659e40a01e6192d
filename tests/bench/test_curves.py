"""The curves of cost: what is foretold, of seconds that are made up."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

NUMBERS = np.array([0.03, 1e-5, 1e-11, 5e-7, 2e-8, 5e-12])


@pytest.fixture(scope="module")
def curves():
    path = Path(__file__).parents[2] / "benchmarks" / "curves.py"
    spec = importlib.util.spec_from_file_location("curves_of_cost", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def made_up(curves):
    table = pd.DataFrame([case._asdict() for case in curves.cases(70_000)])
    whole = np.array([curves._terms(row) for row in table.itertuples()]) @ NUMBERS
    processes = table["processes"].to_numpy()
    return table.assign(seconds=np.where(processes, whole / np.maximum(processes, 1) + 5, whole))


def test_what_follows_the_model_is_foretold(curves):
    found = curves.foretold(made_up(curves))
    is_alone = (found["processes"] == 1).to_numpy()
    assert np.isnan(found["foretold"][is_alone]).all()  # from which the start of a process is read
    np.testing.assert_allclose(found["off"][~is_alone], 0, atol=2e-3)
    assert set(found["curve"]) == {"fit", "examples", "width", "depth", "classes", "processes"}
    assert 70_000 in set(found["examples"])


def test_what_does_not_is_off_by_its_share(curves):
    table = made_up(curves)
    table.loc[table["curve"] == "classes", "seconds"] *= 2
    found = curves.foretold(table).set_index("curve")
    np.testing.assert_allclose(found.loc["classes", "off"], -0.5, atol=2e-3)
    np.testing.assert_allclose(found.loc["depth", "off"], 0, atol=2e-3)


def test_nothing_is_foretold_from_too_few(curves):
    found = curves.foretold(made_up(curves)[:4])
    assert found["foretold"].isna().all()
    assert not curves.foretold(made_up(curves).iloc[::-1])["off"].iloc[0] > 0.01


def test_the_numbers_of_a_network(curves):
    terms = curves._terms(curves.Case("fit", 10, "500-300-100"))
    weights = 785 * 500 + 501 * 300 + 301 * 100 + 101 * 10
    assert terms == [1, 10, 10 * weights, 10 * 10, 50, 50 * (2594 + 12 * 10)]
    assert curves._terms(curves.Case("classes", 8000, "500", 1000))[-1] == 8000**2 / 2 * (
        784 + 500 + 500 + 1000 + 12 * 501
    )
