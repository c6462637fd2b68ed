"""The triage bar: which item is open, the way to the next, the keyboard of the page, and what was done.

Everything somebody does to the open item - by key, by a click in the list, by a tag - comes through here as
a log of operations with growing numbers, so that none is lost when they come faster than the page reruns,
and none is done twice. Knows nothing about what an operation means.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from app.session import ClipView

_FOLDER = Path(__file__).parent
_SEEN = "keys_seen"
_component = st.components.v2.component(
    "audioreason_keys",
    html=(_FOLDER / "keys.html").read_text(),
    css=(_FOLDER / "keys.css").read_text(),
    js=(_FOLDER / "keys.js").read_text(),
)


@dataclass(frozen=True)
class Place:
    """One prediction that can be gone to."""

    item: str
    sample: int


@dataclass(frozen=True)
class Chip:
    """One sample of the open item: what it says, and whether that is right (None: not known)."""

    sample: int
    text: str
    right: bool | None


@dataclass(frozen=True)
class Near:
    """A neighbour in the list and its clip, fetched before it is asked for."""

    item: str
    clip: ClipView


def keys(
    places: Sequence[Place],
    *,
    key: str,
    current: Place | None,
    clip: str | None,
    words: str,
    apply: Callable[[dict[str, Any]], None],
    before: bool = False,
    after: bool = False,
    chips: Sequence[Chip] = (),
    near: Sequence[Near] = (),
    pinned: bool = False,
    leave: bool = False,
) -> None:
    """Draw the bar and listen to the keyboard.

    Args:
        places: the page of the list, in order.
        key: unique on the page.
        current: what is open.
        clip: id of the player of what is open; autoplay starts it.
        words: where in the list this is, such as "3 of 21".
        apply: called once for each new operation, before the page is drawn: a dict with `do` ("open",
            "page", "pin", "tag", "note", "mark", "undo", "leave") and what it needs.
        before: there is a page before this one.
        after: there is a page after this one.
        chips: the samples of the open item, if there are several.
        near: what to fetch ahead.
        pinned: the open item is pinned.
        leave: the open item can be opened in the playground.
    """
    token = st.session_state.setdefault("keys_session", secrets.token_hex(4))

    def changed() -> None:
        state = st.session_state.get(key) or {}
        seen: dict[str, int] = st.session_state.setdefault(_SEEN, {})
        for step in state.get("log") or ():
            page, number = str(step.get("page_id")), int(step.get("number", 0))
            # a browser that outlived the server's restart brings its old log along
            if step.get("session") != token or number <= seen.get(page, 0):
                continue
            seen[page] = number
            apply(dict(step))

    _component(
        key=key,
        data={
            "places": [[place.item, place.sample] for place in places],
            "current": [current.item, current.sample] if current else None,
            "clip": clip,
            "words": words,
            "before": before,
            "after": after,
            "chips": [
                {"sample": c.sample, "text": c.text[:80].replace("\0", "�"), "right": c.right} for c in chips
            ],
            "near": [
                {
                    "item": one.item,
                    "id": one.clip.id,
                    "clip": one.clip.url,
                    "model": one.clip.model_url,
                    "picture": one.clip.spectrogram_url,
                }
                for one in near
            ],
            "pinned": pinned,
            "leave": leave,
            "session": token,
            "seen": st.session_state.get(_SEEN, {}),
        },
        on_log_change=changed,
    )
