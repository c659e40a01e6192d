import dataclasses

import numpy as np
import pytest
from made_up import example_scores
from synthetic_runs import series, write_run

from tfstiff.analysis.examples import index_in_split
from tfstiff.errors import InvalidInput


@pytest.fixture
def run(tmp_path):
    """Three measurements, the second as an older version wrote it."""
    measurements = []
    for place, m in enumerate(series(3, 3)):
        scores = None if place == 1 else example_scores(4, 3, classes=[0, 1, 2, 0], rng=np.random.default_rng(place))
        half = dataclasses.replace(m.train, num_examples=4, scores=scores)
        measurements.append(dataclasses.replace(m, train=half))
    return write_run(tmp_path / "run", measurements)


def test_a_row_a_measurement_and_example(run):
    np.savez(run.folder / "probe.npz", train_ids=np.array(["a", "b", "c", "d"]))
    frame = run.examples("train")
    first, _, last = run.measurements
    assert list(frame["step"]) == [first.step] * 4 + [last.step] * 4
    assert list(frame["id"]) == list("abcd") * 2
    own = frame["cosine_own_train"].to_numpy()
    np.testing.assert_array_equal(own[4:], last.examples("train")["cosine_own_train"])
    by_class = run.examples("train", by_class=True)
    assert len(by_class) == 2 * 4 * 2 * 3
    assert list(by_class["id"][:6]) == list("aaabbb")


def test_without_ids_and_without_scores(run):
    assert list(run.examples("train")["id"][:4]) == ["0", "1", "2", "3"]
    assert run.examples("validation").empty
    with pytest.raises(InvalidInput, match="Unknown half"):
        run.examples("test")


def test_ids_that_say_where_in_the_split_an_example_stands():
    assert index_in_split("train_00012") == 12
    assert index_in_split("test_7") == 7
    assert index_in_split("cat_12") is None
    assert index_in_split("train_12b") is None
