"""Start a worker on this machine: a process in its own session that outlives whoever started it.

Knows nothing about the queue: which job, with which GPUs and under which token is decided there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO

from audioreason.errors import JobError
from audioreason.jobs.machine import GPU_LIST_VARIABLE, gpu_ids
from audioreason.jobs.processes import TOKEN_VARIABLE, identity
from audioreason.workspace import LAB_TOKEN_VARIABLE, Workspace

# no library that a job uses calls home
NO_TELEMETRY = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}

_children: list[subprocess.Popen[bytes]] = []
_children_lock = threading.Lock()


def spawn(workspace: Workspace, folder: Path, token: str, gpus: Sequence[str], where: str) -> tuple[int, str]:
    """Start the worker of the job in `folder`; returns its pid and identity.

    Its output goes to log.txt, keys taken out. It sees the GPUs leased to it and no other. Keys reach it
    through the environment alone. `where` becomes its current folder, the workspace's if that is gone.

    Raises:
        JobError: if the system starts no process, or the disk is full.
    """
    reap()
    folder_of_job = where if where and Path(where).is_dir() else workspace.root
    environment = os.environ | NO_TELEMETRY
    environment.pop(TOKEN_VARIABLE, None)
    environment["AUDIOREASON_WORKSPACE"] = str(workspace.root)
    own = {name: value for name, value in environment.items() if name != LAB_TOKEN_VARIABLE} | {
        TOKEN_VARIABLE: token,
        GPU_LIST_VARIABLE: ",".join(gpu_ids()),
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-P", "-m", "audioreason.jobs.worker", str(folder)]
    try:
        # whatever the worker and its children say goes through a sieve of its own into the log
        with (
            (folder / "log.txt").open("ab") as log,
            closing(start_sieve(folder_of_job, environment, log)) as pipe,
        ):
            process = subprocess.Popen(
                command,
                cwd=folder_of_job,
                env=own,
                stdin=subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,
            )
    except OSError as error:
        raise JobError(
            f"The worker of {folder.name} could not be started ({error.strerror or error})."
        ) from error
    with _children_lock:
        _children.append(process)
    return process.pid, identity(process.pid) or ""


def start_sieve(folder: str | Path, environment: Mapping[str, str], log: IO[bytes]) -> IO[bytes]:
    """Start what takes keys out of a log on the way into it; returns the pipe that leads there."""
    command = [sys.executable, "-P", "-m", "audioreason.jobs.sieve", str(log.name)]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip
    with _children_lock:
        _children.append(process)
    assert process.stdin is not None
    return process.stdin


def reap() -> None:
    """Collect workers of this process that have ended, so that they do not stay as zombies."""
    with _children_lock:
        _children[:] = [process for process in _children if process.poll() is None]
