"""Evaluations as jobs against a server on loopback: killed, resumed, stopped, in a matrix."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from audioreason.compare import audio_contribution, choice_stability
from audioreason.errors import ItemError, JobError
from audioreason.inference.endpoint import remove_endpoint, save_endpoint
from audioreason.items import load_dataset
from audioreason.items.splits import split_items
from audioreason.jobs import actions
from audioreason.jobs import rows as table
from audioreason.jobs.resuming import Resumption, resumable
from audioreason.jobs.watch import job
from audioreason.prompts import dump_prompt, load_prompt
from audioreason.runs import Catalog
from audioreason.runs.record import load_record, run_folder, run_status
from audioreason.runs.storage import read_parquet
from audioreason.workspace import Workspace, shipped
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


def stopped(workspace: Workspace, server: FakeServer, **values: object) -> str:
    """An evaluation that was stopped in the middle."""
    job_id = submit(workspace, server, **values)
    until(lambda: job(workspace, job_id).phase == "generate" and job(workspace, job_id).done >= 2)
    actions.stop(workspace, job_id)
    until_state(workspace, job_id, "stopped")
    return job_id


def test_a_run_goes_on_with_the_prompt_it_began_with(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    tiny_dataset(n=N)
    workspace.prompts.mkdir()
    prompt = dump_prompt(load_prompt("v1", []).model_copy(update={"name": "mine", "aliases": ()}))
    (workspace.prompts / "mine.md").write_text(prompt)
    job_id = stopped(workspace, server, prompts=["mine"])
    before = load_record(workspace, job_id).prompt
    (workspace.prompts / "mine.md").write_text(prompt.replace("udio", "UDIO"))
    assert resumable(workspace, job_id).possible
    actions.resume(workspace, job_id)
    view = until_state(workspace, job_id, "finished", "failed", seconds=60)
    assert view.state == "finished", view.reason
    assert load_record(workspace, job_id).prompt == before
    assert not any("UDIO" in request.text for request in server.requests)


def test_a_run_is_not_resumed_where_it_could_not_go_on(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    tiny_dataset(n=N)
    endpoint = server.endpoint.model_copy(update={"name": "there"})
    save_endpoint(workspace, endpoint)
    job_id = stopped(workspace, server, endpoints=["there"])
    remove_endpoint(workspace, "there")
    can = resumable(workspace, job_id)
    assert (can.possible, can.why) == (False, "There is no endpoint named there.")
    with pytest.raises(JobError, match="no endpoint named there"):
        actions.resume(workspace, job_id)
    assert job(workspace, job_id).state == "stopped"
    save_endpoint(workspace, endpoint.model_copy(update={"model": "another"}))
    assert "This run began with the model" in resumable(workspace, job_id).why
    save_endpoint(workspace, endpoint)
    assert resumable(workspace, job_id) == Resumption(True, jobs=(job_id,))
    items = workspace.datasets / "tiny" / "items.jsonl"
    items.write_text(items.read_text().replace("clip 3?", "clip 3, please?"))
    assert "The dataset tiny has changed since this run began" in resumable(workspace, job_id).why
    shutil.rmtree(workspace.datasets / "tiny")
    assert "tiny" in resumable(workspace, job_id).why


def test_time_is_expected_from_runs_of_the_same_model_only(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    tiny_dataset(n=4)
    with (
        FakeServer(Text("ANSWER: two"), models=("fast",)) as fast,
        FakeServer(Text("word " * 40, after=0.3), models=("slow",)) as slow,
    ):
        for server in (fast, slow):
            job_id = submit(workspace, server, prompts=["v1"])
            until_state(workspace, job_id, "finished", seconds=60)

        def expected(server: FakeServer, prompt: str, **values: object) -> tuple[int | None, str]:
            settings = {"dataset": "tiny", "endpoints": [server.base_url], "prompts": [prompt], **values}
            found = actions.plan(workspace, "evaluate", settings)
            return found.tokens, found.basis

        tokens = {name: expected(fast, "v1", model=name)[0] or 0 for name in ("fast", "slow")}
        assert 0 < tokens["fast"] < tokens["slow"]
        # a prompt that one of them never saw is expected from that model's others, known by its address too
        assert expected(slow, "baseline") == (tokens["slow"], "From 1 past run of slow.")
        assert expected(fast, "baseline") == (tokens["fast"], "From 1 past run of fast.")
        assert expected(fast, "v1", model="third")[0] is None
        settings = {
            "dataset": "tiny",
            "endpoints": [fast.base_url, slow.base_url],
            "prompts": ["baseline", "v1"],
        }
        both = actions.plan(workspace, "evaluate", settings)
        assert both.tokens == 2 * (tokens["fast"] + tokens["slow"])
        assert both.basis == "From 2 past runs of fast, slow."


def test_every_way_of_sampling_reaches_the_server(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    tiny_dataset(n=1)
    wanted = {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1}
    until_state(workspace, submit(workspace, server, **wanted), "finished", seconds=60)
    assert {name: server.requests[-1].body[name] for name in wanted} == wanted
    with pytest.raises(JobError, match="repetition_penalty"):
        submit(workspace, server, repetition_penalty=float("inf"))


def test_the_embedded_engine_serves_the_model_that_is_named_or_says_why_not(
    workspace: Workspace, tmp_path: Path
) -> None:
    embedded = {"endpoints": ["embedded"], "limit": 1}
    for model in ("", "pocket-listener", str(shipped("pocket-listener"))):
        actions.plan(workspace, "evaluate", embedded | {"model": model})
    with pytest.raises(JobError, match="cannot serve Qwen/Qwen3-Omni: there is no model in"):
        actions.plan(workspace, "evaluate", embedded | {"model": "Qwen/Qwen3-Omni"})


@pytest.mark.slow
def test_the_embedded_engine_serves_another_folder(workspace: Workspace, tmp_path: Path) -> None:
    copy = tmp_path / "my-listener"
    shutil.copytree(shipped("pocket-listener"), copy)
    settings = {"endpoints": ["embedded"], "limit": 2, "max_tokens": 100, "model": str(copy)}
    job_id = actions.submit(workspace, "evaluate", settings)
    view = until_state(workspace, job_id, "finished", "failed", seconds=180)
    assert view.state == "finished", view.reason
    endpoint = load_record(workspace, job_id).endpoint
    assert endpoint is not None and endpoint.model == "my-listener"


def test_pinned_items_are_asked_about_alone_stopped_and_resumed(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    tiny_dataset(n=N)
    pinned = [item.id for item in load_dataset(workspace, "tiny").items[5:35]]
    plan = actions.plan(workspace, "evaluate", {"dataset": "tiny", "items": pinned, "seeds": [1, 2]})
    assert (plan.items, plan.requests) == (30, 60) and f"--set items={','.join(pinned)}" in plan.command
    job_id = stopped(workspace, server, items=pinned)
    assert "30 chosen items" in job(workspace, job_id).title
    actions.resume(workspace, job_id)
    view = until_state(workspace, job_id, "finished", "failed", seconds=60)
    assert view.state == "finished", view.reason
    assert keys(workspace, job_id) == Counter({(item_id, 0): 1 for item_id in pinned})
    record = load_record(workspace, job_id)
    assert record.item_ids == tuple(sorted(pinned))
    assert (record.split, record.n_items, record.dataset.size) == (None, 30, N)
    with pytest.raises(ItemError, match="has no item nobody"):
        actions.plan(workspace, "evaluate", {"dataset": "tiny", "items": ["nobody"]})


def test_a_plan_says_when_a_sealed_item_is_among_those_named(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    dataset = tiny_dataset(n=12, kind="benchmark")
    halves = {name: [item.id for item in split_items(dataset, name)] for name in ("explore", "sealed")}

    def notes(items: list[str]) -> str:
        return " ".join(actions.plan(workspace, "evaluate", {"dataset": "tiny", "items": items}).notes)

    assert "sealed half" not in notes(halves["explore"])
    assert "sealed half" in notes([*halves["explore"], halves["sealed"][0]])


def test_a_matrix_makes_one_run_for_each_combination(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    tiny_dataset(n=4)
    parent = submit(workspace, server, prompts=["baseline", "v12"], seeds=[1, 2])
    view = until_state(workspace, parent, "finished", "failed", seconds=90)
    assert view.state == "finished", view.reason
    assert len(view.runs) == 4
    assert all(run_status(run_folder(workspace, run)) == "finished" for run in view.runs)


def test_clips_and_orders_make_runs_that_compare_as_those_of_eval_do(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    tiny_dataset(n=4)
    wanted = {"clips": ["real", "silence"], "orders": [0, 1], "endpoints": [server.base_url]}
    plan = actions.plan(workspace, "evaluate", {"dataset": "tiny", **wanted})
    assert (plan.jobs, plan.requests) == (4, 16)
    parent = submit(workspace, server, clips=["real", "silence"], orders=[0, 1])
    view = until_state(workspace, parent, "finished", "failed", seconds=90)
    assert view.state == "finished", view.reason
    records = [load_record(workspace, run) for run in view.runs]
    made = {(record.ablation, record.permutation): record.run_id for record in records}
    assert set(made) == {(None, 0), (None, 1), ("silence", 0), ("silence", 1)}
    catalog = Catalog(workspace)
    assert choice_stability(catalog, [made[None, 0]]).runs == (made[None, 0], made[None, 1])
    assert audio_contribution(catalog, made[None, 1]).without == made["silence", 1]


def test_a_server_that_is_not_there_fails_the_job_with_its_sentence(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    tiny_dataset(n=2)
    server = FakeServer(Status(500))
    with server:
        pass
    gone = submit(workspace, server, server_wait_seconds=0.3)
    with FakeServer(Status(404, "no such model here"), check_model=False) as other:
        refused = submit(workspace, other, model="big")
        view = until_state(workspace, refused, "failed", seconds=60)
    assert "no such model here" in view.reason and "Traceback" not in view.reason
    view = until_state(workspace, gone, "failed", seconds=60)
    assert "cannot be reached" in view.reason
    with FakeServer(lambda one: Status(400, "too loud") if "clip" in one.text else Text("yes")) as other:
        refused = submit(workspace, other)
        view = until_state(workspace, refused, "failed", seconds=60)
    assert "0 of 2 predictions have an answer" in view.reason and "too loud" in view.reason
    assert view.hint == f"Continue with: audioreason jobs resume {refused}"
    assert run_status(run_folder(workspace, refused)) == "stopped"
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
