"""What this machine has for jobs: its GPUs by index, and how many CPU jobs may run side by side.

`AUDIOREASON_GPUS` (a count) and `AUDIOREASON_CPU_JOBS` overrule what is found.
"""

from __future__ import annotations

import functools
import os

from audioreason.engines.gpus import gpus_now
from audioreason.errors import JobError

# workers see only their leased GPUs, and still reconcile for the whole machine
GPU_LIST_VARIABLE = "AUDIOREASON_GPU_LIST"


def gpu_ids() -> tuple[str, ...]:
    """The GPUs that jobs may lease, as CUDA_VISIBLE_DEVICES names them.

    Raises:
        JobError: if `AUDIOREASON_GPUS` is not a count.
    """
    inherited = os.environ.get(GPU_LIST_VARIABLE)
    if inherited is not None:
        return _listed(inherited)
    wished = os.environ.get("AUDIOREASON_GPUS")
    if wished:
        return tuple(str(index) for index in range(_count("AUDIOREASON_GPUS", wished)))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return _listed(visible)
    return _found()


def cpu_slots() -> int:
    """Slots that running jobs may occupy together: `AUDIOREASON_CPU_JOBS`, else the cores (2 or more).

    Raises:
        JobError: if the variable is not a count.
    """
    wished = os.environ.get("AUDIOREASON_CPU_JOBS")
    return _count("AUDIOREASON_CPU_JOBS", wished) if wished else max(2, os.cpu_count() or 1)


@functools.cache
def _found() -> tuple[str, ...]:
    return tuple(gpu.index for gpu in gpus_now())


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip() and part.strip() != "-1")


def _count(name: str, text: str) -> int:
    if not text.isdigit():
        raise JobError(f"{name} is {text!r}, which is not a count.", f"Set it to a number, such as {name}=1.")
    return int(text)
