"""A dataset in numbers: counts, durations once clips were decoded, problems without sealed examples."""

from __future__ import annotations

import pytest

from audioreason.items import Finding, validate
from audioreason.items.facts import facts
from audioreason.items.validate import known_clips
from tests.conftest import TinyDataset


def test_counts_and_durations(tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset(n=6)
    assert facts(data, []).decoded == 0 and known_clips(data) == {}
    found = facts(data, validate(data))
    assert (found.items, found.clips, found.decoded, found.recordings) == (6, 6, 6, 6)
    assert found.seconds == pytest.approx(3.6) and found.shortest == found.longest == pytest.approx(0.6)
    kinds = {kind.name: dict(kind.counts) for kind in found.kinds}
    assert kinds["Subcategory"] == {"Counting": 2, "Speaker Analysis": 2, "Style": 2}
    assert "Difficulty" not in kinds and sum(found.splits.values()) == 6


def test_problems_are_gravest_first_and_never_show_a_hidden_item(tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset(n=2, clips=False)
    findings = [
        Finding("tiny-000", "no-language", "info", "The language is not given."),
        Finding("tiny-000", "gold-missing", "error", "The gold answer is none."),
        Finding("tiny-001", "gold-missing", "error", "Neither is this."),
    ]
    first, second = facts(data, findings, hidden={"tiny-000"}).problems
    assert (first.code, first.items, first.example_item) == ("gold-missing", 2, "tiny-001")
    assert (second.code, second.items, second.example, second.example_item) == ("no-language", 1, "", "")
