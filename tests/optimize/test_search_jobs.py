"""Searches as jobs and commands: planned, started, killed, gone on with, shown."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from audioreason.cli import app
from audioreason.errors import JobError
from audioreason.jobs import actions
from audioreason.jobs import rows as table
from audioreason.jobs.kinds import find_kind
from audioreason.jobs.watch import job, tail_log
from audioreason.optimize.record import list_optimizations, read_optimization, read_splits, read_verdicts
from audioreason.prompts import dump_prompt
from audioreason.runs import run_folder
from audioreason.runs.storage import merged_predictions
from audioreason.workspace import write_atomic
from tests.jobs.helpers import until, until_state
from tests.optimize.conftest import SEED, Stage, answer, identity
from tests.servers import Request, Text


def submit(stage: Stage, **changes: object) -> str:
    write_atomic(stage.workspace.prompts / "plain.md", dump_prompt(SEED))
    settings = stage.config.model_dump() | {
        "endpoint": stage.task.base_url,
        "model": "fake-model",
        "proposer": stage.writer.base_url,
        "proposer_model": "writer",
        **changes,
    }
    return actions.submit(stage.workspace, "optimize", settings)


@pytest.mark.slow
def test_a_job_that_is_stopped_goes_on_without_a_repeated_request(stage: Stage) -> None:
    stage.task.reply = lambda request: Text(answer(request).content, after=0.05)
    job_id = submit(stage)
    until(lambda: len(stage.task.requests) > 30, seconds=120, what="30 requests")
    actions.stop(stage.workspace, job_id)
    until_state(stage.workspace, job_id, "stopped", seconds=90)
    actions.resume(stage.workspace, job_id)
    until_state(stage.workspace, job_id, "finished", seconds=180)

    found = read_optimization(stage.workspace, job_id)
    assert found.standing == "finished" and found.state.attempt == 2
    # each start asks once more how the server hears; what is asked about items comes once
    seen = Counter(identity(request) for request in stage.task.requests if "in clip" in request.text)
    assert set(seen.values()) == {1}
    assert {one.outcome for one in read_verdicts(stage.workspace, job_id)} <= {"correct", "wrong"}
    assert job(stage.workspace, job_id).state == "finished"


@pytest.mark.slow
def test_a_job_whose_worker_is_killed_repeats_only_what_was_in_flight(stage: Stage) -> None:
    stage.task.reply = lambda request: Text(answer(request).content, after=0.2)
    job_id = submit(stage)
    folder = stage.workspace.optimize / job_id
    tests = [run_folder(stage.workspace, f"{job_id}-test-{who}") for who in ("seed", "winner")]

    def kept() -> int:
        """Answers about items that are on disk."""
        order = [(item_id, 0) for item_id in read_splits(folder)["test"]]
        tested = sum(1 for run in tests for _ in merged_predictions(run, order))
        return lines(folder / "answers.jsonl") + tested

    moments: list[Callable[[], bool]] = [
        lambda: lines(folder / "answers.jsonl") >= 6,  # `state.json` knows of none of them yet
        lambda: lines(folder / "trials.jsonl") >= 3 and stage.task.in_flight >= 4,
        lambda: lines(tests[1] / "predictions.jsonl") >= 1,
    ]
    lost = 0
    for number, moment in enumerate(moments):
        until(moment, seconds=120, what=f"moment {number} did not come")
        pid = next(row.pid for row in table.peek(stage.workspace) if row.id == job_id)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until_state(stage.workspace, job_id, "crashed")
        assert read_optimization(stage.workspace, job_id).standing == "interrupted"
        in_flight = len(about_items(stage)) - lost - kept()
        assert 0 <= in_flight <= stage.config.concurrency
        lost += in_flight
        actions.resume(stage.workspace, job_id)
    view = until_state(stage.workspace, job_id, "finished", "failed", seconds=180)
    assert view.state == "finished", view.reason

    found = read_optimization(stage.workspace, job_id)
    assert found.standing == "finished" and found.state.attempt == len(moments) + 1
    seen = Counter(identity(request) for request in about_items(stage))
    assert lost and sum(seen.values()) - len(seen) == lost and kept() == len(seen)
    written = Counter(map(identity, stage.writer.requests))
    assert sum(written.values()) - len(written) <= len(moments) * 2  # how it hears is asked at each start
    # what a killed attempt spent is counted, or a budget would be exceeded
    assert found.state.spent.requests == lines(folder / "answers.jsonl")
    assert found.state.spent.proposer_requests == len(found.proposals)
    verdicts = [(one.candidate, one.item_id) for one in read_verdicts(stage.workspace, job_id)]
    assert len(set(verdicts)) == len(verdicts)
    assert lines(folder / "trials.jsonl") == len(found.trials)


@pytest.mark.slow
def test_an_engine_of_its_own_that_dies_is_started_again_and_the_search_goes_on(stage: Stage) -> None:
    job_id = submit(stage, endpoint="embedded", model="", max_tokens=8)
    answers = stage.workspace.optimize / job_id / "answers.jsonl"
    until(lambda: lines(answers) >= 6, seconds=180, what="6 answers")
    engines = [
        process
        for process in psutil.process_iter(["cmdline"])
        if "audioreason.engines.server" in (process.info["cmdline"] or [])
        and str(stage.workspace.root) in process.info["cmdline"]
    ]
    engines[-1].kill()
    view = until_state(stage.workspace, job_id, "finished", "failed", seconds=300)
    assert view.state == "finished" and view.attempt == 1, view.reason
    assert tail_log(stage.workspace, job_id, search="it is started again in")


def about_items(stage: Stage) -> list[Request]:
    """What was asked of the task model but how it hears."""
    return [request for request in stage.task.requests if "in clip" in request.text]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def test_the_plan_counts_at_least_what_is_asked(stage: Stage) -> None:
    write_atomic(stage.workspace.prompts / "plain.md", dump_prompt(SEED))
    kind = find_kind("optimize")
    for optimizer in ("mipro", "gepa"):
        stage.task.requests.clear()
        stage.writer.requests.clear()
        values = stage.config.model_dump() | {"optimizer": optimizer, "endpoint": stage.task.base_url}
        plan = kind.plan(kind.settings(values | {"proposer": stage.writer.base_url}), stage.workspace)

        stage.run(optimizer, optimizer=optimizer)

        assert plan.requests is not None
        assert plan.requests / 4 < len(stage.task.requests) + len(stage.writer.requests) <= plan.requests


def test_settings_that_do_not_fit_say_which(stage: Stage) -> None:
    kind = find_kind("optimize")
    with pytest.raises(JobError, match="GEPA writes no demos"):
        kind.settings({"optimizer": "gepa", "demos": 2})
    with pytest.raises(JobError, match="Did you mean optimizer"):
        kind.settings({"optimiser": "gepa"})
    assert "not held out" in next(name for name in kind.presets if "paper" in name)
    for preset in kind.presets.values():
        kind.settings(preset)


def test_the_command_plans_runs_lists_and_shows(stage: Stage) -> None:
    write_atomic(stage.workspace.prompts / "plain.md", dump_prompt(SEED))
    file = stage.workspace.root / "search.json"
    file.write_text(stage.config.model_dump_json())
    base = ["--workspace", str(stage.workspace.root), "optimize"]
    runner = CliRunner()
    options = [
        "--config", str(file), "--endpoint", stage.task.base_url, "--proposer", stage.writer.base_url,
        "--optimizer", "mipro", "--id", "cli", "--budget-requests", "80",
    ]  # fmt: skip

    planned = runner.invoke(app, [*base, *options, "--plan", "--json"])
    assert planned.exit_code == 0, planned.output
    assert json.loads(planned.stdout)["requests"] > 0 and not stage.task.requests
    ran = runner.invoke(app, [*base, *options, "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["standing"] in ("finished", "budget")
    listed = runner.invoke(app, [*base, "list", "--json"])
    assert [one["id"] for one in json.loads(listed.stdout)] == ["cli"]
    shown = runner.invoke(app, [*base, "show", "cli"])
    assert "minibatch" in shown.stdout and "cli is" in shown.stderr
    assert [one.id for one in list_optimizations(stage.workspace)] == ["cli"]


def test_reading_searches_imports_neither_dspy_nor_torch() -> None:
    code = (
        "import sys; import audioreason.optimize.record, audioreason.jobs.kinds.optimize, audioreason.cli;"
        "from audioreason.jobs.kinds import list_kinds; list_kinds();"
        "print([n for n in ('dspy', 'torch', 'litellm', 'optuna') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
