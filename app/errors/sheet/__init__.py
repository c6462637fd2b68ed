"""The list of predictions: one page of rows, each a button that opens its item without a rerun of the page.

The row that is open follows by a window event, so that going from item to item never redraws the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import streamlit as st

_FOLDER = Path(__file__).parent
_LONGEST = 300  # characters of a cell
_component = st.components.v2.component(
    "audioreason_sheet",
    html=(_FOLDER / "sheet.html").read_text(),
    css=(_FOLDER / "sheet.css").read_text(),
    js=(_FOLDER / "sheet.js").read_text(),
)


@dataclass(frozen=True)
class Line:
    """One prediction in the list. `more` is a short number at the end; `tagged` puts a dot in front."""

    item: str
    sample: int
    question: str
    given: str
    gold: str
    more: str = ""
    tone: Literal["", "right", "wrong"] = ""
    tagged: bool = False


def sheet(
    lines: Sequence[Line], *, key: str, current: tuple[str, int] | None, more: str, height: int
) -> None:
    """Draw the list.

    Args:
        lines: one page.
        key: unique on the page.
        current: item and sample that are open.
        more: heading of the last column.
        height: px; more rows scroll.
    """
    _component(
        key=key,
        height=height,
        data={
            "lines": [
                {
                    "item": line.item,
                    "sample": line.sample,
                    "cells": [
                        text[:_LONGEST].replace("\0", "�")
                        for text in (line.question, line.given, line.gold, line.more)
                    ],
                    "tone": line.tone,
                    "tagged": line.tagged,
                }
                for line in lines
            ],
            "current": list(current) if current else None,
            "more": more,
            "height": height,
        },
    )
