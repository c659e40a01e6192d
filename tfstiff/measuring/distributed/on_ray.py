"""Parts of a probe's pairs as tasks of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tfstiff.cluster.ray_cluster import cluster_address, connected, import_ray, passed_on
from tfstiff.cluster.resources import available_cores
from tfstiff.errors import PartFailed
from tfstiff.measuring.distributed.worker import compute_part

_RETRIES = 3  # of a part whose process or node died; one that failed is not tried again


class RayTasks:
    """Sums each part as a Ray task. Every node must see the job's folder under the same path.

    Args:
        address: Of a running cluster, or `auto`. None takes that of RAY_ADDRESS if it is set, and otherwise starts Ray
            on this machine, on the loopback interface, and ends it afterwards.
        jobs: How many at a time; what the parts are made for, and the limit where Ray is started here.
        threads: CPUs of each; None means the share of a job of this machine.
        gpus: GPUs of each.

    Raises:
        InvalidInput: Ray is not installed.
    """

    def __init__(self, address: str | None = None, *, jobs: int, threads: int | None = None, gpus: float = 0.0) -> None:
        self.jobs = jobs
        self._address = cluster_address(address)
        import_ray(self._address)
        self._threads = threads or max(1, available_cores() // max(jobs, 1))
        self._gpus = gpus

    def run(self, folder: Path, indices: Sequence[int]) -> Iterator[int]:
        """See `tfstiff.measuring.distributed.measure.Processes`.

        Raises:
            InvalidInput: The cluster cannot be reached.
            PartFailed: A task failed.
        """
        folder = folder.resolve()
        environment, num_cpus = passed_on(self._threads), self.jobs * self._threads
        with connected(self._address, num_cpus, environment, folder / "ray.txt") as ray:
            task = ray.remote(
                num_cpus=self._threads, num_gpus=self._gpus, max_retries=_RETRIES, retry_exceptions=False
            )(compute_part)
            waiting = [task.remote(str(folder), index) for index in indices]
            while waiting:
                done, waiting = ray.wait(waiting, num_returns=1)
                try:
                    yield from ray.get(done)
                except ray.exceptions.RayError as error:
                    raise PartFailed(
                        f"A task that sums a part of the pairs failed: {error}",
                        remedy="Call again: what was summed is kept. Every node must see the folder under one path.",
                    ) from error
