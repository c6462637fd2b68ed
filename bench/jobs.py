"""How soon a job shows progress, and what watching five running ones costs a tab.

Targets (issue 5): launch to first progress of an evaluation < 2 s; monitor < 50 ms of CPU a second with
five running jobs. `import audioreason.evaluate` is measured in turn, since that is most of the first.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from audioreason.jobs import actions
from audioreason.jobs.queue import reconcile
from audioreason.jobs.resources import usage
from audioreason.jobs.watch import job, list_jobs, metrics, tail_log
from audioreason.workspace import Workspace
from bench.report import write
from tests.servers import FakeServer, Text

ROUNDS = 5
JOBS = 5


def main() -> None:
    """Measure both and write them."""
    os.environ["AUDIOREASON_CPU_JOBS"] = str(JOBS)
    with tempfile.TemporaryDirectory() as folder, FakeServer(Text("ANSWER: two", after=0.05)) as server:
        # workers start from compiled code, as they do wherever Python may keep it
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "compiled")
        workspace = Workspace.open(Path(folder) / "workspace")
        settings = {"endpoints": [server.base_url], "concurrency": 2, "limit": 4}
        launched: list[float] = []
        imported: list[float] = []
        _launch(workspace, settings)
        for _ in range(ROUNDS):
            launched.append(_launch(workspace, settings))
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import audioreason.evaluate"], check=True)
            imported.append(time.perf_counter() - start)
        poll = _poll(workspace, settings | {"limit": 320, "samples": 8})
    write(
        "jobs",
        [
            {"what": "launch to first progress (s)", "median": _median(launched), "target": "< 2"},
            {"what": "import audioreason.evaluate (s)", "median": _median(imported), "target": ""},
            {"what": f"one poll of {JOBS} running jobs (ms CPU)", "median": poll, "target": "< 50 a second"},
        ],
    )


def _launch(workspace: Workspace, settings: dict[str, object]) -> float:
    start = time.perf_counter()
    job_id = actions.submit(workspace, "evaluate", settings)
    while job(workspace, job_id).phase not in ("prepare", "generate", "score"):
        time.sleep(0.01)
    took = time.perf_counter() - start
    actions.wait_until_over(workspace, job_id, 60)
    return took


def _poll(workspace: Workspace, settings: dict[str, object]) -> float:
    """CPU milliseconds of what a monitor reads once a second, the median of ten."""
    ids = [actions.submit(workspace, "evaluate", settings) for _ in range(JOBS)]
    while not all(job(workspace, job_id).phase == "generate" for job_id in ids):
        time.sleep(0.1)
    used = []
    for _ in range(10):
        time.sleep(1.0)
        start = time.process_time()
        reconcile(workspace)
        for view in list_jobs(workspace):
            usage(view.pid)
        tail_log(workspace, ids[0])
        metrics(workspace, ids[0])
        used.append(1000 * (time.process_time() - start))
    for job_id in ids:
        actions.stop(workspace, job_id)
    for job_id in ids:
        actions.wait_until_over(workspace, job_id, 60)
    return _median(used)


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 2)


if __name__ == "__main__":
    main()
