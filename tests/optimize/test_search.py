"""A whole search on real servers: what is asked, what is kept, what comes out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from audioreason.errors import EndpointError, OptimizeError
from audioreason.evaluate import evaluate
from audioreason.inference.endpoint import Sampling
from audioreason.items.splits import split_of
from audioreason.optimize.record import read_answers, read_verdicts
from audioreason.prompts import load_prompt
from audioreason.runs import load_record
from tests.optimize.conftest import OneInThree, Stage, StopAfter, answer
from tests.servers import Request, Status, Text


@pytest.mark.parametrize("optimizer", ["mipro", "gepa"])
def test_a_search_saves_the_better_prompt_with_its_pedigree(stage: Stage, optimizer: str) -> None:
    found = stage.run(optimizer=optimizer)

    assert found.standing == "finished"
    result = found.state.result
    assert result is not None and result.difference is not None
    winner = found.candidate(result.candidate)
    assert winner is not None and "carefully" in winner.system
    assert result.dev > result.seed_dev
    assert result.difference.mean == pytest.approx(result.test - result.seed_test)
    prompt = load_prompt(result.prompt, [stage.workspace.prompts])
    assert (prompt.version, prompt.parent) == (winner.id, "plain")
    assert prompt.provenance["optimizer"] == {"mipro": "MIPROv2", "gepa": "GEPA"}[optimizer]
    assert prompt.provenance["search"] == "one"
    assert prompt.provenance["split"]["test"] == len(found.splits["test"]) == 12
    assert prompt.provenance["score"]["test"] == pytest.approx(result.test, abs=1e-4)
    run = load_record(stage.workspace, result.test_run)
    assert run.prompt is not None and run.prompt.version == winner.id

    # every full trial's score is the mean of its verdicts
    for trial in found.trials:
        worth = {one.item_id: one.score for one in read_verdicts(stage.workspace, "one", trial.candidate)}
        assert trial.score == pytest.approx(sum(worth[i] for i in trial.items) / len(trial.items))


@pytest.mark.parametrize("optimizer", ["mipro", "gepa"])
def test_the_proposer_gets_text_alone_and_no_gold_of_dev_or_test(stage: Stage, optimizer: str) -> None:
    found = stage.run(optimizer=optimizer)

    assert stage.writer.requests and not stage.writer.clips
    for request in stage.writer.requests:
        assert all(isinstance(message["content"], str) for message in request.body["messages"])
        text = str(request.body)
        assert "audio_url" not in text and "input_audio" not in text and "UklGR" not in text
        for item_id in (*found.splits["dev"], *found.splits["test"]):
            assert f"clip {int(item_id[-3:])}?" not in text
    assert [one.n for one in found.proposals] == list(range(1, len(stage.writer.requests) + 1))
    assert any(one.candidates for one in found.proposals)


def test_test_items_are_asked_about_once_by_each_of_two_runs(stage: Stage) -> None:
    found = stage.run()

    where = split_of(stage.data)
    test = set(found.splits["test"])
    assert {where[item_id] for item_id in test} == {"test"}
    assert not test & {*found.splits["train"], *found.splits["dev"]}
    counts = Counter(int(one.text.split("clip ")[1].split("?")[0]) for one in stage.task.requests)
    assert {counts[int(item_id[-3:])] for item_id in test} == {2}


@pytest.mark.parametrize(("optimizer", "stops"), [("mipro", (7, 30, 49)), ("gepa", (25, 44))])
def test_a_stopped_search_resumes_without_a_repeated_request(
    stage: Stage, optimizer: str, stops: tuple[int, ...]
) -> None:
    undisturbed = stage.run("undisturbed", optimizer=optimizer)
    wanted = Counter(stage.asked())
    stage.task.requests.clear()
    stage.writer.requests.clear()

    for number, stop in enumerate(stops):
        halted = stage.run(
            "halted", resume=number > 0, optimizer=optimizer, progress=StopAfter(stage.task, stop)
        )
        assert halted.standing == "stopped"
    found = stage.run("halted", resume=True, optimizer=optimizer)

    assert found.standing == "finished"
    assert Counter(stage.asked()) == wanted
    assert [(one.candidate, one.items, one.score) for one in found.trials] == [
        (one.candidate, one.items, one.score) for one in undisturbed.trials
    ]
    assert found.state.spent.requests == undisturbed.state.spent.requests
    assert found.state.attempt == len(stops) + 1
    again = stage.run("halted", resume=True)
    assert again.state == found.state and Counter(stage.asked()) == wanted


def test_a_stop_keeps_the_best_so_far_as_a_prompt(stage: Stage) -> None:
    halted = stage.run(progress=StopAfter(stage.task, 62))

    assert halted.standing == "stopped" and halted.state.best is not None
    result = halted.state.result
    assert result is not None and result.candidate == halted.state.best
    assert result.test is None
    if result.prompt != "plain":
        assert load_prompt(result.prompt, [stage.workspace.prompts]).provenance["ending"] == "stopped"


@pytest.mark.slow  # every third request waits before it comes again
def test_one_503_in_three_changes_no_score(stage: Stage) -> None:
    calm = stage.run("calm")
    stage.writer.requests.clear()  # its script begins anew
    stage.task.reply = OneInThree(answer)
    rough = stage.run("rough")

    assert [(t.candidate, t.items, t.score) for t in rough.trials] == [
        (t.candidate, t.items, t.score) for t in calm.trials
    ]
    assert {one.outcome for one in read_verdicts(stage.workspace, "rough")} <= {"correct", "wrong"}


def test_a_server_that_dies_ends_the_search_and_scores_nothing(stage: Stage) -> None:
    def dying(request: Request) -> Any:
        return answer(request) if request.number <= 40 else Status(400, "the model was unloaded")

    stage.task.reply = dying
    with pytest.raises((EndpointError, OptimizeError), match="unloaded"):
        stage.run()
    stage.task.reply = answer
    found = stage.run(resume=True)

    assert found.standing == "finished"
    assert {one.outcome for one in read_verdicts(stage.workspace, "one")} <= {"correct", "wrong"}


def test_a_prompt_that_the_server_refuses_is_worth_nothing_and_the_search_goes_on(stage: Stage) -> None:
    def picky(request: Request) -> Any:
        system = request.body["messages"][0]["content"]
        return (
            Status(400, "the prompt is too long")
            if "Count" in system or "first" in system
            else answer(request)
        )

    stage.task.reply = picky
    found = stage.run()

    assert found.standing == "finished"
    refused = [one for one in found.candidates if "Refused by the server" in one.note]
    assert refused and not any(read_verdicts(stage.workspace, "one", one.id) for one in refused)


def test_the_budget_is_never_exceeded_and_keeps_the_best(stage: Stage) -> None:
    found = stage.run(budget_requests=60)

    assert found.standing == "budget"
    spent = found.state.spent
    assert spent.requests + spent.proposer_requests <= 60
    test_requests = 12 * (1 + (found.state.result.test is not None))
    assert len(stage.task.requests) + len(stage.writer.requests) <= 60 + test_requests
    assert found.state.result.seed_test is not None


@pytest.mark.parametrize("budget", [{"budget_tokens": 60}, {"budget_minutes": 0.001}])
def test_a_budget_of_tokens_or_minutes_ends_the_search_with_the_seed_at_least(
    stage: Stage, budget: dict[str, float]
) -> None:
    found = stage.run(**budget)

    assert found.standing == "budget" and found.state.phase == "done"
    assert found.state.result is not None and found.state.result.seed_test is not None
    assert len(found.trials) < 7


def test_the_saved_prompt_repeats_the_predictions_of_the_search(stage: Stage) -> None:
    found = stage.run()
    result = found.state.result
    prompt = load_prompt(result.prompt, [stage.workspace.prompts])
    asked = {body["messages"][1]["content"][1]["text"] for body in stage.task.bodies}
    stage.task.requests.clear()

    evaluate(
        stage.workspace, stage.data, prompt, stage.task.endpoint, Sampling(temperature=0.0, max_tokens=50),
        item_ids=found.splits["dev"], run_id="again", seed=stage.config.seed,
    )  # fmt: skip

    winner = found.candidate(result.candidate)
    for request in stage.task.requests:
        assert request.body["messages"][0]["content"] == winner.system
        assert request.text in asked
    verdicts = read_verdicts(stage.workspace, "one", result.candidate)
    answers = read_answers(stage.workspace, "one", [one.request_hash for one in verdicts])
    before = {one.item_id: answers[one.request_hash].content for one in verdicts if one.split == "dev"}
    after = {
        f"tiny-{int(one.text.split('clip ')[1].split('?')[0]):03d}": answer(one).content
        for one in stage.task.requests
    }
    assert before == after


def test_a_model_that_cannot_write_is_told_from_one_that_can(stage: Stage) -> None:
    stage.writer.reply = Text("ANSWER: two")

    with pytest.raises(OptimizeError, match="writer cannot propose prompts"):
        stage.run()


def test_demos_are_text_in_the_prompt(stage: Stage) -> None:
    found = stage.run(demos=2)

    with_demos = [one for one in found.candidates if one.source == "demos"]
    assert with_demos
    for one in with_demos:
        assert "Worked examples follow" in one.system and "Question: How many tones" in one.system
        shown = {f"tiny-{int(part.split('?')[0]):03d}" for part in one.system.split("in clip ")[1:]}
        assert shown <= set(found.splits["train"])


def test_both_texts_can_be_optimised_and_keep_question_and_options(stage: Stage) -> None:
    found = stage.run(part="both", optimizer="gepa")

    assert any(one.user != found.candidates[0].user for one in found.candidates)
    for one in found.candidates:
        assert "{{ question }}" in one.user and "choices" in one.user


def test_an_id_or_a_name_that_is_taken_costs_no_request(stage: Stage) -> None:
    stage.run(name="better")
    before = len(stage.task.requests)

    with pytest.raises(OptimizeError, match="search one already"):
        stage.run()
    with pytest.raises(OptimizeError, match="prompt better already"):
        stage.run("two", name="better")
    with pytest.raises(OptimizeError, match="no search three"):
        stage.run("three", resume=True)
    assert len(stage.task.requests) == before
