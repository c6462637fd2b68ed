"""A round with nothing to learn from: what is said and kept, and on without asking for candidates again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from rest_lab import serving, settings
from typer.testing import CliRunner

from audioreason.cli import app
from audioreason.errors import LabError, RestError
from audioreason.items import load_dataset
from audioreason.rest.config import RestConfig
from audioreason.rest.loop import run
from audioreason.rest.nothing import why_nothing
from audioreason.rest.record import read_candidates, read_experiment, read_problems, round_folder
from audioreason.workspace import Workspace
from tests.servers import FakeServer, Request, Text

QUICK = {
    "eval_prompts": ["baseline"],
    "eval_limit": 1,
    "eval_temperature": 0.0,
}  # an evaluation of one request


def answering(workspace: Workspace, right: Callable[[int, int], bool]) -> Callable[[Request], Text]:
    """A reply by rule: `right(item, how often it was asked before)`."""
    items = load_dataset(workspace, "tiny").items
    asked: Counter[int] = Counter()

    def reply(request: Request) -> Text:
        number = next(index for index, item in enumerate(items) if item.question in request.text)
        item, before = items[number], asked[number]
        asked[number] += 1
        wrong = next(choice for choice in item.choices if choice != item.answer)
        return Text(f"ANSWER: {item.answer if right(number, before) else wrong}")

    return reply


def never(item: int, before: int) -> bool:
    return False


def always(item: int, before: int) -> bool:
    return True


def one_item(item: int, before: int) -> bool:
    return item == 0


def test_a_server_that_answered_nothing_is_named() -> None:
    summary = {"problems": 0, "right": 0, "candidates": 16, "errors": 16, "zones": {}, "reasons": {}}
    said = why_nothing(summary, {}, {}, RestConfig(name="deaf"), 2)
    assert "the server answered none of 16 requests" in said and "the run deaf-r2-generate" in said


@pytest.mark.parametrize(
    ("name", "right", "found", "advice"),
    [
        ("never", never, ["none of 4 problems was ever right (16 wrong answer)"], "no filter can change"),
        ("always", always, ["every one of 4 problems is always right"], "harder problems"),
        (
            "gap",
            one_item,
            ["4 of 16 candidates are right and none of them is kept", "3 unsolved, 1 mastered",
             "4 the zone mastered is not learned from"],
            '"strategy": "all"',
        ),
        (
            "broken",
            always,
            ["16 of 16 candidates are right", "(16 format broken; problems: 4 mastered)"],
            "no right candidate passes the quality gates",
        ),
    ],
)  # fmt: skip
def test_a_round_without_a_lesson_says_what_was_found_and_keeps_its_candidates(
    workspace: Workspace,
    server: FakeServer,
    model: Path,
    name: str,
    right: Callable[[int, int], bool],
    found: list[str],
    advice: str,
) -> None:
    prompt = "structured-reasoning" if name == "broken" else "baseline"  # asks for sections; none comes
    config = settings(model, name=name, prompt=prompt, **QUICK)
    run(workspace, config, serve=serving(server), only=(0, "evaluate"))
    server.reply = answering(workspace, right)
    ended = run(workspace, config, serve=serving(server), resume=True)
    assert ended.state == "finished" and [one.number for one in ended.rounds] == [0, 1]
    for words in (*found, advice, "Round 1 has nothing to learn from", "Nothing was trained"):
        assert words in ended.stop
    assert ended.stop.endswith(".") and "\n" not in ended.stop
    assert not (workspace.adapters / f"{name}-r1").exists()
    candidates, problems = read_candidates(workspace, name, 1), read_problems(workspace, name, 1)
    assert candidates is not None and len(candidates) == 16 and not candidates["kept"].any()
    assert problems is not None and len(problems) == 4
    assert (candidates["reason"] != "").all(), "every candidate says why it was left out"


def test_another_filter_goes_on_with_the_same_candidates(
    workspace: Workspace,
    server: FakeServer,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = settings(model, name="again", **QUICK, filter="paper")
    run(workspace, config, serve=serving(server), only=(0, "evaluate"))
    server.reply = answering(workspace, lambda item, before: before == 0)  # one of four: challenging
    starved = run(workspace, config, serve=serving(server), resume=True)
    assert "4 the zone challenging is not learned from; problems: 4 challenging" in starved.stop
    assert "the filter code would keep 4 of the same candidates" in starved.stop
    assert "audioreason rest run again --resume --filter code" in starved.stop
    asked = len(server.requests)
    assert run(workspace, config, serve=serving(server), resume=True) == starved
    other = config.model_copy(update={"filter": "code"})

    with pytest.raises(RestError, match="samples was 4"):
        run(workspace, other.model_copy(update={"samples": 5}), serve=serving(server), resume=True)
    monkeypatch.setenv("AUDIOREASON_WORKSPACE", str(workspace.root))
    refused = CliRunner().invoke(app, ["rest", "run", "again", "--resume", "--filter", "cod"])
    assert isinstance(refused.exception, RestError) and "Did you mean code" in refused.exception.hint
    assert read_experiment(workspace, "again") == starved

    stored = json.loads((workspace.rest / "again" / "config.json").read_text())
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(stored | {"filter": "code"}))
    assert CliRunner().invoke(app, ["rest", "filter", "again", "--config", str(copy)]).exit_code == 0
    chosen = read_experiment(workspace, "again")
    assert len(server.requests) == asked, "nothing is asked again"
    last = chosen.rounds[-1]
    assert (last.training, last.stop, last.over) == (4, "", False)
    assert last.notes == ["Went on with other settings: filter was paper and is now code."]
    assert len((round_folder(workspace, "again", 1) / "training.jsonl").read_text().splitlines()) == 4
    ended = run(workspace, other, serve=serving(server), resume=True)
    assert ended.state == "finished" and not ended.stop and ended.config.filter == "code"
    assert (workspace.adapters / "again-r1").is_dir()
    assert len(server.requests) - asked == 1, "the evaluation of what was trained"

    shown = CliRunner().invoke(app, ["rest", "show", "again"])
    rows = {line[:34].strip(): line[34:].split() for line in shown.stdout.splitlines()}
    assert shown.exit_code == 0 and rows["candidates"] == ["16", "66,448"]
    assert rows["right"] == ["25.0%", "(10.2–49.5)", "65.0%"] and rows["training samples"][:1] == ["4"]
    assert "filter was paper and is now code" in shown.stderr
    told = json.loads(CliRunner().invoke(app, ["rest", "show", "again", "--json"]).stdout)
    figures, (score,) = told["rounds"][1]["figures"], told["rounds"][1]["accuracy"]
    assert (figures["right"]["k"], figures["right"]["n"], figures["kept"]) == (4, 16, 4)
    assert score["run_id"] == told["rounds"][1]["evaluations"]["baseline"] and score["change"]["n"] == 1
    assert told["warnings"] and told["rounds"][0]["figures"] is None
    with pytest.raises(RestError, match="filter was code and is now paper"):
        run(workspace, config, serve=serving(server), resume=True)


def test_examples_too_long_to_train_on_are_named_and_a_higher_limit_goes_on(
    workspace: Workspace, server: FakeServer, model: Path
) -> None:
    usual = server.reply
    assert callable(usual)

    def reply(request: Request) -> Text:
        found = usual(request)
        assert isinstance(found, Text)
        return Text("many words " * 200 + f"{found.content}") if "number 0" in request.text else found

    server.reply = reply
    config = settings(model, name="long", longest=16, **QUICK)
    with pytest.raises(LabError, match="more than 16 tokens") as caught:
        run(workspace, config, serve=serving(server))
    assert "rest run long --resume" in caught.value.hint
    asked = len(server.requests)
    higher = config.model_copy(update={"longest": 500})
    found = run(workspace, higher, serve=serving(server), resume=True)
    assert found.state == "finished" and len(server.requests) == asked + 1, "only its evaluation is asked"
    first, second = found.rounds[-1].notes
    assert first == "Went on with other settings: longest was 16 and is now 500."
    assert f"of the {found.rounds[-1].training} examples of round 1 have more than 500 tokens" in second
    with pytest.raises(RestError, match="longest was 500"):
        run(workspace, config, serve=serving(server), resume=True)


def test_a_damaged_record_is_one_sentence_that_names_what_is_wrong(workspace: Workspace) -> None:
    folder = workspace.rest / "torn"
    folder.mkdir(parents=True)
    for text, why in (('{"rounds": "many"}', r"rounds: Input should be"), ('{"rounds": 1', r"Invalid JSON")):
        (folder / "config.json").write_text(text)
        with pytest.raises(RestError, match=rf"config\.json cannot be read \(.*{why}"):
            read_experiment(workspace, "torn")
