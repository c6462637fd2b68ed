"""The memory of this machine's GPUs as nvidia-smi reports it: how much is free, which processes use it, and
waiting until a phase of work has what it needs.

Loads no GPU library, so asking takes no GPU memory. Knows nothing about models.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from audioreason.errors import EngineError
from audioreason.wording import counted

WAIT_SECONDS = 120.0  # for GPU memory to become free, where nothing else is set
_POLL = 1.0
_MOST_NAMED = 4  # processes in a sentence
_MIB_A_GIB = 1024


class Waiting(Protocol):
    """The part of a `Progress` that waiting reports to."""

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin a phase."""

    def done(self, count: int, note: str = "") -> None:
        """Report seconds and what is missing."""

    def should_stop(self) -> bool:
        """Whether a stop was asked for."""


@dataclass(frozen=True)
class Gpu:
    """A GPU as nvidia-smi shows it; memory in MiB."""

    index: str
    name: str
    total: int
    used: int
    uuid: str = ""

    @property
    def free(self) -> int:
        """MiB that nobody uses."""
        return self.total - self.used


def gpus_now() -> list[Gpu]:
    """Memory of each GPU as nvidia-smi tells it now; empty where there is none."""
    output = _smi("--query-gpu=index,name,memory.total,memory.used,uuid", "--format=csv,noheader,nounits")
    gpus = []
    for line in output.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) >= 4 and parts[2].isdigit() and parts[3].isdigit():
            gpus.append(Gpu(parts[0], parts[1], int(parts[2]), int(parts[3]), "".join(parts[4:5])))
    return gpus


def own_gpus() -> list[Gpu]:
    """The GPUs that this process may use, in the order of CUDA_VISIBLE_DEVICES; all where it is not set."""
    found = gpus_now()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return found
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return [gpu for name in names for gpu in found if name in (gpu.index, gpu.uuid)]


def gpu_memory_by_pid(gpus: Sequence[Gpu] = ()) -> dict[int, int]:
    """MiB of GPU memory by process id, on these GPUs or on all; empty where there is no GPU."""
    used: dict[int, int] = {}
    chosen = ["-i", ",".join(gpu.index for gpu in gpus)] if gpus else []
    output = _smi(*chosen, "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")
    for line in output.splitlines():
        pid, _, memory = (part.strip() for part in line.partition(","))
        if pid.isdigit() and memory.isdigit():
            used[int(pid)] = used.get(int(pid), 0) + int(memory)
    return used


def wait_for_memory(
    purpose: str,
    needed: Callable[[Gpu], float],
    progress: Waiting,
    *,
    count: int = 1,
    seconds: float = WAIT_SECONDS,
    advice: str = "",
) -> bool:
    """Wait until each of this process's first `count` GPUs has the memory that is needed.

    Args:
        purpose: what needs it, the subject of a sentence, such as "Training m".
        needed: MiB needed on a GPU.
        progress: hears of the waiting, and may ask for a stop.
        count: how many GPUs are used.
        seconds: how long to wait for memory that is in use.
        advice: what to change so that less is needed.

    Returns:
        False if a stop was asked for meanwhile. Where nvidia-smi shows no GPU, nothing can be checked: True.

    Raises:
        EngineError: if a GPU is too small, or its memory is still in use after the time; it says how much is
            needed, how much is free and which processes use it.
    """
    began = time.monotonic()
    told = False
    while True:
        gpus = own_gpus()
        if not gpus:
            return True
        if len(gpus) < count:
            raise EngineError(
                f"{purpose} needs {counted(count, 'GPU')}, and this process may use {len(gpus)}.",
                "Ask for more GPUs.",
            )
        short = [gpu for gpu in gpus[:count] if gpu.free < needed(gpu)]
        if not short:
            return True
        gpu = short[0]
        wants = f"{purpose} needs {needed(gpu) / _MIB_A_GIB:.1f} GiB of memory on GPU {gpu.index}"
        if needed(gpu) > gpu.total:
            raise EngineError(f"{wants}, which has {gpu.total / _MIB_A_GIB:.1f} GiB.", advice)
        waited = time.monotonic() - began
        holders = _holders(gpu)
        if waited >= seconds:
            raise EngineError(
                f"{wants}, and {gpu.free / _MIB_A_GIB:.1f} of {gpu.total / _MIB_A_GIB:.1f} GiB are free after"
                f" {seconds:.0f} s of waiting. {holders}",
                f"Stop what uses the GPU. {advice}".strip(),
            )
        if progress.should_stop():
            return False
        if not told:
            progress.phase("waiting for GPU memory")
            told = True
        progress.done(
            round(waited),
            f"{gpu.free / _MIB_A_GIB:.1f} of {needed(gpu) / _MIB_A_GIB:.1f} GiB free. {holders}",
        )
        time.sleep(min(_POLL, max(0.01, seconds - waited)))


def _holders(gpu: Gpu) -> str:
    """Which processes use a GPU's memory: pid, command and GiB, the largest first."""
    found = sorted(gpu_memory_by_pid([gpu]).items(), key=lambda pair: -pair[1])
    if not found:
        return "nvidia-smi names no process that uses it (perhaps in another container)."
    named = [
        f"process {pid} ({_command(pid)}) {memory / _MIB_A_GIB:.1f} GiB"
        for pid, memory in found[:_MOST_NAMED]
    ]
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return f"In use by {', '.join(named)}{more}."


def _command(pid: int) -> str:
    """A process's name or the script it runs, without arguments: those may hold keys."""
    try:
        process = psutil.Process(pid)
        words = process.cmdline()
        name = process.name()
    except psutil.Error:
        return "another user's or container's"
    if "-m" in words[:4]:
        return f"python -m {words[words.index('-m') + 1]}" if words[-1] != "-m" else name
    scripts = [word for word in words[1:3] if word.endswith(".py")]
    return Path(scripts[0]).name if scripts else name


def _smi(*arguments: str) -> str:
    executable = shutil.which("nvidia-smi")
    if executable is None:
        return ""
    try:
        done = subprocess.run([executable, *arguments], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):  # a driver that does not answer: as if there were no GPU
        return ""
    return done.stdout
