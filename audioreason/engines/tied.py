"""The one way in which a server that the lab starts ends with its parent: the parent holds the other end of
the server's standard input, which the kernel closes whenever the parent is gone, even if it was killed.

The lab's own engine looks for that itself (`wait_for_parent`). A program that does not know of it is run by

    python -m audioreason.engines.tied PROGRAM ARGUMENT...

which ends the program and every process that it started: when standard input closes, at SIGTERM or SIGINT,
and when the program ends by itself. It returns when all of them are gone, with the program's status (128 + N
if signal N ended it, as in a shell; 127 if it cannot be started). Knows nothing about what the program does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import psutil

GRACE = 10.0  # seconds from SIGTERM to SIGKILL
_KILLED = 10.0  # seconds for what was killed to go; a process in the middle of a system call may need some
_POLL = 0.2
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def tied(command: Sequence[str]) -> list[str]:
    """The command that runs `command` tied to whoever starts it with a pipe as its standard input."""
    return [sys.executable, "-P", "-m", "audioreason.engines.tied", *command]


def wait_for_parent(seconds: float | None = None) -> bool:
    """Wait until standard input closes, `seconds` at most; True if it did. What arrives there is dropped."""
    ready, _, _ = select.select([0], [], [], seconds)
    return bool(ready) and not os.read(0, 4096)


def main(command: Sequence[str]) -> int:
    """Run a program until it ends or shall end; returns the status, when nothing of it is left."""
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        asked = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    _adopt_orphans()
    try:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"{command[0]} cannot be started ({error.strerror or error}).", file=sys.stderr, flush=True)
        return 127
    while program.poll() is None and not asked and not wait_for_parent(_POLL):
        pass
    if program.poll() is None:
        program.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(GRACE)
    deadline = time.monotonic() + _KILLED
    while (left := _left()) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(psutil.Error):  # gone, or another user's
                process.kill()
        time.sleep(0.02)
    status = program.poll()
    if status is None:
        return 128 + signal.SIGKILL  # it was killed, and the kernel has not let go of it yet
    return status if status >= 0 else 128 - status


def _adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none is out of sight. Linux only;
    elsewhere those that stay in the group are seen."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _left() -> list[psutil.Process]:
    """What is left of the program: descendants, and members of this process's group. Zombies are not."""
    me = psutil.Process()
    found = {process.pid: process for process in me.children(recursive=True)}
    if os.getpgid(0) == me.pid:  # a group of its own; else others may be in it
        for process in psutil.process_iter():
            with contextlib.suppress(OSError):
                if process.pid != me.pid and os.getpgid(process.pid) == me.pid:
                    found[process.pid] = process
    return [process for process in found.values() if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
