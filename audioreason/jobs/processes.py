"""Who is still there: whether a job's worker lives, which processes belong to it, and how to end them.

A lock proves life. A process is only ever signalled if it is proven to belong to the job: the worker by its
identity (boot and start tick), everything else by the attempt's token in its environment or by the worker's
session. A pid alone proves nothing, nor does the time of day, which may be set back.
"""

from __future__ import annotations

import fcntl
import functools
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

TOKEN_VARIABLE = "AUDIOREASON_JOB"  # noqa: S105 - a mark, not a secret
BEAT = 30.0  # seconds between two signs of life of a worker that has nothing new to say
_LINUX = sys.platform == "linux"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class _Seen:
    """A process as the kernel knows it; `tick` is when it began, in clock ticks on the clock of `clock`."""

    zombie: bool
    session: int
    tick: int


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


def clock() -> float:
    """Seconds on the clock that tells when processes began; on Linux since the boot, and nobody sets it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if _LINUX else time.time()


@functools.cache
def boot() -> str:
    """What tells this run of the machine from every other."""
    if _LINUX:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{psutil.boot_time():.0f}"


def identity(pid: int) -> str | None:
    """`BOOT/TICK` of a running process, which no other process ever has beside its pid; None if it is gone.

    A zombie counts as gone.
    """
    seen = _look(pid)
    return None if seen is None or seen.zombie else f"{boot()}/{seen.tick}"


def is_same(pid: int | None, started: str | None) -> bool:
    """Whether the process that had this pid and identity is still running."""
    return pid is not None and started is not None and identity(pid) == started


def of_this_boot(started: str | None) -> bool:
    """Whether an identity was given since the machine was last started."""
    return started is not None and str(started).rpartition("/")[0] == boot()


def belonging(
    token: str, pid: int | None, started: str | None, last_alive: float | None = None
) -> list[psutil.Process]:
    """Every process of one attempt but the caller: the worker, its session, and what left the session.

    What left the session is known by the token in its environment, with the session it leads. The worker's
    session is known while the worker lives. After its death it is still known if one member began between
    the worker's start and `last_alive` (its last sign of life, on `clock`): the kernel gives a number to no
    other session as long as one member of the old one is there. So a server that wrote over its environment
    (setproctitle does) is found as well.
    """
    marked: set[int] = set()
    seen: dict[int, tuple[psutil.Process, _Seen]] = {}
    for process in psutil.process_iter():
        found = _look(process.pid)
        if found is None or found.zombie:
            continue
        seen[process.pid] = (process, found)
        if token:
            try:
                if process.environ().get(TOKEN_VARIABLE) == token:
                    marked.add(process.pid)
            except (psutil.Error, OSError):  # another user's process, or gone meanwhile: not ours
                continue
    sessions = {number for number in marked if seen[number][1].session == number}
    if pid is not None and _is_workers(pid, started, last_alive, [found for _, found in seen.values()]):
        sessions.add(pid)
    return [
        process
        for process, found in seen.values()
        if process.pid != os.getpid() and (process.pid in marked or found.session in sessions)
    ]


def _is_workers(pid: int, started: str | None, last_alive: float | None, everyone: Sequence[_Seen]) -> bool:
    """Whether the session `pid` is the one that the worker of this pid and identity opened."""
    if is_same(pid, started):
        return True
    leader = _look(pid)
    if started is None or not of_this_boot(started) or last_alive is None:
        return False
    began = int(started.rpartition("/")[2])
    if leader is not None and leader.tick != began:
        return False  # the number is a stranger's now
    known = range(began, int((last_alive + 2 * BEAT) * _TICKS))
    return any(found.session == pid and found.tick in known for found in everyone)


def terminate(pid: int | None, started: str | None) -> bool:
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

    psutil refuses to signal a pid that has become another process.
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


def _look(pid: int) -> _Seen | None:
    """A process, zombie or not; None if there is none of this pid."""
    if not _LINUX:
        try:
            process = psutil.Process(pid)
            zombie = process.status() == psutil.STATUS_ZOMBIE
            return _Seen(zombie, os.getsid(pid), int(process.create_time() * _TICKS))
        except (psutil.Error, OSError):
            return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything; proc(5) from field 3 on
    return _Seen(fields[0] in "ZX", int(fields[3]), int(fields[19]))
