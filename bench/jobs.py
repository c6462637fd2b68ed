"""How soon a job shows progress, and what watching five running ones costs a tab.

Targets (issue 5): launch to first progress of an evaluation < 2 s; monitor < 50 ms of CPU a second with
five running jobs. `import audioreason.evaluate` is measured in turn, since that is most of the first. The
monitor is the lab's server with one tab of Chromium on the Jobs page; without Chromium it is left out.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from audioreason.inference.endpoint import save_endpoint
from audioreason.jobs import actions
from audioreason.jobs.queue import reconcile
from audioreason.jobs.resources import usage
from audioreason.jobs.watch import job, list_jobs, metrics, tail_log
from audioreason.workspace import Workspace
from bench.report import write
from tests.servers import FakeServer, Text

ROUNDS = 5
JOBS = 5
WATCHED = 30.0  # seconds: six drawings of the charts
SETTLED = 20.0  # seconds after which a server without pages looks at nothing


def main() -> None:
    """Measure both and write them."""
    os.environ["AUDIOREASON_CPU_JOBS"] = str(JOBS)
    with tempfile.TemporaryDirectory() as folder, FakeServer(Text("ANSWER: two", after=0.05)) as server:
        # workers start from compiled code, as they do wherever Python may keep it
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "compiled")
        workspace = Workspace.open(Path(folder) / "workspace")
        save_endpoint(workspace, server.endpoint)
        settings: dict[str, object] = {"concurrency": 2, "limit": 4}
        launched: list[float] = []
        imported: list[float] = []
        _launch(workspace, settings)
        for _ in range(ROUNDS):
            launched.append(_launch(workspace, settings))
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import audioreason.evaluate"], check=True)
            imported.append(time.perf_counter() - start)
        with _running(workspace, settings | {"limit": 320, "samples": 16}) as ids:
            poll = _poll(workspace, ids[0])
            tab, alone = _tab(workspace, ids[0])
    rows: list[dict[str, object]] = [
        {"what": "launch to first progress (s)", "median": _median(launched), "target": "< 2"},
        {"what": "import audioreason.evaluate (s)", "median": _median(imported), "target": ""},
        {"what": f"one poll of {JOBS} running jobs (ms CPU)", "median": poll, "target": ""},
    ]
    if tab is not None:
        what = f"server with one tab on {JOBS} running jobs (ms CPU a second)"
        rows.append({"what": what, "median": tab, "target": "< 50"})
        rows.append({"what": "the same server without a tab", "median": alone, "target": ""})
    write("jobs", rows)


def _launch(workspace: Workspace, settings: dict[str, object]) -> float:
    start = time.perf_counter()
    job_id = actions.submit(workspace, "evaluate", settings)
    while job(workspace, job_id).phase not in ("prepare", "generate", "score"):
        time.sleep(0.01)
    took = time.perf_counter() - start
    actions.wait_until_over(workspace, job_id, 60)
    return took


@contextmanager
def _running(workspace: Workspace, settings: dict[str, object]) -> Iterator[list[str]]:
    """Five evaluations, each with requests in flight."""
    ids = [actions.submit(workspace, "evaluate", settings) for _ in range(JOBS)]
    try:
        while not all(job(workspace, job_id).phase == "generate" for job_id in ids):
            time.sleep(0.1)
        yield ids
    finally:
        for job_id in ids:
            actions.delete(workspace, job_id, stop_first=True)


def _poll(workspace: Workspace, job_id: str) -> float:
    """CPU milliseconds of what a monitor reads once a second, the median of ten."""
    used = []
    for _ in range(10):
        time.sleep(1.0)
        start = time.process_time()
        reconcile(workspace)
        for view in list_jobs(workspace):
            usage(view.pid)
        tail_log(workspace, job_id)
        metrics(workspace, job_id)
        used.append(1000 * (time.process_time() - start))
    return _median(used)


def _tab(workspace: Workspace, job_id: str) -> tuple[float | None, float | None]:
    """CPU milliseconds a second of the lab's server, while one tab shows a job and after it was closed."""
    from playwright.sync_api import Error, sync_playwright

    from tests.browser.conftest import ARGUMENTS, CHROMIUM, sign_in, start_lab

    lab, url = start_lab(workspace)
    try:
        with sync_playwright() as playwright:
            try:
                chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            except Error:
                return None, None
            context = chromium.new_context(viewport={"width": 1440, "height": 900})
            sign_in(context, url)
            page = context.new_page()
            page.goto(f"{url}/jobs?job={job_id}")
            page.locator(".stVegaLiteChart").first.wait_for(timeout=60_000)
            time.sleep(5)
            tab = _cpu(lab.pid)
            assert all(not job(workspace, other.id).over for other in list_jobs(workspace)[:JOBS])
            chromium.close()
            time.sleep(SETTLED)
            return tab, _cpu(lab.pid)
    finally:
        lab.terminate()
        lab.wait(20)


def _cpu(pid: int) -> float:
    """CPU milliseconds a second of one process, its threads together, over `WATCHED` seconds."""
    process = psutil.Process(pid)
    before, start = process.cpu_times(), time.monotonic()
    time.sleep(WATCHED)
    after, took = process.cpu_times(), time.monotonic() - start
    return round(1000 * (after.user + after.system - before.user - before.system) / took, 1)


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 2)


if __name__ == "__main__":
    main()
