import dataclasses
import io
import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime

import matplotlib.image
import numpy as np
import pytest
from rich_records import rich
from synthetic_runs import measurement, series, write_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from tfstiff.errors import InvalidInput
from tfstiff.export import EVENT_FILE, EventWriter, write_tensorboard
from tfstiff.export.matrix_image import matrix_png
from tfstiff.export.tensorboard import wall_times
from tfstiff.records import RunWriter
from tfstiff.records.run_folder import record_path


def read(folder):
    return EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()


def points(events, tag):
    return [(event.step, float(tensor_util.make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]


def pixels(png):
    return matplotlib.image.imread(io.BytesIO(png), format="png")[:, :, :3]


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "mine", series(3, 3))


def test_every_scalar_reads_back_at_its_step(run, tmp_path):
    events = read(write_tensorboard(run, tmp_path / "events", images=False).parent)
    scalars = [m.scalars() for m in run.measurements]
    tags = set()
    for name in scalars[0]:
        pair_set = next(pair_set for pair_set in run.measurements[0].pair_sets if name.endswith(pair_set))
        tag = f"stiffness_{pair_set}/{name.removeprefix('stiffness_').removesuffix('_' + pair_set)}"
        expected = [(m.step, np.float32(found[name])) for m, found in zip(run.measurements, scalars, strict=True)]
        assert points(events, tag) == [(step, float(value)) for step, value in expected]
        tags.add(tag)
    expected = [(m.step, float(np.float32(m.validation.loss))) for m in run.measurements]
    assert points(events, "probe/validation_loss") == expected
    others = {f"probe/{half}_{name}" for half in ("train", "validation") for name in ("loss", "accuracy")}
    assert set(events.Tags()["tensors"]) == tags | others | {"probe/learning_rate"}
    assert events.SummaryMetadata("probe/train_loss").plugin_data.plugin_name == "scalars"


def test_class_matrices_are_images_of_their_numbers(tmp_path):
    run = write_run(tmp_path / "mine", series(2, 3))
    events = read(write_tensorboard(run).parent)
    tag = "class_matrix_train_val/sign"
    assert [event.step for event in events.Tensors(tag)] == [m.step for m in run.measurements]
    assert events.SummaryMetadata(tag).plugin_data.plugin_name == "images"
    m = run.measurements[-1]
    width, height, png = events.Tensors(tag)[-1].tensor_proto.string_val
    image = pixels(png)
    assert image.shape[:2] == (int(height), int(width))
    matrix = m["train_val"].sign.matrix
    centres = [(0.235 + 0.685 * (1 - (i + 0.5) / 3), 0.24 + 0.615 * (j + 0.5) / 3) for i in range(3) for j in range(3)]
    for value, (up, right) in zip(matrix.ravel(), centres, strict=True):
        red, _, blue = image[round((1 - up) * image.shape[0]), round(right * image.shape[1])]
        assert np.sign(red - blue) == np.sign(round(value, 2)), (value, red, blue)


def test_a_matrix_of_a_hundred_classes_and_one_with_missing_cells_can_be_drawn():
    rng = np.random.default_rng(0)
    names = [f"class number {i}" for i in range(100)]
    assert pixels(matrix_png(rng.uniform(-1, 1, (100, 100)), names, "sign", "val_val")).shape == (430, 480, 3)
    empty, full = (pixels(matrix_png(np.full((2, 2), value), ["$a", "b"], "t", "train_val")) for value in (np.nan, 0.0))
    assert not np.array_equal(empty, full)


def test_numbers_that_are_not_finite_are_left_out_and_layers_have_tags(tmp_path):
    m = rich()
    lost = dataclasses.replace(m["train_val"].critical_length, value=math.nan)
    spaces = {"input": dataclasses.replace(m["train_val"].spaces["input"], critical_length=lost)}
    m = dataclasses.replace(m, pair_sets={"train_val": dataclasses.replace(m["train_val"], spaces=spaces)})
    events = read(write_tensorboard(write_run(tmp_path / "mine", [m]), images=False).parent)
    tags = events.Tags()["tensors"]
    assert "stiffness_train_val/critical_length" not in tags
    assert "stiffness_train_val/sign_block_contrast" in tags
    value = m.layers["model/dense_1"]["val_val"].cosine.between
    assert points(events, "stiffness_val_val_by_layer/cosine_between/model/dense_1") == [(5, float(np.float32(value)))]


def test_regression_has_means_and_no_images(tmp_path):
    events = read(write_tensorboard(write_run(tmp_path / "mine", series(2, 0))).parent)
    tags = events.Tags()["tensors"]
    assert "stiffness_train_val/cosine_mean" in tags
    assert not any("class_matrix" in tag or "accuracy" in tag for tag in tags)


def test_a_writer_goes_on_where_it_was_and_export_takes_its_place(run):
    for m in run.measurements:
        EventWriter(run.folder, images=False).add(m, wall_time=1000.0 + m.step)
    events = read(run.folder)
    assert [(e.step, e.wall_time) for e in events.Tensors("probe/train_loss")] == [
        (m.step, 1000.0 + m.step) for m in run.measurements
    ]
    again = read(write_tensorboard(run, images=False).parent)
    assert points(again, "probe/train_loss") == points(events, "probe/train_loss")
    assert [path.name for path in run.folder.glob("*tfevents*")] == [EVENT_FILE]


def test_wall_times_are_those_of_the_records_or_spread_over_the_run(run):
    steps = [m.step for m in run.measurements]
    began = 1_700_000_000.0
    for index, step in enumerate(steps):
        os.utime(record_path(run.folder, step), (began + index, began + index))
    assert wall_times(run) == [began, began + 1, began + 2]
    moments = [datetime.fromtimestamp(began + offset, UTC).isoformat() for offset in (0, 100)]
    RunWriter(run.folder).write_status("completed", started=moments[0], ended=moments[1])
    assert wall_times(run) == [began, began + 1, began + 2]
    for step in steps:  # a copy without the times
        os.utime(record_path(run.folder, step), (began + 9999, began + 9999))
    assert wall_times(run) == pytest.approx([began + 100 * step / steps[-1] for step in steps])


def test_without_tensorboard_the_error_names_the_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InvalidInput, match=r"pip install 'tfstiff\[tensorboard\]'"):
        write_tensorboard(run)


