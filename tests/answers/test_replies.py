"""Replies of many models, by kind: each is read as a careful grader would read it, or not at all."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from audioreason.answers import RawResponse, read
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
