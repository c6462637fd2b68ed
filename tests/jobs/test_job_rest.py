"""Self-training as a job: killed, stopped or left by its server in mid-round, it comes to the same end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from audioreason.jobs import actions
from audioreason.jobs import rows as table
from audioreason.jobs.watch import job, tail_log
from audioreason.runs import run_folder
from audioreason.soundcheck import generate_dataset
from audioreason.workspace import Workspace
from tests.jobs.conftest import everyone
from tests.jobs.helpers import gone, until, until_state
from tests.rest.rest_lab import LISTENER, LISTENER_PROMPT, lines, outcome

pytestmark = pytest.mark.slow

_SETTINGS = {**LISTENER, "eval_limit": 12, "steps": 6, "concurrency": 4}


Moment = Callable[[], bool]


def submit(workspace: Workspace, name: str) -> str:
    return actions.submit(workspace, "rest", _SETTINGS | {"name": name})


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the experiment comes to if nothing disturbs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setenv("OMP_NUM_THREADS", "1")
        workspace = Workspace.open(tmp_path_factory.mktemp("calm") / "workspace")
        generate_dataset(workspace.datasets / "small", 12, seed=3)
        job_id = submit(workspace, "exp")
        view = until_state(workspace, job_id, "finished", "failed", "crashed", "stopped", seconds=300)
        assert view.state == "finished", view.reason
    found = outcome(workspace, "exp")
    answers = found["answers"]
    assert isinstance(answers, list) and len(answers[1]) == 12 * 4 and found["training"]
    return found


@pytest.fixture
def lab(workspace: Workspace) -> Workspace:
    generate_dataset(workspace.datasets / "small", 12, seed=3)
    return workspace


def moments(workspace: Workspace) -> dict[str, Moment]:
    """Points in the middle of phases, in the order in which they come."""
    generated, silent, evaluated = (
        run_folder(workspace, f"exp-r1-{part}") / "predictions.jsonl"
        for part in ("generate", "silent", f"eval-{LISTENER_PROMPT}")
    )
    steps = workspace.adapters / "exp-r1" / "metrics.jsonl"
    return {
        "candidates": lambda: lines(generated) >= 8,
        "silence": lambda: lines(silent) >= 1,
        "training": lambda: lines(steps) >= 2,
        "evaluation": lambda: lines(evaluated) >= 1,
    }


def until_running(workspace: Workspace, job_id: str, moment: Moment) -> None:
    """Wait for a moment in the life of a job that has not ended."""
    until(lambda: moment() or job(workspace, job_id).over, seconds=180)
    view = job(workspace, job_id)
    assert view.state == "running", (
        f"it was {view.state} before the moment: {view.reason} {said(workspace, job_id)}"
    )


def finish_as(calm: dict[str, object], workspace: Workspace, job_id: str, attempts: int) -> None:
    """See that the job finishes in so many attempts and comes to the same as the calm one."""
    view = until_state(workspace, job_id, "finished", "failed", "crashed", "stopped", seconds=300)
    assert view.state == "finished", f"{view.reason} {said(workspace, job_id)}"
    until(lambda: not everyone(workspace), what="something stayed behind")
    found = outcome(workspace, "exp")
    assert [name for name in calm if found[name] != calm[name]] == []
    assert view.attempt == attempts


def said(workspace: Workspace, job_id: str) -> list[str]:
    """The last lines of a job's log, for a failure that may not come twice."""
    return [line.text for line in tail_log(workspace, job_id)][-15:]


def test_workers_killed_in_the_middle_of_phases_lose_nothing(lab: Workspace, calm: dict[str, object]) -> None:
    job_id = submit(lab, "exp")
    when = moments(lab)
    for phase in ("candidates", "training", "evaluation"):
        until_running(lab, job_id, when[phase])
        family = everyone(lab)
        pid = next(row.pid for row in table.peek(lab) if row.id == job_id)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        view = until_state(lab, job_id, "crashed")
        assert "ended without a word" in view.reason
        until(lambda: all(gone(one.pid) for one in family), what="a server stayed behind")  # noqa: B023
        actions.resume(lab, job_id)
    finish_as(calm, lab, job_id, attempts=4)


def test_stopped_in_the_middle_of_phases_it_goes_on_as_if_nothing_had_been(
    lab: Workspace, calm: dict[str, object]
) -> None:
    job_id = submit(lab, "exp")
    when = moments(lab)
    for phase in ("silence", "training"):
        until_running(lab, job_id, when[phase])
        actions.stop(lab, job_id)
        view = until_state(lab, job_id, "stopped", seconds=90)
        assert view.reason == "The experiment goes on where it stopped."
        until(lambda: not everyone(lab), what="something stayed behind")
        actions.resume(lab, job_id)
    finish_as(calm, lab, job_id, attempts=3)


def test_a_server_that_dies_is_started_again_and_the_job_goes_on(
    lab: Workspace, calm: dict[str, object]
) -> None:
    job_id = submit(lab, "exp")
    when = moments(lab)
    for phase in ("candidates", "evaluation"):
        until_running(lab, job_id, when[phase])
        server = [one for one in everyone(lab) if "audioreason.engines.server" in one.cmdline()][-1]
        server.kill()
    finish_as(calm, lab, job_id, attempts=1)
    assert tail_log(lab, job_id, search="it is started again in")
