"""Members of an `.npz` file: without pickle, and read at once.

NumPy and zipfile take 0.1 ms to read each, and a record has hundred.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np

_LARGEST_UNPACKED = 2**28  # bytes of a compressed member; what tfstiff writes is not compressed
_LOCAL_HEADER = 30  # bytes before the name of a member
_COUNT_OF_MEMBERS = -12  # its place, from the end of an archive without a comment


def write_members(file: BinaryIO, members: Mapping[str, np.ndarray]) -> None:
    """Writes arrays to `file` as an archive of `np.savez`. (To NumPy before 2.2 its `allow_pickle` is a member.)

    Raises:
        ValueError: A member holds Python objects.
    """
    for name, values in members.items():
        if values.dtype.hasobject:
            raise ValueError(f"member {name} holds Python objects, which are not written")
    np.savez(file, **members)  # type: ignore[arg-type]


def read_members(content: bytes, is_wanted: Callable[[str], bool] | None = None) -> dict[str, np.ndarray]:
    """Reads the arrays of an archive as `np.savez` writes it. Checksums are verified, and nothing is unpickled.

    Args:
        content: Of the file.
        is_wanted: Whether to read the member of a name; None means all.

    Raises:
        zipfile.BadZipFile: The archive, or a member, is damaged.
        ValueError: A member is no array, or one of objects.
    """
    found = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        count = int.from_bytes(content[_COUNT_OF_MEMBERS - len(archive.comment) :][:2], "little")
        if count != len(archive.infolist()):  # a damaged length hides the members that follow it
            raise zipfile.BadZipFile(f"the archive says that it has {count} members, and has {len(archive.infolist())}")
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if is_wanted is None or is_wanted(name):
                found[name] = _array(_member(archive, info, content))
    return found


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, content: bytes) -> bytes:
    if info.compress_type != zipfile.ZIP_STORED:
        return _unpacked(archive, info)
    named = info.header_offset + _LOCAL_HEADER
    of_name, of_extra = (int.from_bytes(content[named - back : named - back + 2], "little") for back in (4, 2))
    if content[named : named + of_name] != info.orig_filename.encode():  # both names are alike but for damage
        raise zipfile.BadZipFile(f"the archive and member {info.orig_filename} differ in its name")
    start = named + of_name + of_extra
    data = content[start : start + info.file_size]
    if zlib.crc32(data) != info.CRC:
        raise zipfile.BadZipFile(f"bad CRC-32 for member {info.filename}")
    return data


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Of a compressed member, which may unpack to a thousand times its size."""
    with archive.open(info) as file:
        data = file.read(_LARGEST_UNPACKED + 1)
    if len(data) > _LARGEST_UNPACKED:
        raise ValueError(f"member {info.filename} unpacks to more than {_LARGEST_UNPACKED:,} bytes; none is compressed")
    return data


def _array(data: bytes) -> np.ndarray:
    length = 10 + int.from_bytes(data[8:10], "little")  # of the header of version 1.0
    shape, is_fortran, dtype = _header(data[:length])
    values = np.frombuffer(data, dtype, offset=length)
    return values.reshape(shape, order="F" if is_fortran else "C").copy()


@lru_cache(1024)  # most members of a record, and of a run, have one of a few headers
def _header(header: bytes) -> tuple[tuple[int, ...], bool, Any]:
    file = io.BytesIO(header)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"a member is of version {version} of NumPy's format, not (1, 0)")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject:
        raise ValueError("a member holds Python objects, which are not read")
    return shape, is_fortran, dtype
