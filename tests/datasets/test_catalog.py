import pytest

from tfstiff.datasets import DEFAULT, catalog, load, names
from tfstiff.errors import InvalidInput


def test_names_start_with_the_default():
    texts = ("imdb_reviews", "ag_news_subset", "glue/mnli")
    assert names() == (DEFAULT, "mnist", "fashion_mnist", "cifar10", "cifar100", *texts, "spherical_harmonics")


def test_the_path_of_a_file_is_told_how_it_is_named():
    with pytest.raises(InvalidInput, match="no data set of that name") as caught:
        load("some/mine.npz")
    assert "npz:some/mine.npz" in caught.value.remedy


def test_an_unknown_name_is_refused_with_the_names_and_a_guess():
    with pytest.raises(InvalidInput, match="Did you mean cifar100") as caught:
        load("cifar-100")
    assert "fashion_mnist_mini" in str(caught.value)
    assert "npz:PATH" in str(caught.value)
    assert caught.value.exit_code == 2


def test_npz_without_a_path_is_refused():
    with pytest.raises(InvalidInput):
        load("npz:")


def test_a_remote_data_dir_is_refused():
    with pytest.raises(InvalidInput, match="local"):
        load("mnist", data_dir="gs://bucket/data")


def test_availability_is_told_by_path(tmp_path, monkeypatch):
    for folder in ("mnist/3.0.1", "ag_news_subset/1.0.0", "glue/mnli/2.0.0", "imdb_reviews/1.0.0"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "dataset_info.json").touch()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for rows in (catalog(), catalog(tmp_path)):
        here = {row.name: row.available for row in rows}
        assert here == {
            DEFAULT: True,
            "mnist": True,
            "fashion_mnist": False,
            "cifar10": False,
            "cifar100": False,
            "imdb_reviews": False,
            "ag_news_subset": True,
            "glue/mnli": True,
            "spherical_harmonics": True,
            "npz:PATH": None,
        }
