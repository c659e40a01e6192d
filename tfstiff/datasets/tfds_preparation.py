"""Downloading and preparing a data set of TensorFlow Datasets: only if it can work, and never two processes at once."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfstiff.errors import DatasetCorrupt, DatasetUnavailable

_log = logging.getLogger(__name__)

# Seconds to connect, to wait for an answer, and for the whole attempt: resolving a name has no time limit of its own.
_CONNECT_SECONDS, _ANSWER_SECONDS, _PROBE_SECONDS = 3.0, 5.0, 9.0


def ensure_prepared(name: str, version: str, data_dir: Path, offline: bool) -> None:
    """Prepares the data set in `data_dir`, from archives put into `downloads/manual` or else by downloading them.

    TensorFlow Datasets meets a missing network with ten retries and growing pauses, so the network is tried first.

    Raises:
        DatasetUnavailable: No network or `offline`, a directory that cannot be written, or a failed preparation.
        DatasetCorrupt: An archive in `downloads/manual` is not the published one.
    """
    mend = remedy(name, version, data_dir)
    missing = [url for url, archive in _archives(name).items() if not _is_placed(archive, data_dir, mend)]
    if missing and offline:
        raise DatasetUnavailable(
            f"The data set {name} is not prepared in {data_dir}, and downloading is off (offline).",
            remedy=mend,
        )
    if missing and (why := why_unreachable(missing[0])):
        raise DatasetUnavailable(
            f"The data set {name} is not prepared in {data_dir}, and cannot be downloaded: {missing[0]}: {why}.",
            remedy=mend,
        )
    with _lock(data_dir, name, mend):
        # Another process may have prepared it while this one waited for the lock.
        if not os.path.exists(data_dir / name / version):
            _prepare(name, version, data_dir, mend)


def remedy(name: str, version: str, data_dir: Path, *, damaged: bool = False) -> str:
    """Returns what to put where so that the data set can be read."""
    folder = data_dir / name / version
    archives = "".join(
        f"\n        {url} ({int(archive.size)} bytes, sha256 {archive.checksum})"
        for url, archive in _archives(name).items()
    )
    first = f"delete {folder}, then one of:" if damaged else "one of:"
    return (
        f"{first}\n"
        f"    - copy a folder prepared elsewhere by TensorFlow Datasets to {folder};\n"
        f"    - run again without --offline where there is a network;\n"
        f"    - put the published archive(s) into {data_dir / 'downloads' / 'manual'} and run again:{archives}\n"
        f"    - use --dataset fashion_mnist_mini, which is part of tfstiff."
    )


def reason(error: Exception) -> str:
    """Returns the type of an error and the first line of its text, without TensorFlow's names of operations."""
    lines = re.sub(r"\{\{.*?\}\}|\[Op:\w+\] name:", "", str(error)).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__


def why_unreachable(url: str) -> str | None:
    """Asks for the headers of `url`, through the proxies of the environment; returns why that failed, or None.

    It ends within seconds. `requests` is what TensorFlow Datasets downloads with: same proxies, same certificates.
    """
    import requests

    outcome: list[str | None] = []

    def ask() -> None:
        try:
            answer = requests.head(url, timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS), allow_redirects=True)
        except (requests.RequestException, OSError, ValueError) as error:
            outcome.append(f"no connection ({type(error).__name__})")
        else:
            # 405 and 501 say that the server is there but does not answer requests for headers alone.
            fine = answer.status_code < 400 or answer.status_code in (405, 501)
            outcome.append(None if fine else f"HTTP status {answer.status_code}")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return outcome[0] if outcome else f"no answer within {_PROBE_SECONDS:.0f} seconds"


def _archives(name: str) -> dict[str, Any]:
    """Returns the published archives: address -> size, checksum (SHA-256) and filename."""
    import tensorflow_datasets as tfds

    name, _, config = name.partition("/")
    builder = tfds.builder_cls(name)
    found = builder.url_infos or {}
    url = str(getattr(builder.builder_configs.get(config), "data_url", ""))  # GLUE has an archive for each
    return {url: found[url]} if url in found else found


def _is_placed(archive: Any, data_dir: Path, mend: str) -> bool:
    """Tells whether the archive is in `downloads/manual`; a wrong one there is an error, as it would hide the right."""
    path = data_dir / "downloads" / "manual" / archive.filename
    if not os.path.isfile(path):
        return False
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetUnavailable(f"The archive {path} cannot be read.", received=error, remedy=mend) from error
    if (size, checksum) != (archive.size, archive.checksum):
        raise DatasetCorrupt(
            f"The archive {path} is truncated, damaged, or another one.",
            expected=f"{int(archive.size)} bytes, sha256 {archive.checksum}",
            received=f"{size} bytes, sha256 {checksum}",
            remedy=f"delete or replace that archive. To get the data set, {mend}",
        )
    return True


@contextlib.contextmanager
def _lock(data_dir: Path, name: str, mend: str) -> Iterator[None]:
    """Holds an exclusive lock on a file in `data_dir` (created if need be) until the block ends."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        file = (data_dir / f".tfstiff-{name.replace('/', '-')}.lock").open("a")
    except OSError as error:
        raise DatasetUnavailable(
            f"The data set {name} is not prepared in {data_dir}, and nothing can be written there.",
            expected="a directory that can be created and written to",
            received=error,
            remedy=f"name another directory with --data-dir or $TFDS_DATA_DIR, or {mend}",
        ) from error
    with file:
        # Where there is no flock (Windows, some network file systems) the rename at the end of TensorFlow Datasets'
        # preparation still keeps a half-written folder from being seen.
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _prepare(name: str, version: str, data_dir: Path, mend: str) -> None:
    import tensorflow_datasets as tfds

    _log.info("Preparing %s in %s", name, data_dir)
    try:
        # TensorFlow Datasets prints to standard output, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            tfds.builder(name, version=version, data_dir=str(data_dir)).download_and_prepare()
    # Anything may surface here: requests', its own DownloadError and NonMatchingChecksumError, a full disk, …
    except Exception as error:
        raise DatasetUnavailable(
            f"The data set {name} could not be downloaded and prepared in {data_dir}.",
            received=reason(error),
            remedy=f"delete {data_dir / 'downloads' / 'extracted'} if it exists, then {mend}",
        ) from error
