"""A connection to Ray: to a cluster that runs already, or to one of this machine that ends with the connection."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from tfstiff.cluster.provenance import provenance
from tfstiff.cluster.resources import thread_caps
from tfstiff.errors import InvalidInput

_LOOPBACK = "127.0.0.1"
# Read when Ray is imported or started. Without the first, Ray takes the address of the machine, whatever it is told.
_OF_ITS_OWN = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
_NOT_PASSED_ON = "CUDA_VISIBLE_DEVICES"  # Ray gives each task its own
_OBJECT_STORE_BYTES = 100_000_000  # tasks exchange little but file names


def cluster_address(address: str | None) -> str | None:
    """The address given, or else that of RAY_ADDRESS; None where a cluster is to be started here."""
    return address or os.environ.get("RAY_ADDRESS")


def import_ray(address: str | None) -> ModuleType:
    """Ray, set up for a cluster at `address`, or for one of its own where that is None.

    Raises:
        InvalidInput: Ray is not installed.
    """
    if address is None:
        os.environ.update(_OF_ITS_OWN)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise InvalidInput("Ray is not installed.", remedy="pip install 'tfstiff[ray]'") from error
    return ray


def passed_on(threads: int) -> dict[str, str]:
    """The environment variables that a task gets: those that bear on TensorFlow and Keras, and caps of threads."""
    here = provenance()["environment"]
    here |= {name: os.environ[name] for name in ("PYTHONPATH", "KERAS_HOME") if name in os.environ}
    return {name: value for name, value in here.items() if name != _NOT_PASSED_ON} | thread_caps(threads)


@contextlib.contextmanager
def connected(address: str | None, num_cpus: int, environment: Mapping[str, str], said: Path) -> Iterator[ModuleType]:
    """Connects to Ray, and ends the connection, and a cluster of its own, afterwards.

    A cluster of its own has no dashboard and listens on the loopback interface only.

    Args:
        address: Of a cluster, or `auto`; None starts one.
        num_cpus: Of a cluster that is started.
        environment: Variables that tasks get.
        said: File to which Ray's remarks on its workers go; it prints them to standard output, which is for results.

    Raises:
        InvalidInput: Ray is not installed, or the cluster cannot be reached.
    """
    ray = import_ray(address)
    options: dict[str, Any] = {"address": address}
    if address is None:
        options = {
            "address": "local",
            "num_cpus": num_cpus,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "include_dashboard": False,
            "_node_ip_address": _LOOPBACK,
        }
    with said.open("a") as file, contextlib.redirect_stdout(file):
        try:
            with _signal_handlers_kept():
                ray.init(
                    **options,
                    runtime_env={"env_vars": dict(environment)},
                    log_to_driver=False,  # each task has a log of its own
                    logging_level=logging.ERROR,
                )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InvalidInput(
                f"The Ray cluster cannot be reached: {error}",
                expected="the address of a running cluster, or auto on one of its nodes",
                received=address,
                remedy="Start one with `ray start --head`, or leave out the address to have one started here. Where a "
                "cluster wants a token, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH if it is not in ~/.ray.",
            ) from error
        try:
            if address is None:
                _check_loopback(ray)
            yield ray
        finally:
            ray.shutdown()


def _check_loopback(ray: ModuleType) -> None:
    addresses = {node["NodeManagerAddress"] for node in ray.nodes()}
    if addresses != {_LOOPBACK}:
        raise InvalidInput(
            "Ray listens on the network.",
            expected=_LOOPBACK,
            received=", ".join(addresses),
            remedy="Do not import ray before this, or set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 before you do.",
        )


@contextlib.contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Ray puts a handler of its own in the place of that for SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
