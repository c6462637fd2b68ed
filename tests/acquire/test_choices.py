"""Multiple choice of free-form questions: what is refused, where the gold stands, going on after a stop."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from audioreason.acquire import check_choices, make_choices
from audioreason.errors import ItemError, RunError
from audioreason.items import load_dataset, wav_bytes
from audioreason.workspace import Workspace
from tests.conftest import melody
from tests.servers import FakeServer, Request, Status, Text


@pytest.fixture
def material(workspace: Workspace) -> Path:
    """Twelve questions with clips whose answers are colours of birds."""
    root = workspace.datasets / "free"
    (root / "audio").mkdir(parents=True)
    rows = []
    for n in range(12):
        (root / "audio" / f"{n}.wav").write_bytes(wav_bytes(melody(n)))
        rows.append(
            {
                "id": f"q{n:02d}",
                "question": f"Which bird sings in {n}?",
                "answer": f"bird {chr(97 + n)}",
                "audio_path": f"audio/{n}.wav",
            }
        )
    (root / "free.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def proposal(*wrong: str) -> Text:
    return Text("<think>Well.</think>Here: " + json.dumps({"wrong": wrong}))


@pytest.mark.parametrize(
    ("gold", "wrong", "reason"),
    [
        ("a red bird", ("a blue bird", "a green bird", "a white bird"), ""),
        ("three", ("two", "four", "5"), ""),
        ("3 times", ("2 times", "4 times", "many times over"), "Numbers"),
        ("a red bird", ("a blue bird", "a green bird"), "instead of 3"),
        ("a red bird", ("A Red Bird.", "a green bird", "a blue bird"), "the same"),
        ("dog then cat", ("cat then dog", "dog twice", "cat twice"), "same words"),
        ("dog", ("a big dog", "cat", "cow"), "contains the right one"),
        ("dog", ("a very long description of some other animal", "cat", "cow"), "longer"),
        ("dog", ("", "cat", "cow"), "empty"),
    ],
)
def test_wrong_answers_must_be_able_to_stand_beside_the_right_one(
    gold: str, wrong: tuple[str, ...], reason: str
) -> None:
    found = check_choices(gold, wrong, 3)
    assert (reason in found) if reason else found == ""


def test_items_are_made_with_the_gold_in_each_place_equally_often(
    workspace: Workspace, material: Path
) -> None:
    with FakeServer(lambda request: proposal("bird x", "bird y", "bird z")) as server:
        made = make_choices(workspace, "free", "mc", server.endpoint)
        assert any(
            part["type"] != "text" for part in server.requests[0].body["messages"][-1]["content"]
        )  # it hears
    dataset = load_dataset(workspace, "mc")
    assert len(dataset.items) == 12 and not made.given_up and dataset.info.kind == "training"
    assert Counter(item.gold for item in dataset.items) == {0: 3, 1: 3, 2: 3, 3: 3}
    assert all(dataset.clip(item) is not None for item in dataset.items)
    assert "fake-model" in dataset.info.title


def test_a_bad_proposal_is_asked_for_again_and_then_given_up_with_the_reason(
    workspace: Workspace, material: Path
) -> None:
    asked: Counter[str] = Counter()

    def reply(request: Request) -> Text:
        question = request.text.split("\n")[0]
        asked[question] += 1
        if question.endswith("in 0?"):
            return proposal("bird a", "bird y", "bird z")  # the gold again, each time
        if question.endswith("in 1?") and asked[question] == 1:
            return Text("I cannot do that.")
        return proposal("bird x", "bird y", "bird z")

    with FakeServer(reply) as server:
        made = make_choices(workspace, "free", "mc", server.endpoint)
    assert made.given_up == {"q00": "Two of the choices are the same."}
    assert len(made.dataset.items) == 11
    assert sorted(asked.values()) == [1] * 10 + [2, 3]


def test_what_was_proposed_is_never_asked_for_twice(workspace: Workspace, material: Path) -> None:
    with FakeServer(
        lambda request: proposal("bird x", "bird y", "bird z") if request.number <= 5 else Status(400)
    ) as server:
        with pytest.raises(RunError, match="stopped answering"):
            make_choices(workspace, "free", "second", server.endpoint, concurrency=1)
        count = len(server.requests)
        server.reply = lambda request: proposal("bird u", "bird v", "bird w")
        made = make_choices(workspace, "free", "second", server.endpoint, concurrency=1)
        assert len(made.dataset.items) == 12 and len(server.requests) == count + 7


def test_bad_wishes_are_one_sentence(workspace: Workspace, material: Path) -> None:
    with FakeServer(Text("no")) as server:
        with pytest.raises(ItemError, match="has no free-form questions"):
            make_choices(workspace, "nothing", "mc", server.endpoint)
        with pytest.raises(ItemError, match=r"No question got usable choices.*held no proposal"):
            make_choices(workspace, "free", "mc", server.endpoint)
        with pytest.raises(ItemError, match="already"):
            make_choices(workspace, "free", "free", server.endpoint)
    (material / "choices.jsonl").unlink()
    with (
        FakeServer(lambda request: Status(400, "no such thing")) as server,
        pytest.raises(RunError, match="stopped answering"),
    ):
        make_choices(workspace, "free", "mc", server.endpoint)
    assert not (workspace.datasets / "mc").exists()
