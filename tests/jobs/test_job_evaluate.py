"""Evaluations as jobs against a server on loopback: killed, resumed, stopped, in a matrix."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from audioreason.errors import JobError
from audioreason.jobs import actions
from audioreason.jobs import rows as table
from audioreason.jobs.watch import job
from audioreason.runs.record import run_folder, run_status
from audioreason.runs.storage import read_parquet
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.jobs.helpers import until, until_state
from tests.servers import FakeServer, Status, Text

N = 40


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(lambda request: Text("ANSWER: two", after=0.1)) as running:
        yield running


def submit(workspace: Workspace, server: FakeServer, **values: object) -> str:
    settings = {"dataset": "tiny", "endpoints": [server.base_url], "concurrency": 4, "max_tokens": 50}
    return actions.submit(workspace, "evaluate", settings | values)


def keys(workspace: Workspace, run_id: str) -> Counter[tuple[str, int]]:
    rows = read_parquet(run_folder(workspace, run_id) / "predictions.parquet")
    return Counter((row["item_id"], row["sample"]) for row in rows)


def test_an_evaluation_makes_a_run_of_its_own_name_and_reports_its_score(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    tiny_dataset(n=8)
    job_id = submit(workspace, server)
    view = until_state(workspace, job_id, "finished", "failed", seconds=60)
    assert view.state == "finished", view.reason
    assert view.runs == (job_id,) and run_status(run_folder(workspace, job_id)) == "finished"
    assert view.result is not None
    assert (view.result["run_id"], view.result["n"], view.result["answered"]) == (job_id, 8, 8)
    assert view.result["strict"]["accuracy"] == 0.25
    assert [phase.name for phase in view.phases] == ["start", "prepare", "generate", "score"]
    plan = actions.plan(workspace, "evaluate", {"dataset": "tiny", "endpoints": [server.base_url]})
    assert plan.tokens is not None and plan.seconds is not None and "1 past run" in plan.basis


def kill_and_resume(workspace: Workspace, server: FakeServer, moments: list[float]) -> None:
    """Kill the worker at these moments (seconds after its start), then see a complete run."""
    job_id = submit(workspace, server, samples=2)
    for moment in moments:
        time.sleep(moment)
        row = next(row for row in table.peek(workspace) if row.id == job_id)
        if row.pid is not None and row.state == "running":
            os.kill(row.pid, signal.SIGKILL)
        if until_state(workspace, job_id, "crashed", "finished").state == "finished":
            break
        actions.resume(workspace, job_id)
    view = until_state(workspace, job_id, "finished", "failed", seconds=60)
    assert view.state == "finished", view.reason
    found = keys(workspace, job_id)
    assert len(found) == 2 * N and set(found.values()) == {1}
    assert view.result is not None and view.result["answered"] == N  # items


def test_killed_at_three_moments_a_run_ends_without_gap_or_duplicate(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    tiny_dataset(n=N)
    kill_and_resume(workspace, server, [0.7, 1.8, 2.2])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_killed_at_random_moments_a_run_ends_without_gap_or_duplicate(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer, seed: int
) -> None:
    tiny_dataset(n=N)
    chance = random.Random(seed)
    kill_and_resume(workspace, server, [chance.uniform(0.2, 4.0) for _ in range(3)])


def test_a_stopped_evaluation_goes_on_where_it_stopped(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    tiny_dataset(n=N)
    job_id = submit(workspace, server)
    until(lambda: job(workspace, job_id).phase == "generate" and job(workspace, job_id).done >= 4)
    actions.stop(workspace, job_id)
    view = until_state(workspace, job_id, "stopped")
    assert view.done >= 4 and "continued" in view.reason
    asked = len(server.requests)
    actions.resume(workspace, job_id)
    until_state(workspace, job_id, "finished", seconds=60)
    assert set(keys(workspace, job_id).values()) == {1} and len(keys(workspace, job_id)) == N
    assert len(server.requests) - asked < N, "what was answered before the stop was asked again"


def test_a_matrix_makes_one_run_for_each_combination(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    tiny_dataset(n=4)
    parent = submit(workspace, server, prompts=["baseline", "v12"], seeds=[1, 2])
    view = until_state(workspace, parent, "finished", "failed", seconds=90)
    assert view.state == "finished", view.reason
    assert len(view.runs) == 4
    assert all(run_status(run_folder(workspace, run)) == "finished" for run in view.runs)


def test_a_server_that_is_not_there_fails_the_job_with_its_sentence(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    tiny_dataset(n=2)
    server = FakeServer(Status(500))
    with server:
        pass
    job_id = submit(workspace, server)
    view = until_state(workspace, job_id, "failed", seconds=60)
    assert view.reason and "Traceback" not in view.reason
    with pytest.raises(JobError, match="no endpoint named nobody"):
        actions.plan(workspace, "evaluate", {"dataset": "tiny", "endpoints": ["nobody"]})


def test_a_worker_of_an_evaluation_loads_nothing_heavy() -> None:
    """What a job's first second goes into is importing; these are for other kinds of work."""
    heavy = ("torch", "transformers", "streamlit", "openai", "pandas", "librosa", "scipy", "sklearn")
    code = (
        "import sys, audioreason.jobs.worker, audioreason.jobs.kinds.evaluate, audioreason.evaluate;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
