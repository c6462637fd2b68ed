"""The row under the navigation: a page's own controls on the left, the state of the machine on the right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from app import theme
from app.light import light_now
from app.widgets.feed import polling_component

_component = polling_component(
    "light",
    Path(__file__).parent / "feed",
    '<div class="light" role="status"><span class="dot" aria-hidden="true">●</span>'
    '<span class="words"></span></div>',
)


@contextmanager
def header() -> Iterator[None]:
    """Draw the row; what is drawn inside the block comes first, from the left."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="header"):
        yield
        st.space("stretch")
        theme.watch()
        with st.container(width="content"):
            now = light_now()
            # the page runs again when a model becomes ready or is lost
            _component(
                key="light", data={"now": now, "ready": now["ready"]}, on_changed_change=lambda: None,
                width="content",
            )  # fmt: skip
