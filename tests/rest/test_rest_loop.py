"""The loop: every phase in its order, on from where it stopped, a sentence for what cannot be learned."""

from __future__ import annotations

import base64
import json
import resource
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from rest_lab import BASE, StopAfter, serving, settings

from audioreason.errors import LabError, RestError, WorkspaceError
from audioreason.jobs.kinds.rest import check_resume, plan
from audioreason.rest.config import RestConfig, make_config, read_config
from audioreason.rest.loop import next_step, run
from audioreason.rest.record import (
    Round,
    list_experiments,
    read_candidates,
    read_experiment,
    read_problems,
    round_folder,
)
from audioreason.runs import Prediction, load_record, run_folder
from audioreason.runs.storage import merged_predictions
from audioreason.workspace import FileLock, Workspace
from tests.servers import FakeServer, Reply, Request, Status


def answers(workspace: Workspace, run_id: str) -> list[Prediction]:
    return sorted(merged_predictions(run_folder(workspace, run_id), []), key=lambda one: one.key)


def result(workspace: Workspace, name: str) -> tuple[object, ...]:
    """What must be the same however often it was interrupted."""
    found = read_experiment(workspace, name)
    last = found.rounds[-1]
    candidates = read_candidates(workspace, name, 1)
    assert candidates is not None
    adapter = workspace.adapters / last.adapter / "adapter_model.safetensors"
    return (
        candidates.to_csv(),
        (round_folder(workspace, name, 1) / "training.jsonl").read_bytes(),
        adapter.read_bytes(),
        last.forgetting,
        last.training,
        [[(p.key, p.content, p.seed) for p in answers(workspace, run)] for run in last.evaluations.values()],
    )


def test_a_round_leaves_runs_candidates_an_adapter_and_evaluations_with_every_prompt(
    workspace: Workspace, server: FakeServer, model: Path
) -> None:
    served: list[tuple[str, str, str]] = []
    found = run(workspace, settings(model), serve=serving(server, served))
    assert found.state == "finished" and [one.number for one in found.rounds] == [0, 1]
    base, last = found.rounds
    assert served == [(BASE, "", BASE), (BASE, "exp-r1", "exp-r1")]
    assert set(last.evaluations) == set(base.evaluations) == {"baseline", "structured-reasoning"}
    first, second, after = (
        {one.seed for one in answers(workspace, run)}
        for run in (base.evaluations["baseline"], base.again, last.evaluations["baseline"])
    )
    assert len(first) == len(second) == 16  # four items, four times
    assert not first & second and not first & after  # no luck is shared with what decides who is known
    assert last.forgetting is not None and last.forgetting.lost.own is not None
    assert last.forgetting.accuracy is not None and last.forgetting.learned is not None
    assert load_record(workspace, last.generate).kind == "candidates"
    assert {load_record(workspace, each).kind for each in last.evaluations.values()} == {"eval"}
    record = load_record(workspace, last.evaluations["baseline"])
    assert record.endpoint is not None and record.endpoint.model == "exp-r1"
    candidates, problems = read_candidates(workspace, "exp", 1), read_problems(workspace, "exp", 1)
    assert candidates is not None and problems is not None
    assert len(candidates) == 16 and len(problems) == 4
    lines = (round_folder(workspace, "exp", 1) / "training.jsonl").read_text().splitlines()
    assert len(lines) == last.training == int(candidates["kept"].sum()) > 0
    assert all(json.loads(line)["dataset"] == "tiny" for line in lines)
    assert [one.state for one in list_experiments(workspace) if one.id == "exp"] == ["finished"]
    asked = len(server.requests)
    assert run(workspace, settings(model), serve=serving(server), resume=True) == found
    assert len(server.requests) == asked
    with pytest.raises(RestError, match=r"exp is through: there is no generate of round 5 to do\."):
        run(workspace, settings(model), serve=serving(server), resume=True, only=(5, "generate"))
    file = round_folder(workspace, "exp", 1) / "round.json"
    right = file.read_bytes()
    file.write_bytes((round_folder(workspace, "exp", 0) / "round.json").read_bytes())
    with pytest.raises(RestError, match=r"round-1/round\.json is the record of round 0\."):
        read_experiment(workspace, "exp")
    file.write_bytes(right)


@pytest.mark.slow
def test_stopped_anywhere_and_resumed_it_comes_to_the_same(
    workspace: Workspace, server: FakeServer, model: Path
) -> None:
    whole, parts = settings(model, name="whole"), settings(model, name="parts")
    run(workspace, whole, serve=serving(server))
    run(workspace, parts, serve=serving(server), only=(0, "evaluate"))
    calls, state = 0, "stopped"
    while state != "finished":
        calls += 1
        watch = StopAfter(2 + 3 * calls)
        state = run(workspace, parts, serve=serving(server), resume=True, progress=watch).state
    assert calls > 2
    assert result(workspace, "parts") == result(workspace, "whole")


