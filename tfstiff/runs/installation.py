"""The installation, looked over: versions, devices, data sets, extras, where it can write, known clashes."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from tfstiff._quiet import import_tensorflow
from tfstiff.cluster.resources import available_cores
from tfstiff.datasets import catalog
from tfstiff.datasets.tfds_source import resolve_data_dir
from tfstiff.errors import InvalidInput
from tfstiff.records.claim import Claim
from tfstiff.runs.finding import Finding
from tfstiff.runs.prepare import require_tensorflow_backend

_TOLD = ("tfstiff", "tensorflow", "keras", "numpy")  # of which the version is of interest even where it fits
_EXTRAS = {"export": "Parquet and netCDF", "tensorboard": "TensorBoard events", "report": "interactive charts"}
_EXTRAS |= {"ray": "sweeps and measurements on a Ray cluster"}
_SHADOWING = ("tensorflow", "keras", "numpy", "scipy", "tfstiff")  # modules that a file here could stand in for
_TOLERANCE = 1e-4  # of products of two methods, relative to the largest


def inspect_installation(folder: Path, data_dir: Path | None = None) -> list[Finding]:
    """Looks over the installation.

    Args:
        folder: Where runs are to be written.
        data_dir: TensorFlow Datasets' directory; None is its default.
    """
    found = [Finding("python", f"{platform.python_version()} on {platform.platform()}"), *_packages(), *_clashes()]
    found += [*_tensorflow(), _machine(), *_data_sets(data_dir), _can_write(folder), _can_write(_temporary())]
    return found


def _packages() -> Iterator[Finding]:
    wanted = [Requirement(text) for text in requires("tfstiff") or ()]
    yield Finding("tfstiff", version("tfstiff"))
    for one in wanted:
        if one.marker is not None and "extra" in str(one.marker):
            continue
        installed = _version(one.name)
        if installed is None:
            yield Finding(one.name, "It is not installed.", True, remedy=f"pip install '{one}'")
        elif not one.specifier.contains(installed, prereleases=True):
            text = f"{installed}, but tfstiff needs {one.specifier}"
            yield Finding(one.name, text, True, remedy=f"pip install '{one}'")
        elif one.name in _TOLD:
            yield Finding(one.name, installed)
    for extra, what in _EXTRAS.items():
        lacking = [
            one.name
            for one in wanted
            if one.marker is not None and one.marker.evaluate({"extra": extra}) and _version(one.name) is None
            if not one.marker.evaluate({"extra": ""})
        ]
        text = f"installed: {what}" if not lacking else f"{', '.join(lacking)} not installed, for {what}"
        yield Finding(f"[{extra}]", text, remedy=f"pip install 'tfstiff[{extra}]'" if lacking else "")


def _clashes() -> Iterator[Finding]:
    for name in ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"):
        if os.environ.get(name):
            yield Finding(name, f"It is {os.environ[name]}: Keras ends trainings early.", True, remedy=f"unset {name}")
    if os.environ.get("TF_USE_LEGACY_KERAS", "0") not in ("", "0", "false", "False"):
        text = "It is set: tf.keras is Keras 2, whose models cannot be measured."
        yield Finding("TF_USE_LEGACY_KERAS", text, True, remedy="unset TF_USE_LEGACY_KERAS")
    both = [name for name in ("tensorflow", "tensorflow-cpu") if _version(name)]
    if len({_version(name) for name in both}) > 1:
        text = ", ".join(f"{name} {_version(name)}" for name in both) + " overwrite one another's files."
        yield Finding("tensorflow-cpu", text, True, remedy="pip uninstall tensorflow-cpu tensorflow, and install one")
    for name in _SHADOWING:
        path = Path(f"{name}.py")
        if path.exists():
            text = f"{path.resolve()} is imported in place of the package where a command is run here."
            yield Finding(str(path), text, True, remedy="Give it another name.")


def _tensorflow() -> Iterator[Finding]:
    try:
        tf = import_tensorflow()
        require_tensorflow_backend()
    except InvalidInput as error:
        yield Finding("keras", f"{error.what} Received: {error.received}", True, remedy=error.remedy or "")
        return
    except Exception as error:  # of any kind, by what is broken of it
        text = f"It cannot be imported: {type(error).__name__}: {error}"
        yield Finding("tensorflow", text, True, remedy="Install it anew, in an environment of its own.")
        return
    devices = [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices()]
    yield Finding("devices", ", ".join(devices))
    yield _gradients()


def _gradients() -> Finding:
    """The products of a small network's gradients, by the fast method and by the one that is obviously right."""
    import keras
    import numpy as np

    from tfstiff.gradients import gradient_gram

    random = np.random.default_rng(0)
    x, y = random.standard_normal((6, 4), np.float32), np.arange(6) % 3
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    try:
        fast, plain = (np.asarray(gradient_gram(model, x, y, loss=loss, method=method)) for method in ("auto", "loop"))
    except Exception as error:  # of any kind: that is what is looked for
        return Finding("gradients", f"They cannot be computed: {type(error).__name__}: {error}", True)
    difference = float(np.abs(fast - plain).max() / np.abs(plain).max())
    if difference <= _TOLERANCE:
        return Finding("gradients", f"the methods agree, to {difference:.0e}")
    return Finding("gradients", f"The methods differ, by {difference:.2g}: results here are wrong.", True)


def _machine() -> Finding:
    text = f"{available_cores()} cores"
    try:
        from tfstiff.gradients.memory import default_limit
    except Exception:  # of any kind: it imports TensorFlow, and what is wrong with that has been said
        return Finding("machine", text)
    return Finding("machine", f"{text}; {default_limit() / 1e9:.1f} GB of memory for gradients")


def _data_sets(data_dir: Path | None) -> Iterator[Finding]:
    rows = [row for row in catalog(data_dir) if row.available is not None]
    here, absent = ([row.name for row in rows if row.available is wanted] for wanted in (True, False))
    text = f"{', '.join(here)} here" + (f"; {', '.join(absent)} not in {resolve_data_dir(data_dir)}" if absent else "")
    remedy = "They are downloaded when they are first asked for; whether one is whole: tfstiff data check NAME"
    yield Finding("data sets", text, remedy=remedy if absent else "")


def _can_write(folder: Path) -> Finding:
    """Whether a run could be written in a folder: files, renaming, locks."""
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".tfstiff-doctor-", dir=place) as made, Claim(Path(made) / "run"):
            pass
    except (OSError, InvalidInput) as error:
        text = f"It cannot be written: {error}"
        return Finding(str(place), text, True, remedy="Choose another folder with --out, or change its permissions.")
    return Finding(str(place), "can be written, with locks")


def _temporary() -> Path:
    return Path(tempfile.gettempdir())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
