"""Numbers with their nouns."""

from __future__ import annotations

from audioreason.wording import counted


def test_one_is_one_and_the_others_are_many() -> None:
    assert [counted(n, "item") for n in (0, 1, 2, 1000)] == ["0 items", "1 item", "2 items", "1,000 items"]
    assert [counted(n, "family", "families") for n in (1, 3)] == ["1 family", "3 families"]
