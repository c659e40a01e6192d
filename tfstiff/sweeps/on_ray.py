"""Trials as tasks of a Ray cluster: one that runs already, or one of this machine alone."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from tfstiff.cluster.ray_cluster import cluster_address, connected, import_ray, passed_on
from tfstiff.cluster.resources import available_cores
from tfstiff.errors import InvalidInput
from tfstiff.sweeps.executor import Outcomes
from tfstiff.sweeps.folder import Sweep
from tfstiff.sweeps.ray_node import Needs, lacking, needs_of, run_task
from tfstiff.sweeps.state import TrialState, read_state
from tfstiff.sweeps.trials import Trial

_LOOK_SECONDS = 300.0  # a node may have to read the packages from a slow file system


class RayExecutor:
    """Runs each trial as a Ray task, in a worker process of its own, with its CPUs and GPUs.

    A task whose process or node dies is begun again, elsewhere if need be; one whose code fails is not. Every node must
    see the sweep's folder, the data and the working directory under the same paths.

    Args:
        address: Of a running cluster, or `auto`. None takes that of RAY_ADDRESS if it is set, and otherwise starts Ray
            on this machine, on the loopback interface and without a dashboard, and ends it afterwards.
        jobs: Trials at a time, where Ray is started here; None means as many as the cores bear.
        threads: Threads, and CPUs, of each; None means 1, or the share of a job where Ray is started here.
        gpus: GPUs of each; a fraction shares one.
        retries: How often a trial is begun again whose process died.
        patience: Seconds that trials get to end when they are asked to.

    Raises:
        InvalidInput: Ray is not installed.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        jobs: int | None = None,
        threads: int | None = None,
        gpus: float = 0.0,
        retries: int = 3,
        patience: float = 30.0,
    ) -> None:
        self._address = cluster_address(address)
        import_ray(self._address)
        self.threads = threads or (max(1, available_cores() // jobs) if jobs else 1)
        self._num_cpus = jobs * self.threads if jobs else available_cores()
        self._gpus = gpus
        self._retries = retries
        self._patience = patience
        self._driver = uuid.uuid4().hex

    def run(self, sweep: Sweep, trials: Sequence[Trial], waiting: Callable[[], None]) -> Outcomes:
        """See `Executor`.

        Raises:
            InvalidInput: The cluster cannot be reached, a node does not see what it must, or none has the resources.
        """
        if not trials:
            return
        environment = passed_on(self.threads)
        with connected(self._address, self._num_cpus, environment, sweep.folder / "ray.txt") as ray:
            needs = needs_of(sweep.folder, trials)
            self._check_nodes(ray, sweep, needs)
            task = ray.remote(
                num_cpus=self.threads,
                num_gpus=self._gpus,
                max_calls=1,  # a fresh process for each, which gives GPU memory back
                max_retries=self._retries,
                retry_exceptions=False,
            )(run_task)
            tasks = {task.remote(needs, trial.name, self._driver, self._retries + 1): trial for trial in trials}
            try:
                while tasks:
                    waiting()
                    for done in ray.wait(list(tasks), num_returns=1, timeout=0.5)[0]:
                        trial = tasks.pop(done)
                        yield trial, _ended(ray, sweep, trial, done)
            finally:
                self._cancel(ray, sweep, tasks)

    def _cancel(self, ray: ModuleType, sweep: Sweep, tasks: Mapping[Any, Trial]) -> None:
        """Asks tasks to end: Ray raises KeyboardInterrupt in those that run, and drops the others."""
        for task in tasks:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(task, force=False)
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline and any(
            read_state(sweep.state_file(trial)).state == "running" for trial in tasks.values()
        ):
            time.sleep(0.2)

    def _check_nodes(self, ray: ModuleType, sweep: Sweep, needs: Needs) -> None:
        """Has a task on every node that can run trials look for what they need."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        able = [node for node in ray.nodes() if node["Alive"] and self._bears(node["Resources"])]
        if not able and self._address is None:
            raise InvalidInput(
                "This machine does not have what a trial is to get.",
                expected=f"{self.threads} CPUs and {self._gpus:g} GPUs",
                remedy="Ask for less with --threads and --gpus-per-trial.",
            )
        look = ray.remote(num_cpus=0, max_retries=0)(lacking)
        token = sweep.folder / f".token-{self._driver}"
        token.write_text(self._driver)
        try:
            looks = {
                f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})": look.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ).remote(needs, token)
                for node in able
            }
            found = {name: _found(ray, task) for name, task in looks.items()}
        finally:
            token.unlink()
        if any(found.values()):
            raise InvalidInput(
                "Not every node of the cluster has what the trials need.",
                expected="the same folders, data and versions on every node",
                received=" ".join(f"{name}: {'; '.join(lacks)}." for name, lacks in found.items() if lacks),
                remedy="Put the sweep (--out), the data (--data-dir) and your own code where all nodes see them.",
            )

    def _bears(self, resources: Mapping[str, float]) -> bool:
        return resources.get("CPU", 0) >= self.threads and resources.get("GPU", 0) >= self._gpus


def _found(ray: ModuleType, task: Any) -> list[str]:
    """What a node said that it lacks."""
    try:
        return ray.get(task, timeout=_LOOK_SECONDS)
    except ray.exceptions.RayError as problem:  # tfstiff is not installed there, or it does not answer
        return [str(problem).strip().splitlines()[-1]]


def _ended(ray: ModuleType, sweep: Sweep, trial: Trial, done: Any) -> TrialState:
    """The state that a trial ended with, which its process wrote unless it died once too often."""
    try:
        error = ray.get(done) or "The process ended without telling how."
    except ray.exceptions.RayError as problem:
        error = f"{type(problem).__name__}: {str(problem).splitlines()[0]}"
    state = sweep.state(trial)
    if state.state in ("running", "waiting"):
        state = replace(state, state="failed", error=error, exit_code=1)
        sweep.record(trial, state)
    return state
