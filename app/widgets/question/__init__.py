"""One item's question and choices, as text whatever they hold, with the gold and the given choice marked."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from audioreason.items.schema import Item

_FOLDER = Path(__file__).parent
_LONGEST = 20_000  # characters of a question that are drawn
_component = st.components.v2.component(
    "audioreason_question",
    html=(_FOLDER / "question.html").read_text(),
    css=(_FOLDER / "question.css").read_text(),
    js=(_FOLDER / "question.js").read_text(),
)


def question(
    item: Item,
    *,
    key: str,
    show_gold: bool = True,
    given: int | None = None,
    row: bool = False,
    details: bool = True,
) -> None:
    """Draw an item's question.

    Args:
        item: what was asked.
        key: unique on the page; the same key with another item updates in place.
        show_gold: mark the gold choice and show the reference reasoning.
        given: index of the choice a prediction resolved to, marked right or wrong when the gold is shown.
        row: choices in one line, for the wide pages.
        details: show what kind of item it is and the reference.
    """
    badges = [item.layer, item.subcategory, item.modality, item.language]
    if item.difficulty is not None:
        badges.append(f"difficulty {item.difficulty}")
    _component(
        key=key,
        data={
            "question": _cut(item.question),
            "choices": [_cut(choice, 2_000) for choice in item.choices],
            "gold": item.gold if show_gold else None,
            "given": given,
            "row": row,
            "badges": [_cut(badge, 80) for badge in badges if badge] if details else [],
            "reference": _cut(item.thinking or "") if details and show_gold else "",
        },
    )


def _cut(text: str, longest: int = _LONGEST) -> str:
    text = text.replace("\0", "�")
    return text if len(text) <= longest else f"{text[:longest]} [cut: {len(text):,} characters]"
