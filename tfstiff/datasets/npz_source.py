"""The user's own arrays: `npz:PATH`, a file that `numpy.savez` wrote. Nothing in it is ever unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np

from tfstiff.datasets.dataset import Dataset, Examples, numbered_ids
from tfstiff.datasets.npz_labels import class_labels_or_targets
from tfstiff.datasets.text import num_ids
from tfstiff.errors import DatasetCorrupt, DatasetUnavailable, InvalidInput

_REMEDY = "write the file again, with numpy.savez_compressed."
_BEGINNINGS = (b"PK", b"\x93N")  # of npz files, and of npy files
_LAYOUT = (
    "members x_train, y_train, x_validation, y_validation (or x_val, y_val, or x_test, y_test), "
    "and optionally class_names, vocabulary, ids_train, ids_validation"
)


def load(path_text: str, as_numbers: bool = False) -> Dataset:
    """Reads x_train, y_train, x_validation, y_validation (or _val, or _test) from an npz file.

    Args:
        path_text: Path of the file. Its x are (n, features), (n, h, w), which gains a channel axis, or (n, h, w, c),
            of a float type or integers; or texts, (n,) or (n, t) for t texts an example; or token ids, (n, length)
            integers, where there is a member `vocabulary`, (ids,) texts: the word of each id, of which 0 is padding.
            Its y are class labels, (n,) or (n, 1) whole numbers from 0 or (n, classes) one-hot, or else regression
            targets, (n,) or (n, 1). Optional members: class_names, ids_train and ids_validation (or the suffix that x
            has).
        as_numbers: Whether y are regression targets also where they look like classes.

    Raises:
        DatasetUnavailable: There is no such file, or it may not be read.
        DatasetCorrupt: The file is not an npz file, is truncated, or a member is damaged.
        InvalidInput: A member is missing or cannot be used.
    """
    members = _read(Path(path_text).expanduser())
    suffix = next((s for s in ("validation", "val", "test") if f"x_{s}" in members), "validation")
    for member in ("x_train", "y_train", f"x_{suffix}", f"y_{suffix}"):
        if member not in members:
            raise InvalidInput(f"The npz file has no member {member}.", expected=_LAYOUT, received=sorted(members))
    x_train, x_validation = _inputs(members, "x_train"), _inputs(members, f"x_{suffix}")
    if x_train.shape[1:] != x_validation.shape[1:]:
        raise InvalidInput(
            f"The examples of x_train and x_{suffix} differ in shape.",
            received=(x_train.shape[1:], x_validation.shape[1:]),
        )
    for split, x in (("train", x_train), (suffix, x_validation)):
        if members[f"y_{split}"].shape[:1] != (len(x),):
            raise InvalidInput(
                f"The members x_{split} and y_{split} differ in length.",
                expected=f"{len(x)} labels",
                received=members[f"y_{split}"].shape,
            )
    (y_train, y_validation), class_names = class_labels_or_targets(members, ("y_train", f"y_{suffix}"), as_numbers)
    words = _vocabulary(members)
    return Dataset(
        name=f"npz:{path_text}",
        train=Examples(x_train, y_train, _ids(members, "train", "train", len(x_train))),
        validation=Examples(x_validation, y_validation, _ids(members, suffix, "validation", len(x_validation))),
        class_names=class_names,
        num_token_ids=num_ids((x_train, x_validation), words) if words else None,
    ).with_provenance("npz", path=path_text)


def check_is_there(path: Path) -> None:
    """Checks that a file can be read.

    Raises:
        DatasetUnavailable: There is no such file, or it may not be read.
    """
    _opened(path).close()


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise DatasetUnavailable(
            f"The npz file {path} cannot be read.", received=error, remedy="check the path and its permissions."
        ) from error


def _read(path: Path) -> dict[str, np.ndarray]:
    with _opened(path) as file:
        if file.read(2) not in _BEGINNINGS:  # NumPy takes it for Python objects, and tells how to load them
            raise DatasetCorrupt(f"{path} is not an npz file, or is damaged at its beginning.", remedy=_REMEDY)
        file.seek(0)
        try:
            archive = np.load(file, allow_pickle=False)
        # By the place of the damage this is BadZipFile, EOFError, ValueError, struct.error, …
        except Exception as error:
            raise DatasetCorrupt(
                f"{path} is not an npz file, or is truncated or damaged.", received=error, remedy=_REMEDY
            ) from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DatasetCorrupt(f"{path} holds one array; it is not an npz file.", expected=_LAYOUT, remedy=_REMEDY)
        with archive:
            return {name: _member(archive, name, path) for name in archive.files}


def _member(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> np.ndarray:
    try:
        array = archive[name]
    except MemoryError as error:
        raise DatasetCorrupt(
            f"The member {name} of {path} does not fit into memory, or is damaged.", received=error, remedy=_REMEDY
        ) from error
    # A damaged member shows as BadZipFile, zlib.error, EOFError, ValueError, SyntaxError, …
    except Exception as error:
        if "allow_pickle" in str(error):
            _refuse(name, "holds Python objects, which are never loaded", "numbers, or strings for names and ids")
        raise DatasetCorrupt(f"The member {name} of {path} is damaged.", received=error, remedy=_REMEDY) from error
    if not isinstance(array, np.ndarray):
        _refuse(name, "is not an array", "members written by numpy.savez")
    return array


def _inputs(members: dict[str, np.ndarray], name: str) -> np.ndarray:
    x = members[name]
    if x.dtype.kind == "S":
        x = np.char.decode(x, "utf-8")
    if x.dtype.kind == "U" and x.ndim in (1, 2) and x.size:
        return x.astype(object)
    if x.dtype.kind not in "fiu":
        _refuse(name, f"has dtype {x.dtype}", "a float or integer dtype, or texts (n,) or (n, t)")
    if x.ndim not in (2, 3, 4) or x.size == 0:
        _refuse(name, f"has shape {x.shape}", "(n, features), (n, h, w) or (n, h, w, c), all at least 1")
    if not np.isfinite(x).all():
        _refuse(name, "holds NaN or infinite values", "finite values")
    return x[..., np.newaxis] if x.ndim == 3 else x


def _vocabulary(members: dict[str, np.ndarray]) -> list[str]:
    words = members.get("vocabulary", np.array([], np.str_))
    if words.ndim != 1 or words.dtype.kind != "U":
        _refuse("vocabulary", f"has shape {words.shape} and dtype {words.dtype}", "(ids,) texts, of which 0 is padding")
    return words.tolist()


def _ids(members: dict[str, np.ndarray], suffix: str, split: str, count: int) -> np.ndarray:
    # The documented ids_validation goes with any spelling of the split.
    name = next((n for n in (f"ids_{suffix}", f"ids_{split}") if n in members), None)
    if name is None:
        return numbered_ids(split, count)
    ids = members[name]
    if ids.shape != (count,) or ids.dtype.kind not in "Uiu":
        _refuse(name, f"has shape {ids.shape} and dtype {ids.dtype}", f"({count},) strings or integers")
    ids = ids.astype(np.str_)
    if len(np.unique(ids)) != count:
        _refuse(name, "names two examples alike", "a different id for each example")
    return ids


def _refuse(member: str, what: str, expected: str) -> NoReturn:
    raise InvalidInput(f"The member {member} of the npz file {what}.", expected=expected)
