"""Answers side by side: one bordered card each, with the spread of its samples and one of them to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from app.playground import answer
from app.playground.picker import Picked
from app.session import plain
from app.widgets.bars import bars
from app.widgets.trace import Section, mark_changes, trace
from audioreason.runs.play import Play


@dataclass(frozen=True)
class Card:
    """What one card shows: its heading as Markdown, and the generations of its URL parameter."""

    name: str
    heading: str
    ids: tuple[str, ...]
    tools: Callable[[], None] | None = None  # drawn at the right end of the heading


def draw(
    cards: Sequence[Card], picked: Picked, *, height: int, differences: bool = False
) -> list[list[Play]]:
    """Draw the cards in equal columns and return the generations of each."""
    found = [answer.plays(card.ids) for card in cards]
    shown = [_shown(plays) for plays in found]
    texts = [_texts(play, picked) for play in shown]
    for place, (column, card) in enumerate(zip(st.columns(len(cards), gap="small"), cards, strict=True)):
        reference = texts[1 if place == 0 else 0] if differences and len(cards) > 1 else None
        with column.container(border=True, gap="small", height="stretch"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(card.heading, width="content")
                if card.tools is not None:
                    st.space("stretch")
                    card.tools()
            _card(card, found[place], shown[place], picked, height, reference)
    return found


def _card(
    card: Card,
    plays: list[Play],
    shown: Play | None,
    picked: Picked,
    height: int,
    reference: dict[str, str] | None,
) -> None:
    _headline(plays, shown, picked)
    done = [play.score.resolution.index for play in plays if play.state == "done"]
    gold = None if picked.hidden else picked.item.gold
    bars(picked.item.choices, done, total=max(1, len(card.ids)), key=f"bars_{card.name}", gold=gold)
    trace(
        _sections(shown, picked, reference),
        key=f"trace_{card.name}",
        clip=picked.clip.id,
        height=height,
        stacked=True,
        streaming=shown is not None and not shown.finished,
        empty="" if shown else "Not asked yet.",
    )
    answer.cost(shown, brief=True)


def _headline(plays: list[Play], shown: Play | None, picked: Picked) -> None:
    if shown is None:
        st.markdown("&nbsp;")
        return
    done = [play for play in plays if play.finished]
    with st.container(horizontal=True, gap="small"):
        left, _ = answer.verdict(shown, picked.hidden)
        st.markdown(left, width="content")
        st.space("stretch")
        if len(plays) > 1 and not picked.hidden and picked.item.gold is not None:
            right = sum(bool(play.score.strict) for play in done)
            st.markdown(f"{right}/{len(done)} :gray[right]", width="content")


def _shown(plays: list[Play]) -> Play | None:
    """The sample to read: the first that says what most of them say, so that a stray one misleads nobody."""
    done = [play for play in plays if play.state == "done"]
    if not done or len(done) < len(plays):
        return plays[0] if plays else None
    given = [play.score.resolution.index for play in done]
    commonest = max(given, key=given.count)
    return done[given.index(commonest)]


def _texts(play: Play | None, picked: Picked) -> dict[str, str]:
    if play is None:
        return {}
    sections = answer.sections(play, picked)
    return {section.name: "".join(part["text"] for part in section.parts) for section in sections}


def _sections(play: Play | None, picked: Picked, reference: dict[str, str] | None) -> list[Section]:
    if play is None:
        return []
    sections = answer.sections(play, picked)
    if len(sections) > 1 and sections[0].name == "Thinking":
        sections = sections[1:]  # a card is narrow: the thinking is on the main view
    if reference is None or not play.finished:
        return sections
    return [
        Section(one.name, mark_changes(one.parts, reference[one.name]), one.tone)
        if one.name in reference
        else one
        for one in sections
    ]


def heading(mark: str, name: str, rest: str) -> str:
    """A card's first line: a coloured square or nothing, a bold name, grey words."""
    return f"{mark}**{plain(name)}** :gray[{plain(rest)}]"
