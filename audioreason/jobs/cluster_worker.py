"""What runs a job on a cluster's node: `python -m audioreason.jobs.cluster_worker JOBDIR`, started by Ray.

It does what the local worker does, without a queue: it takes the job's lock, works, and writes how it ended.
Ray started it and Ray ends it. Its output goes through the sieve into `log.txt`.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from audioreason.workspace import FileLock, Workspace, private_files

_LOCK_SECONDS = 30.0  # an attempt whose node was lost may take a moment to go


def main(arguments: list[str]) -> int:
    """Run one attempt; 0 if it came to an end of its own, 1 if the work failed, more if it was not wanted."""
    private_files()
    folder = Path(arguments[0]).resolve()
    if not folder.is_dir():
        sys.stderr.write(f"There is no folder {folder} on this node: it must see the workspace.\n")
        return 2
    from audioreason.jobs.cluster import read_place
    from audioreason.jobs.local import start_sieve
    from audioreason.jobs.processes import TOKEN_VARIABLE
    from audioreason.jobs.spec import read_spec, read_state
    from audioreason.jobs.worker import work

    place = read_place(folder)
    if place.token != os.environ.get(TOKEN_VARIABLE):
        return 4  # a later attempt was submitted: this one is not wanted
    lock = FileLock(folder / "lock")
    give_up = time.monotonic() + _LOCK_SECONDS
    while not lock.acquire():
        if time.monotonic() > give_up:
            sys.stderr.write("Another process still works on this job.\n")
            return 3
        time.sleep(0.1)
    environment = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    environment["AUDIOREASON_WORKSPACE"] = str(folder.parent.parent)
    with (folder / "log.txt").open("ab") as log, start_sieve(folder, environment, log) as pipe:
        sys.stdout.flush()
        os.dup2(pipe.fileno(), 1)
        os.dup2(pipe.fileno(), 2)
    spec = read_spec(folder)
    if not spec.needs.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # as on one machine: what leased no GPU sees none
    work(Workspace(folder.parent.parent), folder, place.token, place.attempt, spec.grace)
    state = read_state(folder)
    return 1 if state is None or state.ending == "failed" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
