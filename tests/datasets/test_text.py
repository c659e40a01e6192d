"""Texts: the vocabulary and token ids, npz files of texts and of token ids, and the text data sets of TFDS."""

import csv
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest

from tfstiff._quiet import import_tensorflow
from tfstiff.datasets import catalog, load, prepare, tfds_preparation
from tfstiff.datasets.text import TextEncoding, TokenIds
from tfstiff.errors import InvalidInput

import_tensorflow()
import tensorflow_datasets as tfds  # noqa: E402

TEXTS = np.array(["A fine film; a FINE one!", "Dull film.", "", "fine"], dtype=object)


def plain_ids(texts, words, length):
    """Token ids by a loop over characters and words."""
    rows = []
    for text in texts:
        kept = "".join(letter for letter in text.lower() if letter.isalnum() or letter.isspace()).split()
        ids = [words.index(word) if word in words else 1 for word in kept][:length]
        rows.append(ids + [0] * (length - len(ids)))
    return np.array(rows)


def test_words_by_frequency_and_the_longest_text():
    encoding = TextEncoding.fit(TEXTS)
    assert encoding.words[:3] == ("", "[UNK]", "fine")  # three times
    assert set(encoding.words[3:5]) == {"a", "film"}  # twice each
    assert set(encoding.words[5:]) == {"one", "dull"}
    assert encoding.sequence_length == 6
    found = encoding.apply(TEXTS)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, plain_ids(TEXTS, encoding.words, 6))


def test_limits_of_words_and_length():
    encoding = TextEncoding.fit(TEXTS, vocabulary_size=3, sequence_length=4)
    assert encoding.words == ("", "[UNK]", "fine")
    np.testing.assert_array_equal(encoding.apply(TEXTS), [[1, 2, 1, 1], [1, 1, 0, 0], [0] * 4, [2, 0, 0, 0]])


def test_two_texts_stand_one_after_the_other():
    pairs = np.array([["a fine film", "dull"], ["film", "a a"]], dtype=object)
    encoding = TextEncoding.fit(pairs)
    first, second = (encoding.apply(pairs[:, place]) for place in (0, 1))
    assert encoding.sequence_length == 3
    np.testing.assert_array_equal(encoding.apply(pairs), np.concatenate([first, second], axis=1))


def test_an_encoding_is_kept_whole():
    encoding = TextEncoding.fit(TEXTS)
    kept = json.loads(json.dumps(encoding.as_config()))
    again = TextEncoding.from_config(kept)
    assert again == encoding
    assert again.sha256() == encoding.sha256()
    assert TextEncoding.from_config({**kept, "sequence_length": 2}).sha256() != encoding.sha256()
    for damaged in ({}, {**kept, "words": ["a", "a"]}, {**kept, "words": [1]}, {**kept, "sequence_length": 0}):
        with pytest.raises(InvalidInput, match="vocabulary"):
            TextEncoding.from_config(damaged)


def test_texts_without_words():
    with pytest.raises(InvalidInput, match="no words"):
        TextEncoding.fit(np.array(["", " . "], dtype=object))


def write(path, **members):
    y = np.arange(4) % 2
    np.savez(path, **{"y_train": y, "y_validation": y} | members)
    return f"npz:{path}"


def test_npz_of_texts(tmp_path):
    texts = TEXTS.astype(np.str_)
    dataset = load(write(tmp_path / "texts.npz", x_train=texts, x_validation=texts[::-1]))
    assert dataset.train.are_texts
    assert dataset.provenance["splits"]["train"]["dtype"] == "text"
    prepared = prepare(dataset, vocabulary_size=4)
    assert prepared.num_token_ids == 4
    assert prepared.encoding == TextEncoding.fit(TEXTS, 4)
    np.testing.assert_array_equal(prepared.validation.x, prepared.train.x[::-1])
    done = prepared.provenance["preparation"]["preprocessing"]
    assert done == prepared.encoding.summary() | {"in_words": "Texts: 6 token ids each, of a vocabulary of 4."}
    other = prepare(dataset, encoding=TextEncoding(("", "[UNK]", "dull"), 2))  # of a run that was begun
    np.testing.assert_array_equal(other.train.x, [[1, 1], [2, 1], [0, 0], [1, 0]])
    assert dataset.train.sha256() != dataset.validation.sha256()
    encoded = np.char.encode(texts, "utf-8")
    assert load(write(tmp_path / "bytes.npz", x_train=encoded, x_validation=encoded)).train.x.tolist() == texts.tolist()


def test_the_vocabulary_is_of_the_training_examples_that_remain(tmp_path):
    texts = np.array(["one two", "three four", "five six", "seven eight"])
    dataset = load(write(tmp_path / "texts.npz", x_train=texts, x_validation=texts))
    words = prepare(dataset, train_examples=2).encoding.words[2:]
    assert len(words) == 4
    assert set(words) < set(" ".join(texts).split())


def test_npz_of_token_ids(tmp_path):
    ids = np.array([[2, 3, 0], [1, 0, 0], [3, 3, 3], [2, 2, 0]])
    words = np.array(["", "?", "fine", "film", "never"])
    dataset = load(write(tmp_path / "ids.npz", x_train=ids, x_validation=ids, vocabulary=words))
    assert dataset.num_token_ids == 5
    prepared = prepare(dataset)
    assert prepared.train.x.dtype == np.int32
    np.testing.assert_array_equal(prepared.train.x, ids)
    done = prepared.provenance["preparation"]["preprocessing"]
    assert done == TokenIds(5).summary() | {"in_words": "Inputs: token ids as they are, 5 different ones."}
    assert prepared.encoding is None
    assert load(write(tmp_path / "plain.npz", x_train=ids, x_validation=ids)).num_token_ids is None


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"vocabulary": np.array(["", "?", "fine"])}, "out of range"),
        ({"vocabulary": np.arange(5)}, "vocabulary"),
        ({"vocabulary": np.array(list("abcde")), "x_train": np.eye(4)}, "no sequences of token ids"),
        ({"vocabulary": np.array(list("abcde")), "x_train": -np.eye(4, dtype=int)}, "out of range"),
    ],
)
def test_what_is_no_token_ids(tmp_path, members, message):
    ids = np.array([[2, 3, 0, 0], [1, 0, 0, 0], [3, 3, 3, 0], [2, 2, 0, 0]])
    with pytest.raises(InvalidInput, match=message):
        load(write(tmp_path / "ids.npz", **{"x_train": ids, "x_validation": ids} | members))


