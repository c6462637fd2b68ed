"""Numbers with their nouns, the same in every sentence of the lab. Pure text."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """ "1 item", "1,000 items"; `many` where an s is not enough: "2 tries"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
