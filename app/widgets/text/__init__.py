"""A prompt's text, or the lines of a diff, as they are: drawn at once, scrolling inside, with a copy button.

`st.code` brings a highlighter of 1.5 MB for the same. Knows nothing about prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

_FOLDER = Path(__file__).parent
_LONGEST = 200_000  # characters that are drawn
_component = st.components.v2.component(
    "audioreason_text",
    html=(_FOLDER / "text.html").read_text(),
    css=(_FOLDER / "text.css").read_text(),
    js=(_FOLDER / "text.js").read_text(),
)


def text(body: str, *, key: str, height: int) -> None:
    """Draw `body` with its own line ends.

    Args:
        body: what is shown, and what is copied.
        key: unique on the page.
        height: px; longer text scrolls inside.
    """
    _draw([("", body)], key, height)


def changes(lines: Sequence[str], *, key: str, height: int) -> None:
    """Draw a unified diff: new lines tinted, old ones grey, each with its sign.

    Args:
        lines: as `audioreason.prompts.diff` gives them.
        key: unique on the page.
        height: px; more lines scroll inside.
    """
    _draw([(_tone(line), line) for line in lines], key, height)


def _tone(line: str) -> str:
    if line.startswith(("--- ", "+++ ", "@@")):
        return "about"
    return {"+": "new", "-": "old"}.get(line[:1], "")


def _draw(pieces: Sequence[tuple[str, str]], key: str, height: int) -> None:
    shown: list[tuple[str, str]] = []
    left = _LONGEST
    for tone, piece in pieces:
        if left <= 0:
            shown.append(("about", f"[cut after {_LONGEST:,} characters]"))
            break
        shown.append((tone, piece[:left].replace("\0", "�")))
        left -= len(piece)
    _component(key=key, data={"pieces": shown, "height": height})
