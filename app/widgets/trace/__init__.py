"""The trace: what a model wrote, section by section, with times that can be heard.

Model text travels as data and is shown as text. Knows nothing about where the answer came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import streamlit as st

from app.widgets.trace.parts import Part, mark_changes, mark_read, parts

__all__ = ["Part", "Section", "mark_changes", "mark_read", "parts", "trace"]

_FOLDER = Path(__file__).parent
_LONGEST = 60_000  # characters of one section that are drawn; the rest is in the stored generation
_component = st.components.v2.component(
    "audioreason_trace",
    html=(_FOLDER / "trace.html").read_text(),
    css=(_FOLDER / "trace.css").read_text(),
    js=(_FOLDER / "trace.js").read_text(),
)


@dataclass(frozen=True)
class Section:
    """A named stretch of an answer. `quiet` is for thinking, `strong` for the answer itself."""

    name: str
    parts: Sequence[Part]
    tone: Literal["", "quiet", "strong", "note"] = ""


def trace(
    sections: Sequence[Section],
    *,
    key: str,
    clip: str | None = None,
    height: int | None = None,
    boxed: bool = False,
    stacked: bool = False,
    streaming: bool = False,
    empty: str = "",
) -> None:
    """Draw sections of an answer.

    Args:
        sections: in the order they are shown.
        key: unique on the page; the same key with new data updates in place.
        clip: id of the player that its times seek in (`ClipView.id`).
        height: px; longer text scrolls inside, so that streaming never moves the page.
        boxed: draw a border.
        stacked: names above their text instead of beside it, for narrow columns.
        streaming: show a caret at the end and follow it.
        empty: what to say while there are no sections.
    """
    _component(
        key=key,
        data={
            "sections": [
                {"name": s.name, "tone": s.tone, "parts": _shortened(s.parts)} for s in sections if s.parts
            ],
            "clip": clip,
            "height": height,
            "boxed": boxed,
            "stacked": stacked,
            "streaming": streaming,
            "empty": empty,
        },
    )


def _shortened(pieces: Sequence[Part]) -> list[Part]:
    kept: list[Part] = []
    left = _LONGEST
    for piece in pieces:
        if left <= 0:
            break
        kept.append({**piece, "text": piece["text"][:left].replace("\0", "�")})
        left -= len(piece["text"])
    if left <= 0:
        kept.append({"text": f"\n[cut after {_LONGEST:,} characters]"})
    return kept
