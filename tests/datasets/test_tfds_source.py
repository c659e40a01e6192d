"""Data sets of TensorFlow Datasets: read whole, and every fault one typed error that says what to put where."""

import json
import shutil
import socket
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from tfstiff._quiet import import_tensorflow
from tfstiff.datasets import load, tfds_preparation
from tfstiff.errors import DatasetCorrupt, DatasetUnavailable

import_tensorflow()
import tensorflow_datasets as tfds  # noqa: E402

PREPARED = Path(__file__).resolve().parents[3] / "shared" / "tfds"
needs_prepared = pytest.mark.skipif(not PREPARED.is_dir(), reason="no prepared data sets beside the repository")

FINE_PER_COARSE = 5


def fake_cifar100(folder, train=200, test=100):
    """Writes the files inside cifar-100-binary.tar.gz, small: fine class f belongs to superclass f // 5."""
    inside = folder / "cifar-100-binary"
    inside.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, count in (("train.bin", train), ("test.bin", test)):
        fine = np.arange(count) % 100
        images = random.integers(0, 256, (count, 3072))
        records = np.concatenate([fine[:, None] // FINE_PER_COARSE, fine[:, None], images], axis=1)
        (inside / name).write_bytes(records.astype(np.uint8).tobytes())
    (inside / "coarse_label_names.txt").write_text("\n".join(f"coarse{i}" for i in range(20)) + "\n")
    (inside / "fine_label_names.txt").write_text("\n".join(f"fine{i}" for i in range(100)) + "\n")
    return folder


@pytest.fixture(scope="module")
def small_cifar100(tmp_path_factory):
    """A directory with a small cifar100 that TensorFlow Datasets itself prepared, by way of our own `load`."""
    root = tmp_path_factory.mktemp("cifar100")
    extracted = fake_cifar100(root / "extracted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds_preparation, "why_unreachable", lambda url: None)
        patch.setattr(tfds.download.DownloadManager, "download_and_extract", lambda self, url: str(extracted))
        dataset = load("cifar100", data_dir=root / "data")
    return root / "data", dataset


@pytest.fixture
def copy(small_cifar100, tmp_path):
    """A copy of the small cifar100 to damage: the directory, and the folder of the data set in it."""
    shutil.copytree(small_cifar100[0], tmp_path / "data")
    return tmp_path / "data", tmp_path / "data" / "cifar100" / "3.0.2"


def test_cifar100_keeps_both_labels_and_the_ids(small_cifar100):
    _, dataset = small_cifar100
    assert dataset.class_names == tuple(f"fine{i}" for i in range(100))
    assert dataset.superclass_names == tuple(f"coarse{i}" for i in range(20))
    for examples, count, prefix in ((dataset.train, 200, "train"), (dataset.validation, 100, "test")):
        assert examples.x.shape == (count, 32, 32, 3)
        assert examples.x.dtype == np.uint8
        np.testing.assert_array_equal(examples.coarse, examples.y // FINE_PER_COARSE)
        assert sorted(examples.ids) == [f"{prefix}_{index:05d}" for index in range(count)]


def test_images_come_back_as_they_went_in(small_cifar100):
    _, dataset = small_cifar100
    images = np.random.default_rng(0).integers(0, 256, (200, 3072)).astype(np.uint8)
    order = np.array([int(identity.removeprefix("train_")) for identity in dataset.train.ids])
    np.testing.assert_array_equal(dataset.train.x, images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)[order])


def test_prepared_data_is_read_again_alike_offline_and_nothing_is_written(copy):
    directory, _ = copy
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    first, second = (load("cifar100", data_dir=directory, offline=True) for _ in range(2))
    assert first.provenance == second.provenance
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before
    json.dumps(first.provenance)


def truncate(folder):
    shard = next(folder.glob("*train*"))
    shard.write_bytes(shard.read_bytes()[:-1000])


def empty(folder):
    next(folder.glob("*test*")).write_bytes(b"")


def flip(folder):
    shard = next(folder.glob("*train*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)


def without_shard(folder):
    next(folder.glob("*train*")).unlink()


def bad_info(folder):
    (folder / "dataset_info.json").write_text('{"name": "cifar100", ')


def without_info(folder):
    (folder / "dataset_info.json").unlink()


def bad_features(folder):
    (folder / "features.json").write_text("{")


def without_split(folder):
    info = json.loads((folder / "dataset_info.json").read_text())
    info["splits"] = info["splits"][:1]
    (folder / "dataset_info.json").write_text(json.dumps(info))


def more_declared(folder):
    path = folder / "dataset_info.json"
    info = json.loads(path.read_text())
    for split in info["splits"]:
        split["shardLengths"] = [str(int(length) + 3) for length in split["shardLengths"]]
    path.write_text(json.dumps(info))


def emptied(folder):
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    "damage",
    [truncate, empty, flip, without_shard, bad_info, without_info, bad_features, without_split, more_declared, emptied],
)
def test_damage_is_told_with_the_remedy(copy, damage):
    directory, folder = copy
    damage(folder)
    with pytest.raises(DatasetCorrupt) as caught:
        load("cifar100", data_dir=directory)
    message = str(caught.value)
    assert f"delete {folder}" in message
    assert str(directory / "downloads" / "manual") in message
    assert "168513733 bytes, sha256 58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec" in message
    assert "fashion_mnist_mini" in message
    assert caught.value.exit_code == 3


def test_the_message_says_what_tensorflow_said(copy):
    directory, folder = copy
    without_shard(folder)
    with pytest.raises(DatasetCorrupt, match=r"NotFoundError: .*cifar100-train"):
        load("cifar100", data_dir=directory)


@needs_prepared
def test_real_mnist_damaged(tmp_path):
    folder = tmp_path / "mnist" / "3.0.1"
    shutil.copytree(PREPARED / "mnist" / "3.0.1", folder, copy_function=shutil.copyfile)
    assert len(load("mnist", data_dir=tmp_path, offline=True).train) == 60_000
    flip(folder)
    with pytest.raises(DatasetCorrupt, match="train-images-idx3-ubyte"):
        load("mnist", data_dir=tmp_path, offline=True)


@needs_prepared
def test_real_cifar10_is_whole():
    dataset = load("cifar10", data_dir=PREPARED, offline=True)
    assert dataset.train.x.shape == (50_000, 32, 32, 3)
    assert np.bincount(dataset.validation.y).tolist() == [1000] * 10
    assert len(np.unique(dataset.train.ids)) == 50_000
    assert dataset.class_names[0] == "airplane"
    assert dataset.train.coarse is None
    assert dataset.superclass_names == ()


def test_cifar100_with_mocked_data(tmp_path):
    folder = tmp_path / "cifar100" / "3.0.2"
    folder.mkdir(parents=True)
    splits = [
        {"name": name, "shardLengths": ["20"], "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"}
        for name in ("train", "test")
    ]
    info = {"name": "cifar100", "version": "3.0.2", "fileFormat": "tfrecord", "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with tfds.testing.mock_data(num_examples=20, data_dir=str(tmp_path)):
        dataset = load("cifar100", data_dir=tmp_path, offline=True)
    assert dataset.train.x.shape == (20, 32, 32, 3)
    assert dataset.num_classes == 100
    assert len(dataset.superclass_names) == 20
    assert dataset.train.coarse is not None
    assert dataset.train.coarse.max() < 20


def test_offline_and_not_prepared(tmp_path):
    with pytest.raises(DatasetUnavailable, match="cifar-10-binary") as caught:
        load("cifar10", data_dir=tmp_path / "absent", offline=True)
    assert str(tmp_path / "absent" / "cifar10" / "3.0.2") in str(caught.value)
    assert not (tmp_path / "absent").exists()


def test_no_network_ends_within_seconds(tmp_path, monkeypatch):
    # A port on which nothing listens stands for the proxy, so that this holds on a machine with a network too.
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        start = time.monotonic()
        with pytest.raises(DatasetUnavailable, match="cannot be downloaded"):
            load("cifar100", data_dir=tmp_path)
    assert time.monotonic() - start < 10
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def server():
    """A server on this machine whose path is the status it answers with."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(int(self.path[1:]))
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_network_probe(server, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert tfds_preparation.why_unreachable(f"{server}/200") is None
    assert tfds_preparation.why_unreachable(f"{server}/405") is None
    assert tfds_preparation.why_unreachable(f"{server}/404") == "HTTP status 404"


def test_the_network_probe_gives_up_on_silence(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(tfds_preparation, "_PROBE_SECONDS", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert "no answer" in tfds_preparation.why_unreachable(f"http://127.0.0.1:{silent.getsockname()[1]}/")


def test_a_wrong_archive_is_named(tmp_path):
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    (manual / "cifar-10-binary.tar.gz").write_bytes(b"half a download")
    with pytest.raises(DatasetCorrupt, match="15 bytes") as caught:
        load("cifar10", data_dir=tmp_path, offline=True)
    assert "170052171" in str(caught.value)


def test_archives_put_into_place_are_enough_without_a_network(tmp_path, monkeypatch, capfd):
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    archive = manual / "cifar-100-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(fake_cifar100(tmp_path / "source") / "cifar-100-binary", "cifar-100-binary")
    published = tfds.core.download.checksums.compute_url_info(archive)
    builder_class = tfds.builder_cls("cifar100")
    monkeypatch.setattr(builder_class, "url_infos", dict.fromkeys(builder_class.url_infos, published))
    monkeypatch.setattr(tfds_preparation, "why_unreachable", lambda url: pytest.fail("the network was tried"))
    assert len(load("cifar100", data_dir=tmp_path, offline=True).train) == 200
    assert capfd.readouterr().out == ""


def test_a_directory_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds_preparation, "why_unreachable", lambda url: None)
    (tmp_path / "file").touch()
    with pytest.raises(DatasetUnavailable, match="--data-dir"):
        load("cifar100", data_dir=tmp_path / "file" / "data")


def test_a_download_that_fails(tmp_path, monkeypatch):
    def fail(self, url):
        raise tfds.core.download.util.DownloadError("HTTP code: 500")

    monkeypatch.setattr(tfds_preparation, "why_unreachable", lambda url: None)
    monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", fail)
    with pytest.raises(DatasetUnavailable, match="could not be downloaded"):
        load("cifar100", data_dir=tmp_path)
    assert not (tmp_path / "cifar100" / "3.0.2").exists()


def test_two_at_once_prepare_once(tmp_path, monkeypatch):
    extracted = fake_cifar100(tmp_path / "extracted", 100, 100)
    calls = []

    def slow(self, url):
        calls.append(url)
        time.sleep(0.5)
        return str(extracted)

    monkeypatch.setattr(tfds_preparation, "why_unreachable", lambda url: None)
    monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", slow)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(load("cifar100", data_dir=tmp_path / "data"))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert len(results) == 2
    assert results[0].provenance == results[1].provenance
