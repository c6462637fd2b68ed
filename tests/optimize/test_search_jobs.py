"""Searches as jobs and commands: planned, started, killed, gone on with, shown."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest
from typer.testing import CliRunner

from audioreason.cli import app
from audioreason.errors import JobError
from audioreason.jobs import actions
from audioreason.jobs.kinds import find_kind
from audioreason.jobs.watch import job
from audioreason.optimize.record import list_optimizations, read_optimization, read_verdicts
from audioreason.prompts import dump_prompt
from audioreason.workspace import write_atomic
from tests.jobs.helpers import until, until_state
from tests.optimize.conftest import SEED, Stage, answer, identity
from tests.servers import Text


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
