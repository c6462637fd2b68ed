"""Tags, note and erratum of the open prediction. What is clicked shows at once; the triage bar carries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

_FOLDER = Path(__file__).parent
_component = st.components.v2.component(
    "audioreason_tagbar",
    html=(_FOLDER / "tagbar.html").read_text(),
    css=(_FOLDER / "tagbar.css").read_text(),
    js=(_FOLDER / "tagbar.js").read_text(),
)


@dataclass(frozen=True)
class Label:
    """A tag that can be given, with its key (1 to 9) if it has one."""

    name: str
    key: int | None


def tagbar(
    labels: Sequence[Label],
    *,
    key: str,
    item: str,
    sample: int,
    given: Sequence[str],
    note: str,
    erratum: str | None,
    why: str,
    said: str,
) -> None:
    """Draw the tags.

    Args:
        labels: all tags, in order.
        key: unique on the page.
        item: id of the open item.
        sample: number of the open sample.
        given: tags of this prediction.
        note: its note.
        erratum: "wrong" or "ambiguous" if the item is marked so.
        why: what somebody wrote about that mark.
        said: what was done last, in words.
    """
    _component(
        key=key,
        data={
            "labels": [[label.name.replace("\0", "�"), label.key] for label in labels],
            "item": item,
            "sample": sample,
            "given": list(given),
            "note": note,
            "erratum": erratum,
            "why": why,
            "said": said,
        },
    )
