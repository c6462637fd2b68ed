"""A list of runs to choose from: type to search, click to add or take away; searching asks nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

_FOLDER = Path(__file__).parent
_LONGEST = 160  # characters of a text
_component = st.components.v2.component(
    "audioreason_runlist",
    html=(_FOLDER / "runlist.html").read_text(),
    css=(_FOLDER / "runlist.css").read_text(),
    js=(_FOLDER / "runlist.js").read_text(),
)


@dataclass(frozen=True)
class Entry:
    """One run: its id, what it is called, what stands beside it, the words that find it, and its tags."""

    run_id: str
    name: str
    about: str
    accuracy: str
    when: str
    words: str
    tags: tuple[str, ...] = ()


def runlist(
    entries: Sequence[Entry], chosen: Sequence[str], *, key: str, full: bool, search: bool = True
) -> str | None:
    """Draw the list; the id of the run that was just clicked, else None.

    Args:
        entries: in their order.
        chosen: ids that are ticked.
        key: unique on the page.
        full: no more can be added.
        search: show the field that searches these entries.
    """
    result = _component(
        key=key,
        data={
            "entries": [
                {
                    "id": entry.run_id,
                    "name": _cut(entry.name),
                    "about": _cut(entry.about),
                    "accuracy": entry.accuracy,
                    "when": entry.when,
                    "tags": [_cut(tag) for tag in entry.tags],
                    "words": entry.words.casefold()[:1_000],
                }
                for entry in entries
            ],
            "chosen": list(chosen),
            "full": full,
            "search": search,
        },
        on_toggled_change=lambda: None,
    )
    return result.get("toggled")


def _cut(text: str) -> str:
    return text[:_LONGEST].replace("\0", "�")
