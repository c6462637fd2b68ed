"""Replies of many models, by kind: each is read as a careful grader would read it, or not at all."""

from __future__ import annotations

import inspect
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioreason.answers import RawResponse, read, resolve
from tests.answers.replies import REPLIES

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "answers.jsonl"


@pytest.mark.parametrize("kind", REPLIES)
def test_replies_of_a_kind(kind: str) -> None:
    wrong = [
        (choices, said, want, found.resolution)
        for choices, said, want in REPLIES[kind]
        if (found := read(RawResponse(said, None, "stop"), choices)).resolution.index != want
    ]
    assert not wrong


def test_collected_replies() -> None:
    if not CASES.exists():
        pytest.skip("the collected replies are not here")
    rows = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    tally: Counter[str] = Counter()
    for row in rows:
        index = read(RawResponse(row["said"], row.get("thinking"), "stop"), row["choices"]).resolution.index
        tally[
            "right"
            if index == row["want"]
            else "lost"
            if index is None
            else "guessed"
            if row["want"] is None
            else "wrong"
        ] += 1
    assert tally["right"] >= 0.98 * len(rows)
    assert tally["wrong"] + tally["guessed"] <= 1


PIECES = (
    *(
        "ANSWER:",
        "<answer>",
        "</answer>",
        "<think>",
        "</think>",
        "\\boxed{",
        "}",
        '{"answer": "',
        '"',
        "the answer is",
    ),
    *(
        "I choose",
        "is correct",
        "not",
        "but",
        "or",
        "wait,",
        "so",
        "both",
        "none of the above",
        "bark",
        "meow",
        "3",
        "21",
    ),
    *(
        "-3 dB",
        "twenty",
        "one",
        "选",
        "答案是",
        "\n",
        ".",
        ",",
        "**",
        "✅",
        "❌",
        "the second option",
        "C sharp",
        "10 to 20 s",
    ),
)
texts = st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join) | st.text(max_size=200)
choice_lists = st.lists(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map(" ".join)
    | st.text(min_size=1, max_size=12),
    min_size=1,
    max_size=6,
    unique=True,
)


@settings(deadline=None)  # a busy machine
@given(texts, texts | st.none(), choice_lists)
def test_any_reply_is_read_as_a_choice_or_none_and_its_words_are_in_it(
    said: str, thinking: str | None, choices: list[str]
) -> None:
    reading = read(RawResponse(said, thinking, "stop"), choices)
    found = reading.resolution
    assert found.index is None or 0 <= found.index < len(choices)
    if found.start is not None and found.end is not None:
        whole = said if found.field == "content" else thinking or ""
        assert 0 <= found.start <= found.end <= len(whole)
    for name, (start, end) in reading.parsed.read.items():
        shown = reading.parsed.sections[name] if name else reading.parsed.visible
        assert 0 <= start <= end <= len(shown) + 1


@given(texts, choice_lists, st.randoms(use_true_random=False))
def test_permuting_the_choices_permutes_what_is_read(
    said: str, choices: list[str], shuffle: random.Random
) -> None:
    order = list(range(len(choices)))
    shuffle.shuffle(order)
    before, after = resolve(said, choices), resolve(said, [choices[i] for i in order])
    by_place = ("letter", "ordinal", "conflict")  # these name a place
    if any(found.rule in by_place for found in (before, after)):
        return
    assert (None if after.index is None else order[after.index]) == before.index


def test_the_reader_is_never_told_the_right_answer() -> None:
    for function in (read, resolve):
        assert not {"gold", "answer"} & set(inspect.signature(function).parameters)
