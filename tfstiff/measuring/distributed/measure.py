"""`measure_in_parts`: what `measure` does, by several processes, to be taken up again where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import keras

from tfstiff._options import takes
from tfstiff.errors import InvalidInput
from tfstiff.gradients.memory import default_limit
from tfstiff.gradients.options import NONE
from tfstiff.gradients.preconditioner import named
from tfstiff.measuring.distributed.job import Division, begun_job, fingerprint, write_job
from tfstiff.measuring.distributed.processes import LocalProcesses
from tfstiff.measuring.measure import MeasurementTask
from tfstiff.measuring.options import MeasureOptions
from tfstiff.measuring.probe import Probe
from tfstiff.measuring.summation.parts import divided
from tfstiff.measuring.summation.probe_sums import added_totals
from tfstiff.records import Measurement

_PARTS_PER_PROCESS = 4  # so that none waits long for the last


class Processes(Protocol):
    """Where parts are summed.

    Attributes:
        jobs: How many at a time.
    """

    jobs: int

    def run(self, folder: Path, indices: Sequence[int]) -> Iterator[int]:
        """Calls `worker.compute_part` for each part; yields each when its totals are on disk."""
        ...


@takes(MeasureOptions)
def measure_in_parts(
    model: keras.Model,
    probe: Probe,
    folder: str | Path,
    *,
    processes: Processes | int,
    progress: Callable[[int, int], None] | None = None,
    loss: Any = None,
    **options: Any,
) -> Measurement:
    """Measures the stiffness of `model` on a large probe, the pairs spread over several processes.

    The result is that of `tfstiff.measure` up to rounding. What was summed before the call was ended, by a signal or an
    error, is kept in `folder`: the same call goes on from there. `memory_limit` is for all processes together.
    `keep_gram`, which needs every pair, and a preconditioner cannot be had.

    Args:
        model: A Keras model that `model.save` can save and other processes can load: classes of one's own must be in
            modules that they can import.
        probe: The examples.
        folder: Where model, examples and totals are put for the other processes; new, empty or of the same call. All
            must see it. About as large as the probe.
        processes: How many of this machine, or `tfstiff.measuring.distributed.on_ray.RayTasks`.
        progress: Called with the number of parts done and that of all parts, at the start and after each.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        **options: Those of `MeasureOptions`.

    Raises:
        InvalidInput: An option cannot be used, or the folder holds something else.
        UnsupportedModel: The model cannot be measured, or not be built again by another process.
        PartFailed: A process failed.
        OSError: The folder cannot be written.
    """
    processes = LocalProcesses(processes) if isinstance(processes, int) else processes
    if processes.jobs < 1:
        raise InvalidInput("There must be at least one process.", received=processes.jobs)
    chosen = MeasureOptions(**options)
    if chosen.keep_gram:
        raise InvalidInput("keep_gram needs every pair, and parts keep sums alone.", remedy="Leave it out.")
    if not isinstance(chosen.weights, str):
        raise InvalidInput(
            "A function that chooses weights cannot be given to other processes.",
            expected="all, lora, head, or a regular expression",
            received=chosen.weights,
        )
    if chosen.preconditioner != NONE:
        raise InvalidInput(
            "A preconditioner is of the model in this process, and parts are summed by others.",
            received=named(chosen.preconditioner),
            remedy="Measure in one process.",
        )
    limit = (chosen.memory_limit or default_limit()) // processes.jobs
    chosen = replace(chosen, memory_limit=None)
    what, folder = (model, probe, loss, chosen), Path(folder)
    name = fingerprint(*what)
    job = begun_job(folder, name)
    memory = None if job is None else job.division.memory
    task = MeasurementTask(model, probe, replace(chosen, memory_limit=limit), loss=loss, memory=memory)
    job = job or write_job(folder, *what, name=name, division=_division(task, processes.jobs))
    missing, total = job.missing(), job.division.num_parts
    report = progress or (lambda done, total: None)
    report(total - len(missing), total)
    if missing:
        for done, _ in enumerate(processes.run(job.folder, missing), total - len(missing) + 1):
            report(done, total)
    return task.measurement(task.sums(added_totals(job.totals())))


def _division(task: MeasurementTask, num_processes: int) -> Division:
    num_bands = 1
    while num_bands * (num_bands + 1) // 2 < _PARTS_PER_PROCESS * num_processes:
        num_bands += 1
    return Division(
        num_parts=len(divided(task.blocks, task.pair_sets, num_bands)),
        num_bands=num_bands,
        block_size=task.memory.block_size,
        num_resident=task.memory.num_resident,
        edges=task.edges(),
        num_spare=task.memory.num_spare,
    )
