"""Who is still there: whether a job's worker lives, which processes belong to it, and how to end them.

A lock proves life. A process is only ever signalled if it is proven to belong to the job: the worker by its
creation time, everything else by the attempt's token in its environment. A pid alone proves nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

TOKEN_VARIABLE = "AUDIOREASON_JOB"  # noqa: S105 - a mark, not a secret
_SAME_START = 0.02  # seconds; psutil derives it from clock ticks of 10 ms


def holds_lock(folder: Path) -> bool:
    """Whether a worker holds the job's lock now. Shared probes do not take each other for a worker."""
    try:
        fd = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def start_time(pid: int) -> float | None:
    """When a running process was created, seconds since 1970; None if there is none (a zombie counts so)."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def is_same(pid: int | None, started: float | None) -> bool:
    """Whether the process that had this pid and creation time is still running."""
    if pid is None or started is None:
        return False
    found = start_time(pid)
    return found is not None and abs(found - started) <= _SAME_START


def belonging(token: str, pid: int | None, started: float | None) -> list[psutil.Process]:
    """Every process of one attempt but the caller: the worker, its group, and what escaped from the group."""
    found = []
    leader = is_same(pid, started)
    for process in psutil.process_iter():
        if process.pid == os.getpid() or not _alive(process):
            continue
        mine = leader and process.pid == pid
        if not mine and token:
            try:
                mine = process.environ().get(TOKEN_VARIABLE) == token
            except (psutil.Error, OSError):  # another user's process, or gone meanwhile: not ours
                mine = False
        if not mine and leader:
            # the group of a worker that lives is its own, whatever its members did to their environment
            mine = _group(process.pid) == pid
        if mine:
            found.append(process)
    return found


def terminate(pid: int | None, started: float | None) -> bool:
    """Send SIGTERM to a worker, if it is still the same process; True if it was."""
    if pid is None or not is_same(pid, started):
        return False
    try:
        psutil.Process(pid).terminate()
    except psutil.Error:
        return False
    return True


def kill(processes: Sequence[psutil.Process], wait: float = 2.0) -> list[psutil.Process]:
    """SIGKILL to each; returns those that are still there after `wait` seconds.

    psutil refuses to signal a pid whose creation time has changed.
    """
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            continue  # reported below as still there
    deadline = time.monotonic() + wait
    left = [process for process in processes if _alive(process)]
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = [process for process in left if _alive(process)]
    return left


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EPERM):
            return None
        raise