# --- TensorFlow Datasets, which prepares archives in the format of the published ones ---


def imdb(folder):
    """aclImdb_v1.tar.gz: a file for each review."""
    with tarfile.open(folder / "aclImdb_v1.tar.gz", "w:gz") as tar:
        for split in ("train", "test"):
            for label in ("neg", "pos", "unsup"):
                for index in range(2):
                    content = f" A {label} review, {split} {index}: très bien. ".encode()
                    info = tarfile.TarInfo(f"aclImdb/{split}/{label}/{index}_7.txt")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))


def ag_news(folder):
    """ag_news_csv.tar.gz: class from 1, title, description."""
    with tarfile.open(folder / "ag_news_csv.tar.gz", "w:gz") as tar:
        for split, count in (("train", 8), ("test", 4)):
            text = io.StringIO()
            csv.writer(text, quoting=csv.QUOTE_ALL).writerows(
                [index % 4 + 1, f"Title {index}", f'News of "kind" {index % 4}, {split}'] for index in range(count)
            )
            info = tarfile.TarInfo(f"ag_news_csv/{split}.csv")
            info.size = len(text.getvalue().encode())
            tar.addfile(info, io.BytesIO(text.getvalue().encode()))


def mnli(folder):
    """MNLI.zip: tables of premise, hypothesis and label; those of the test splits without."""
    with zipfile.ZipFile(folder / "MNLI.zip", "w") as archive:
        for split, count in (("train", 6), ("dev_matched", 3), ("dev_mismatched", 3), ("test_matched", 3)):
            labels = ("neutral", "entailment", "contradiction")
            rows = [f"{i}\tIt rains, {split} {i}.\tIt is wet {i}.\t{labels[i % 3]}" for i in range(count)]
            archive.writestr(f"MNLI/{split}.tsv", "\n".join(["index\tsentence1\tsentence2\tgold_label", *rows]) + "\n")
        archive.writestr("MNLI/test_mismatched.tsv", "index\tsentence1\tsentence2\n0\tIt rains.\tIt is wet.\n")


@pytest.fixture
def placed(tmp_path, monkeypatch):
    """Puts an archive where a user puts the published one, whose size and checksum are then the archive's."""

    def place(name, make):
        manual = tmp_path / "downloads" / "manual"
        manual.mkdir(parents=True)
        make(manual)
        (archive,) = manual.iterdir()
        published = tfds.core.download.checksums.compute_url_info(archive)
        builder = tfds.builder_cls(name.partition("/")[0])
        others = {url: info for url, info in builder.url_infos.items() if info.filename != archive.name}
        urls = set(builder.url_infos) - set(others)
        monkeypatch.setattr(builder, "url_infos", others | dict.fromkeys(urls, published))
        monkeypatch.setattr(tfds_preparation, "why_unreachable", lambda url: pytest.fail("the network was tried"))
        return load(name, data_dir=tmp_path, offline=True)

    return place


def found(examples):
    return sorted(zip(examples.x.tolist(), examples.y.tolist(), strict=True))


def test_imdb_reviews(placed, tmp_path):
    dataset = placed("imdb_reviews", imdb)
    assert dataset.name == "imdb_reviews"
    assert dataset.class_names == ("neg", "pos")
    for split, examples in (("train", dataset.train), ("test", dataset.validation)):
        expected = [
            (f"A {name} review, {split} {index}: très bien.", label)
            for label, name in enumerate(("neg", "pos"))
            for index in range(2)
        ]
        assert found(examples) == sorted(expected)
    again = load("imdb_reviews", data_dir=tmp_path, offline=True)
    assert again.provenance == dataset.provenance
    (row,) = [row for row in catalog(tmp_path) if row.name == "imdb_reviews"]
    assert row.available
    assert row.shape is None


def test_ag_news_subset(placed):
    dataset = placed("ag_news_subset", ag_news)
    assert dataset.class_names == ("World", "Sports", "Business", "Sci/Tech")
    assert found(dataset.validation) == [(f'News of "kind" {kind}, test', kind) for kind in range(4)]
    assert len(dataset.train) == 8


def test_mnli_has_two_texts_and_asks_for_its_own_archive_alone(placed, tmp_path):
    dataset = placed("glue/mnli", mnli)
    assert dataset.class_names == ("entailment", "neutral", "contradiction")
    assert dataset.train.x.shape == (6, 2)
    expected = [([f"It rains, dev_matched {i}.", f"It is wet {i}."], label) for i, label in enumerate((1, 0, 2))]
    assert found(dataset.validation) == sorted(expected)
    prepared = prepare(dataset)
    assert prepared.encoding.sequence_length == 4  # "it rains train 0"
    assert prepared.train.x.shape == (6, 8)
    assert "MNLI.zip" in tfds_preparation.remedy("glue/mnli", "2.0.0", tmp_path)
    assert "CoLA" not in tfds_preparation.remedy("glue/mnli", "2.0.0", tmp_path)
