"""Components that keep themselves up to date: the browser polls an address of the lab, and no script runs.

A fragment that redraws itself every second costs the server many times as much, and a hidden tab should cost
nothing. What the browser is told is text and numbers, shown by `textContent` alone. Knows nothing about what
is polled: `app/feeds.py` answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

_FOLDER = Path(__file__).parent


def polling_component(name: str, folder: Path, html: str) -> Any:
    """The component of `NAME.js` and, if there is one, `NAME.css`; both may use what `feed.js` and
    `feed.css` define."""
    style = folder / f"{name}.css"
    return st.components.v2.component(
        f"audioreason_{name}",
        html=html,
        css=(_FOLDER / "feed.css").read_text() + (style.read_text() if style.is_file() else ""),
        js=(_FOLDER / "feed.js").read_text() + (folder / f"{name}.js").read_text(),
    )
