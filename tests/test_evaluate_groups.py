"""Several samples in one request: groups that resume as they were, and choices that are missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from audioreason.evaluate import evaluate
from audioreason.inference.endpoint import Sampling
from audioreason.inference.seeds import group_seed
from audioreason.progress import Quiet
from audioreason.prompts import Prompt
from audioreason.runs import Prediction, RunRecord, run_folder, run_status
from audioreason.runs.storage import merged_predictions, read_jsonl
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.servers import FakeServer, Request, Status, Text

PROMPT = Prompt(name="plain", system="Listen.", user="{{ question }}")
FOURS = Sampling(temperature=0.9, max_tokens=50, samples=6, per_request=4)


def drawn(request: Request) -> Text:
    """Choice i says which seed drew it, as servers draw."""
    return Text(f"seed {request.seed}", each=lambda i: f"seed {(request.seed or 0) + i}")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(drawn) as running:
        yield running


def predictions(workspace: Workspace, run_id: str) -> list[Prediction]:
    folder = run_folder(workspace, run_id)
    return list(merged_predictions(folder, [p.key for _, p in read_jsonl(folder / "predictions.jsonl") if p]))


def rows(workspace: Workspace, run_id: str) -> list[tuple[str, int, int | None, str | None]]:
    return sorted((p.item_id, p.sample, p.seed, p.content) for p in predictions(workspace, run_id))


def test_one_a_request_is_written_as_before() -> None:
    plain = Sampling(samples=6, per_request=1)
    assert "per_request" not in plain.model_dump()
    assert "per_request" not in json.loads(plain.model_dump_json())
    assert "per_request" not in FOURS.body()
    assert "samples" not in FOURS.body()
    assert Sampling.model_validate_json(FOURS.model_dump_json()) == FOURS
    assert Sampling.model_validate({"samples": 6}) == plain


def test_no_more_a_request_than_can_be_asked_for() -> None:
    assert FOURS.fitted() == FOURS
    assert FOURS.requests == 2
    assert FOURS.model_copy(update={"samples": 3}).fitted().per_request == 3
    greedy = FOURS.model_copy(update={"temperature": 0.0})
    assert (greedy.fitted().per_request, greedy.requests) == (1, 6)


def test_the_plan_of_a_job_counts_requests(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    from audioreason.jobs.kinds.evaluate import EvaluateSpec, plan

    tiny_dataset(n=2)
    spec = EvaluateSpec(dataset="tiny", samples=6, per_request=4, temperature=0.9, seeds=[0, 1])
    assert plan(spec, workspace).requests == 8
    assert plan(spec.model_copy(update={"temperature": 0.0}), workspace).requests == 24


def test_greedy_answers_are_asked_for_one_by_one(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    greedy = FOURS.model_copy(update={"temperature": 0.0})
    record = evaluate(workspace, tiny_dataset(n=1), PROMPT, server.endpoint, greedy, run_id="greedy")
    assert record.sampling and record.sampling.per_request == 1
    assert [body.get("n", 1) for body in server.bodies] == [1] * 6


def test_a_clip_is_sent_once_for_a_group(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    data = tiny_dataset(n=2)
    evaluate(workspace, data, PROMPT, server.endpoint, FOURS, run_id="groups", seed=3)
    assert sorted(body.get("n", 1) for body in server.bodies) == [2, 2, 4, 4]
    assert len(server.clips) == 4
    found = predictions(workspace, "groups")
    assert len(found) == 12
    for one in found:
        assert one.seed == group_seed(3, one.item_id, 0) + one.sample
        assert one.content == f"seed {one.seed}"
        assert one.completion_tokens and one.tokens_estimated  # counted together: a share by length
    assert len({one.seed for one in found}) == 12
    threes = FOURS.model_copy(update={"per_request": 3})
    evaluate(workspace, data, PROMPT, server.endpoint, threes, run_id="threes", seed=3)
    assert rows(workspace, "threes") == rows(workspace, "groups")


def test_an_interrupted_run_goes_on_in_its_groups(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    data = tiny_dataset(n=4)

    progress = Quiet()

    def ask(run_id: str, sampling: Sampling = FOURS, resume: bool = False) -> RunRecord:
        return evaluate(
            workspace, data, PROMPT, server.endpoint, sampling, run_id=run_id, resume=resume, seed=5,
            concurrency=1, progress=progress,
        )  # fmt: skip

    def stop_at_the_third(request: Request) -> Text:
        if request.number < 11:  # the whole run sent eight
            return drawn(request)
        progress.stop()
        return replace(drawn(request), after=1.0)

    ask("whole")
    server.reply = stop_at_the_third
    ask("torn")
    server.reply, progress = drawn, Quiet()
    folder = run_folder(workspace, "torn")
    assert run_status(folder) != "finished"
    path = folder / "predictions.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))  # a kill in the middle of a group
    before = rows(workspace, "torn")
    assert len(before) == 2
    sent = len(server.requests)
    ask("torn", FOURS.model_copy(update={"per_request": 1}), resume=True)
    assert rows(workspace, "torn") == rows(workspace, "whole")
    assert len(server.requests) - sent == 8  # the torn group too, whole


def test_a_failed_request_and_a_missing_choice(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    def broken(request: Request) -> Text | Status:
        if request.body.get("n") == 2:
            return Status(400, "no")
        return Text("x", each=lambda i: f"seed {(request.seed or 0) + i}", without=(1,))

    data = tiny_dataset(n=1)
    server.reply = broken
    evaluate(workspace, data, PROMPT, server.endpoint, FOURS, run_id="holes")
    found = {one.sample: one for one in predictions(workspace, "holes")}
    assert [n for n, one in sorted(found.items()) if one.error is None] == [0, 2, 3]
    assert found[3].content == f"seed {found[3].seed}"
    assert "3 of 4" in (found[1].error or "")
    assert found[4].error_kind == found[5].error_kind == "bad_request"
    server.reply = drawn
    evaluate(workspace, data, PROMPT, server.endpoint, FOURS, run_id="holes", resume=True)
    evaluate(workspace, data, PROMPT, server.endpoint, FOURS, run_id="fresh")
    assert rows(workspace, "holes") == rows(workspace, "fresh")
