"""What running jobs use now: CPU, memory and GPU memory of a worker and everything under it.

Knows processes by their pid and creation time; knows nothing about the queue.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import psutil

from audioreason.engines.gpus import gpu_memory_by_pid

_EVERY = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Usage:
    """`cpu` in cores, `memory` in resident bytes, `gpu_memory` in MiB or None without a GPU."""

    cpu: float
    memory: int
    gpu_memory: int | None
    processes: int


class ResourceWatch:
    """Remembers processes between calls, which CPU use is measured by; one for a process, any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._trees: dict[int, dict[int, psutil.Process]] = {}
        self._found: dict[int, tuple[float, Usage | None]] = {}
        self._gpu: tuple[float, dict[int, int]] = (0.0, {})

    def usage(self, pid: int | None) -> Usage | None:
        """What the tree under `pid` uses; None if it is gone. The first call for a pid says 0 for the CPU."""
        if pid is None:
            return None
        with self._lock:
            now = time.monotonic()
            before = self._found.get(pid)
            if before is None or now - before[0] >= _EVERY:
                self._found[pid] = (now, self._measure(pid, now))
                for old in [key for key, (when, _) in self._found.items() if now - when > 60]:
                    self._found.pop(old)
                    self._trees.pop(old, None)
            return self._found[pid][1]

    def _measure(self, pid: int, now: float) -> Usage | None:
        try:
            root = psutil.Process(pid)
            tree = [root, *root.children(recursive=True)]
        except psutil.Error:
            self._trees.pop(pid, None)
            return None
        known = self._trees.get(pid, {})
        # psutil compares creation times, so a reused pid is another process
        kept = {p.pid: known[p.pid] if known.get(p.pid) == p else p for p in tree}
        self._trees[pid] = kept
        cpu, memory, count = 0.0, 0, 0
        for process in kept.values():
            try:
                with process.oneshot():
                    cpu += process.cpu_percent() / 100
                    memory += process.memory_info().rss
                count += 1
            except psutil.Error:
                continue  # it ended while we looked
        if now - self._gpu[0] >= _EVERY:
            self._gpu = (now, gpu_memory_by_pid())
        gpu = sum(self._gpu[1].get(member, 0) for member in kept) if self._gpu[1] else None
        return Usage(round(cpu, 3), memory, gpu, count)


_watch = ResourceWatch()


def usage(pid: int | None) -> Usage | None:
    """What the job whose worker is `pid` uses now; measured at most once a second, shared by all pages."""
    return _watch.usage(pid)