def test_the_next_round_trains_on_the_merged_model_and_a_full_disk_at_the_merge_loses_nothing(
    workspace: Workspace, server: FakeServer, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(model, name="two", rounds=2, eval_prompts=["baseline"])
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr("audioreason.train.merge.shutil.disk_usage", lambda path: usage(1, 1, 0))
        with pytest.raises(WorkspaceError, match="GB free") as caught:
            run(workspace, config, serve=serving(server))
    assert "rest run two --resume" in caught.value.hint
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limit[1]))  # as if the disk filled while it merges
    try:
        with pytest.raises(WorkspaceError, match="could not be written") as caught:
            run(workspace, config, serve=serving(server), resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (
        "rest run two --resume" in caught.value.hint and not (workspace.root / "models" / "two-r1").exists()
    )
    stopped = read_experiment(workspace, "two")
    assert stopped.state == "stopped" and stopped.rounds[-1].phase == "train"
    adapter = (workspace.adapters / "two-r1" / "adapter_model.safetensors").read_bytes()

    served: list[tuple[str, str, str]] = []
    found = run(workspace, config, serve=serving(server, served), resume=True)
    assert found.state == "finished"
    assert (workspace.adapters / "two-r1" / "adapter_model.safetensors").read_bytes() == adapter
    assert served == [("two-r1", "", "two-r1"), ("two-r1", "two-r2", "two-r2")]
    assert found.rounds[2].origin == "two-r1"


@pytest.mark.slow
def test_a_server_that_goes_away_stops_the_round_and_resuming_asks_for_the_rest(
    workspace: Workspace, server: FakeServer, model: Path
) -> None:
    config = settings(model, name="gone", eval_prompts=["baseline"], concurrency=1)  # one after the other
    run(workspace, config, serve=serving(server), only=(0, "evaluate"))
    done = len(server.requests)
    with FakeServer(server.reply, check_model=False) as dying:

        def leave(request: object) -> object:
            if dying.requests and len(dying.requests) >= 7:
                dying._loop.call_soon_threadsafe(dying._stop.set)
            return server.reply(request)  # type: ignore[operator]

        dying.reply = leave  # type: ignore[assignment]
        with pytest.raises(LabError) as caught:
            run(workspace, config, serve=serving(dying), resume=True)
    assert "rest run gone --resume" in caught.value.hint
    stopped = read_experiment(workspace, "gone")
    assert stopped.state == "stopped" and len(stopped.rounds) == 1  # nothing is chosen from half the answers
    found = run(workspace, config, serve=serving(server), resume=True)
    assert found.state == "finished"
    evaluations = 4 * config.evaluation_samples
    assert len(server.requests) - done < 16 + evaluations  # what the first server answered is not asked again


def test_a_name_that_is_taken_is_refused_before_anything_is_asked(
    workspace: Workspace, server: FakeServer, model: Path
) -> None:
    (workspace.adapters / "taken-r1").mkdir(parents=True)
    with pytest.raises(RestError, match="an adapter taken-r1 already"):
        run(workspace, settings(model, name="taken"), serve=serving(server))
    assert not server.requests and not (workspace.rest / "taken").exists()


def test_other_settings_a_second_loop_and_a_phase_out_of_turn_are_refused(
    workspace: Workspace, server: FakeServer, model: Path
) -> None:
    config = settings(model, name="turn", eval_prompts=["baseline"])
    with pytest.raises(RestError, match="The next phase of turn is evaluate of round 0, not train of 1"):
        run(workspace, config, serve=serving(server), only=(1, "train"))
    run(workspace, config, serve=serving(server), resume=True, only=(0, "evaluate"))
    with pytest.raises(RestError, match="There is an experiment turn already"):
        run(workspace, config, serve=serving(server))
    with pytest.raises(RestError, match="samples was 4 and is now 5"):
        run(workspace, config.model_copy(update={"samples": 5}), serve=serving(server), resume=True)
    lock = FileLock(workspace.rest / "turn" / "lock")
    assert lock.acquire()
    with pytest.raises(RestError, match="being worked on"):
        run(workspace, config, serve=serving(server), resume=True)
    lock.release()


def test_candidates_that_were_deleted_are_asked_for_again(
    workspace: Workspace, server: FakeServer, model: Path
) -> None:
    config = settings(model, name="lost", eval_prompts=["baseline"], control=1)

    def do(number: int, phase: str) -> None:
        run(workspace, config, serve=serving(server), resume=True, only=(number, phase))

    do(0, "evaluate")
    do(1, "generate")
    before, asked = answers(workspace, "lost-r1-generate"), len(server.requests)
    shutil.rmtree(run_folder(workspace, "lost-r1-generate"))
    with pytest.raises(RestError, match="The next phase of lost is generate of round 1, not filter of 1"):
        do(1, "filter")
    check_resume(config, workspace, "a-job")  # so a job of it may be resumed, too
    do(1, "generate")
    assert len(server.requests) == asked + 16, "the silent control was left as it was"
    again = answers(workspace, "lost-r1-generate")
    assert [(p.key, p.content, p.seed) for p in again] == [(p.key, p.content, p.seed) for p in before]
    do(1, "filter")
    notes = read_experiment(workspace, "lost").rounds[1].notes
    assert "The answers of lost-r1-generate had been deleted and were asked for again." in notes
    shutil.rmtree(run_folder(workspace, "lost-r0-eval-baseline"))
    for go_on in (lambda: do(1, "train"), lambda: check_resume(config, workspace, "a-job")):
        with pytest.raises(RestError, match="lost-r0-eval-baseline is gone, and each round is compared"):
            go_on()


def test_what_is_next_follows_from_the_records() -> None:
    def step(config: RestConfig, *rounds: Round) -> object:
        return next_step(config, rounds)

    base = Round(number=0, phase="evaluate", over=True)
    two = RestConfig(rounds=2)
    assert step(two) == (0, "evaluate") and step(two, base) == (1, "generate")
    assert step(two, base, Round(number=1, phase="train")) == (1, "merge")
    assert step(two.model_copy(update={"start": "base"}), base, Round(number=1, phase="train")) == (
        1,
        "evaluate",
    )
    over = Round(number=1, phase="evaluate", over=True)
    assert step(two, base, over) == (2, "generate")
    assert step(two, base, over.model_copy(update={"stop": "It forgets."})) is None
    assert step(two, base, over, Round(number=2, phase="train")) == (2, "evaluate")


def test_a_plan_counts_what_will_be_asked(workspace: Workspace, server: FakeServer, model: Path) -> None:
    for temperature in (0.1, 0.0):
        config = settings(
            model, name=f"plan{temperature:.0f}{temperature * 10:.0f}", eval_temperature=temperature
        )
        asked = len(server.requests)
        planned = plan(config, workspace).requests
        fours = config.model_copy(update={"per_request": 4})
        assert plan(fours, workspace).requests == planned - 12, "4 problems, each in one request instead of 4"
        run(workspace, config, serve=serving(server))
        assert planned == len(server.requests) - asked


def test_settings_that_are_wrong_are_named(tmp_path: Path) -> None:
    with pytest.raises(RestError, match=r"no setting epoch\..*Did you mean epochs"):
        make_config({"epoch": 2})
    with pytest.raises(RestError, match="samples"):
        make_config({"samples": 0})
    with pytest.raises(RestError, match="no preset papers"):
        make_config({"preset": "papers"})
    path = tmp_path / "rest.yaml"
    path.write_text("name: one\nrounds: 2\nlearning_rates: [1e-5, 2e-6]\n")
    found = read_config(path)
    assert (found.name, found.rounds, found.learning_rate(5), found.samples) == ("one", 2, 2e-6, 16)
    with pytest.raises(RestError, match="is a folder"):
        read_config(tmp_path)
    path.write_text("rounds: [")
    with pytest.raises(RestError, match="cannot be read"):
        read_config(path)
    paper = make_config({})
    assert [paper.learning_rate(number) for number in (1, 2, 3)] == [2e-5, 1e-5, 5e-6]


def test_a_silent_control_is_asked_with_the_candidates_and_decides_what_counts(
    workspace: Workspace, server: FakeServer, model: Path
) -> None:
    config = settings(model, name="controlled", control=2, eval_prompts=["baseline"])
    assert plan(config, workspace).requests == 4 * (4 + 2) + 3 * 4 * 4  # evaluations: two rounds, one again
    found = run(workspace, config, serve=serving(server))
    last = found.rounds[-1]
    assert last.silent == "controlled-r1-silent"
    record = load_record(workspace, last.silent)
    assert (record.ablation, record.samples, record.n_items) == ("silence", 2, 4)
    assert last.summary["control"] == "silent control"
    problems = read_problems(workspace, "controlled", 1)
    assert problems is not None and not problems["counts"].any(), "so few cannot be said to need their clips"
    assert last.training, "what is learned from does not hang on it"


def test_a_silent_control_that_is_refused_stops_the_phase_and_says_why(
    workspace: Workspace, server: FakeServer, model: Path
) -> None:
    answer = server.reply
    assert callable(answer)

    def reply(request: Request) -> Reply:
        parts = [part for part in request.body["messages"][-1]["content"] if part["type"] == "input_audio"]
        sound = base64.b64decode(parts[0]["input_audio"]["data"])
        return answer(request) if any(sound[44:]) else Status(400, "this file may not be read")

    server.reply = reply
    config = settings(model, name="refused", control=1, eval_prompts=["baseline"])
    with pytest.raises(LabError, match=r"refused-r1-silent .*this file may not be read.* --resume"):
        run(workspace, config, serve=serving(server))
    assert [one.phase for one in read_experiment(workspace, "refused").rounds] == ["evaluate"]
    server.reply = answer
    done = run(workspace, config, serve=serving(server), resume=True)
    assert done.state == "finished" and done.rounds[1].silent == "refused-r1-silent"


def test_the_cue_gate_needs_a_dataset_and_a_prompt_that_tell_what_is_heard(
    workspace: Workspace, server: FakeServer, model: Path
) -> None:
    for prompt, why in (("baseline", "does not ask for HEARD"), ("structured-reasoning", "which events")):
        config = settings(model, name="cued", prompt=prompt, filter_changes={"cues": True})
        with pytest.raises(RestError, match=why):
            run(workspace, config, serve=serving(server))
    assert not server.requests
    assert not (workspace.rest / "cued").exists()
