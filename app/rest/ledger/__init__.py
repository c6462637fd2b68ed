"""Rounds side by side: a row a figure, a column a round, every figure with its interval under it.

The head of a column leads to its round. Knows nothing about where the figures come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import streamlit as st

_FOLDER = Path(__file__).parent
_LONGEST = 120  # characters of a cell
_component = st.components.v2.component(
    "audioreason_ledger",
    html='<div class="ledger" role="table" aria-label="Rounds side by side"></div>',
    css=(_FOLDER / "ledger.css").read_text(),
    js=(_FOLDER / "ledger.js").read_text(),
)


@dataclass(frozen=True)
class Head:
    """A column: its name, and a small line under it. `quiet` is for figures that are not the lab's own."""

    name: str
    more: str = ""
    quiet: bool = False
    current: bool = False


@dataclass(frozen=True)
class Figure:
    """One cell: the figure, and its interval or what it is of. Empty where there is none."""

    text: str = ""
    more: str = ""
    tone: Literal["", "right", "wrong", "warn"] = ""


@dataclass(frozen=True)
class Line:
    """A row: what is counted, a Figure a column; `about` explains it under the pointer."""

    label: str
    figures: Sequence[Figure]
    about: str = ""


@dataclass(frozen=True)
class Group:
    """Rows that belong together, under a name."""

    title: str
    lines: Sequence[Line] = field(default_factory=tuple)


def ledger(heads: Sequence[Head], groups: Sequence[Group], *, key: str) -> int | None:
    """Draw the table; the number of the column whose head was just clicked, else None."""
    result = _component(
        key=key,
        data={
            "heads": [
                {"name": _cut(h.name), "more": _cut(h.more), "quiet": h.quiet, "current": h.current}
                for h in heads
            ],
            "groups": [
                {
                    "title": group.title,
                    "lines": [
                        {
                            "label": _cut(line.label),
                            "about": line.about,
                            "figures": [
                                {"text": _cut(f.text), "more": _cut(f.more), "tone": f.tone}
                                for f in line.figures
                            ],
                        }
                        for line in group.lines
                    ],
                }
                for group in groups
                if group.lines
            ],
        },
        on_head_change=lambda: None,
    )
    clicked = result.get("head")
    return int(clicked) if clicked is not None and 0 <= int(clicked) < len(heads) else None


def _cut(text: str) -> str:
    return text[:_LONGEST].replace("\0", "�")
