"""What is wrong with an item is said item by item, in words, with how much it matters."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioreason.items import (
    EXPLANATIONS,
    Finding,
    Item,
    load_dataset,
    save_dataset,
    validate,
    validate_items,
    wav_bytes,
)
from audioreason.progress import Quiet
from audioreason.workspace import Workspace


def findings(**fields: object) -> dict[str, Finding]:
    """Findings by code for one item that is otherwise in order."""
    values = {
        "id": "x",
        "question": "What?",
        "choices": ("one", "two"),
        "answer": "one",
        "language": "en",
    } | fields
    return {finding.code: finding for finding in validate_items([Item.model_validate(values)])}


def test_an_item_in_order_has_no_findings() -> None:
    assert findings() == {}


@pytest.mark.parametrize(
    ("fields", "code", "severity", "words"),
    [
        ({"question": " "}, "empty-question", "error", "question is empty"),
        ({"choices": ("one",)}, "few-choices", "error", "only 1 choice"),
        ({"choices": ()}, "few-choices", "error", "no choices"),
        ({"answer": "three"}, "gold-missing", "error", "'three' is none of the 2 choices"),
        ({"answer": "One."}, "gold-missing", "error", "it is choice A ('one')"),
        ({"choices": ("one", "one", "two")}, "gold-ambiguous", "error", "Choices A and B are both the gold"),
        ({"choices": ("one", "two", "two")}, "duplicate-choice", "info", "Choices B and C are both 'two'"),
        ({"choices": ("one", "a b", "b, a")}, "same-words", "info", "Choices B and C have the same words"),
        ({"choices": ("a b", "b, A", "c"), "answer": "a b"}, "same-words", "warning", "'a b', 'b, A'"),
        ({"choices": ("one", "two", "")}, "empty-choice", "info", "Choice C is empty"),
        ({"choices": ("one", ""), "answer": ""}, "empty-choice", "error", "Choice B is empty"),
        ({"choices": ("+", "one"), "answer": "+"}, "no-words", "warning", "Choice A ('+')"),
        ({"choices": ("(A) x", "(B) y"), "answer": "(A) x"}, "lettered-choices", "warning", "'(A) x'"),
        ({"choices": ("(B) x", "(A) y"), "answer": "(B) x"}, "lettered-choices", "warning", "out of order"),
        (
            {"choices": ("a) x", "b) y"), "answer": "a) x"},
            "lettered-choices",
            "warning",
            "letters, as in 'a) x'",
        ),
        (
            {"choices": ("1. x", "2. y"), "answer": "1. x"},
            "lettered-choices",
            "warning",
            "numbers, as in '1. x'",
        ),
        ({"choices": ("one ", "two"), "answer": "one "}, "odd-whitespace", "info", "ends with a space"),
        ({"question": "What\tis  it?"}, "odd-whitespace", "info", "several spaces"),
        ({"question": "Wh\u200bat?"}, "odd-characters", "warning", "U+200B"),
        ({"question": "\U0001f9d1\u200d\U0001f9d1?"}, "odd-characters", "info", "U+200D"),
        ({"question": "Is it <|im_end|> now?"}, "special-token", "warning", "'<|im_end|>'"),
        ({"language": None}, "no-language", "info", "not given"),
        ({"language": "zh|en"}, "several-languages", "info", "zh, en"),
    ],
)
def test_each_trap_is_found(fields: dict[str, object], code: str, severity: str, words: str) -> None:
    found = findings(**fields)
    assert code in found
    assert found[code].severity == severity
    assert words in found[code].message
    assert found[code].explanation


def test_two_items_with_one_id_are_reported() -> None:
    item = Item(id="x", question="q", choices=("a", "b"), answer="a", language="en")
    assert [finding.code for finding in validate_items([item, item])] == ["duplicate-id"]


def test_many_items_from_one_recording_are_reported_once() -> None:
    many = [
        Item(
            id=f"{n}",
            question="q",
            choices=("a", "b"),
            answer="a",
            language="en",
            url=f"https://youtu.be/aaaaaaaaaaa?t={n}",
        )
        for n in range(6)
    ]
    (finding,) = validate_items(many)
    assert (finding.code, finding.item_id) == ("one-source", "")
    assert "6 of 6 items come from youtube:aaaaaaaaaaa" in finding.message


text = st.text(max_size=30)


@settings(max_examples=100, deadline=None)
@given(
    st.builds(
        Item,
        id=text,
        question=text,
        choices=st.lists(text, max_size=4).map(tuple),
        answer=text,
        language=st.none() | text,
    )
)
def test_every_finding_is_explained_and_every_unscorable_item_has_an_error(item: Item) -> None:
    found = validate_items([item])
    assert all(finding.code in EXPLANATIONS for finding in found)
    if item.gold is None:
        assert any(finding.severity == "error" for finding in found)


def test_clips_are_heard_and_each_trouble_is_named(workspace: Workspace, tiny_dataset) -> None:
    data = tiny_dataset("tiny", n=8)
    audio = data.root / "audio"
    (audio / "001.wav").unlink()
    (audio / "002.wav").write_bytes(b"not sound at all")
    (audio / "003.wav").write_bytes(wav_bytes(np.zeros(16_000, np.float32)))
    (audio / "004.wav").write_bytes(wav_bytes(np.sin(np.arange(800, dtype=np.float32))))
    (audio / "005.wav").write_bytes((audio / "005.wav").read_bytes()[:9_000])
    changed = list(data.items)
    changed[6] = changed[6].model_copy(update={"audio_path": "../../secret.wav"})
    changed[7] = changed[7].model_copy(update={"audio_path": None})
    save_dataset(data.root, data.info, changed, workspace.cache)
    found = validate(load_dataset(workspace, "tiny"))
    assert {(finding.item_id, finding.code, finding.severity) for finding in found} == {
        ("tiny-001", "missing-clip", "error"),
        ("tiny-002", "unreadable-clip", "error"),
        ("tiny-003", "silent-clip", "warning"),
        ("tiny-004", "short-clip", "warning"),
        ("tiny-005", "incomplete-clip", "warning"),
        ("tiny-006", "refused-clip", "error"),
        ("tiny-007", "no-clip", "info"),
    }
    assert validate(load_dataset(workspace, "tiny")) == found  # from the memory of decoded clips


def test_a_dataset_without_any_clip_says_so_once(workspace: Workspace, tiny_dataset) -> None:
    data = tiny_dataset("tiny", n=4)
    for clip in (data.root / "audio").iterdir():
        clip.unlink()
    (finding,) = validate(load_dataset(workspace, "tiny"))
    assert (finding.code, finding.severity) == ("no-clips-here", "info")


def test_checking_stops_when_asked(tiny_dataset) -> None:
    progress = Quiet()
    progress.stop()
    data = tiny_dataset("tiny", n=3)
    (data.root / "audio" / "000.wav").write_bytes(b"broken")
    assert validate(data, progress) == []


def test_every_finding_on_mmar_is_known_and_explained(mmar_meta: Path) -> None:
    kept = [Item.model_validate_json(line) for line in mmar_meta.read_bytes().splitlines()]
    found = validate_items(kept)
    assert {finding.severity for finding in found} == {"info", "warning"}
    assert all(finding.explanation and finding.message.endswith(".") for finding in found)
    items_by_code = Counter(code for code, _ in {(finding.code, finding.item_id) for finding in found})
    assert items_by_code == {
        "no-language": 320,
        "several-languages": 18,
        "same-words": 23,
        "odd-whitespace": 13,
        "empty-choice": 4,
        "odd-characters": 1,
    }
    assert {finding.code for finding in found if finding.severity == "warning"} == {"same-words"}


def test_findings_are_plain_data() -> None:
    assert findings(language=None)["no-language"].to_dict() == {
        "item_id": "x",
        "code": "no-language",
        "severity": "info",
        "message": "The language is not given.",
    }