def test_a_run_without_a_measurement_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="no measurement"):
        write_tensorboard(write_run(tmp_path / "mine", []))


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read()


def wait_for(read_once, alive):
    """What `read_once` returns as soon as it is not empty. A server that does not answer keeps this waiting."""
    pause = threading.Event()
    while alive():
        try:
            found = read_once()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            found = None
        if found:
            return found
        pause.wait(0.2)
    raise AssertionError("The server has ended.")


def test_a_tensorboard_server_shows_the_scalars_and_images(tmp_path):
    found = measurement(40, 0.5, 0.3, 3)
    write_tensorboard(write_run(tmp_path / "logs" / "mine", [found]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    no_tensorflow = "import sys, types; sys.modules['tensorboard.compat.notf'] = types.ModuleType('notf')"
    start = f"{no_tensorflow}; from tensorboard.main import run_main; run_main()"
    options = ["--logdir", str(tmp_path / "logs"), "--host", "127.0.0.1", "--port", str(port), "--load_fast=false"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([sys.executable, "-c", start, *options], **quiet)
    try:
        data = f"http://127.0.0.1:{port}/data/plugin"
        tags = wait_for(lambda: json.loads(get(f"{data}/scalars/tags")), lambda: server.poll() is None)
        assert "stiffness_train_val/cosine_within" in tags["mine"]
        query = "run=mine&tag=stiffness_train_val%2Fcosine_within"
        ((wall_time, step, value),) = json.loads(get(f"{data}/scalars/scalars?{query}"))
        assert (step, value) == (40, pytest.approx(found["train_val"].cosine.within, rel=1e-6))
        assert abs(time.time() - wall_time) < 86_400
        images = json.loads(get(f"{data}/images/images?run=mine&tag=class_matrix_train_val%2Fsign&sample=0"))
        png = get(f"{data}/images/individualImage?{images[0]['query']}")
        assert pixels(png).shape == (430, 480, 3)
    finally:
        server.terminate()
        server.wait(20)
