"""What this machine has for jobs: its GPUs by index, and how many CPU jobs may run side by side.

`AUDIOREASON_GPUS` (a count) and `AUDIOREASON_CPU_JOBS` overrule what is found.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass

from audioreason.errors import JobError

# workers see only their leased GPUs, and still reconcile for the whole machine
GPU_LIST_VARIABLE = "AUDIOREASON_GPU_LIST"


@dataclass(frozen=True)
class Gpu:
    """A GPU as nvidia-smi shows it; memory in MiB."""

    index: str
    name: str
    total: int
    used: int

    @property
    def free(self) -> int:
        """MiB that nobody uses."""
        return self.total - self.used


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


def gpus_now() -> list[Gpu]:
    """Memory of each GPU as nvidia-smi tells it now; empty where there is none."""
    output = _smi("--query-gpu=index,name,memory.total,memory.used", "--format=csv,noheader,nounits")
    gpus = []
    for line in output.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 4 and parts[2].isdigit() and parts[3].isdigit():
            gpus.append(Gpu(parts[0], parts[1], int(parts[2]), int(parts[3])))
    return gpus


def gpu_memory_by_pid() -> dict[int, int]:
    """MiB of GPU memory by process id; empty where there is no GPU."""
    used: dict[int, int] = {}
    output = _smi("--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")
    for line in output.splitlines():
        pid, _, memory = (part.strip() for part in line.partition(","))
        if pid.isdigit() and memory.isdigit():
            used[int(pid)] = used.get(int(pid), 0) + int(memory)
    return used


@functools.cache
def _found() -> tuple[str, ...]:
    return tuple(gpu.index for gpu in gpus_now())


def _smi(*arguments: str) -> str:
    executable = shutil.which("nvidia-smi")
    if executable is None:
        return ""
    try:
        done = subprocess.run([executable, *arguments], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):  # a driver that does not answer: as if there were no GPU
        return ""
    return done.stdout


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip() and part.strip() != "-1")


def _count(name: str, text: str) -> int:
    if not text.isdigit():
        raise JobError(f"{name} is {text!r}, which is not a count.", f"Set it to a number, such as {name}=1.")
    return int(text)
