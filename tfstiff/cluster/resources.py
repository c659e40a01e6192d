"""What this machine bears: how many trials at once, with how many threads and on which GPU each."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

import psutil

_TRIAL_BYTES = 1_500_000_000  # a small network with TensorFlow takes about one gigabyte
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; none where NVIDIA's driver is not."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in map(str.strip, chosen.split(",")) if name and name != "-1"]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return listed.stdout.split() if listed.returncode == 0 else []


def default_jobs(num_trials: int) -> int:
    """One trial a GPU; without GPUs one a core, as far as the free memory goes."""
    gpus = len(visible_gpus())
    by_memory = psutil.virtual_memory().available // _TRIAL_BYTES
    return max(1, min(gpus or available_cores(), by_memory, num_trials))


def process_environment(slot: int, jobs: int, threads: int, gpus: Sequence[str]) -> dict[str, str]:
    """The environment variables that one of several processes of TensorFlow gets: caps of threads, and its GPU.

    Args:
        slot: Its place among those that work at a time.
        jobs: How many work at a time.
        threads: Of each.
        gpus: Those that they share, as `visible_gpus` names them.
    """
    variables = thread_caps(threads)
    if gpus:
        variables["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        if jobs > len(gpus):
            variables["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    return variables


def thread_caps(threads: int) -> dict[str, str]:
    """The environment variables that keep a process of TensorFlow to so many threads."""
    return dict.fromkeys(_THREAD_VARIABLES, str(threads))
