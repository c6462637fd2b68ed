"""Where a candidate won and lost against the seed, and one such item with player and both answers."""

from __future__ import annotations

import streamlit as st

from app import session
from app.errors.words import outcome_words
from app.optimize import address, look
from app.optimize.address import Address
from app.optimize.look import Found
from app.playground.picker import hidden
from app.session import plain
from app.widgets.player import Cue, player
from app.widgets.question import question
from app.widgets.rows import Column, Tone, rows
from app.widgets.trace import Section, parts, trace
from audioreason.answers import RawResponse, parse
from audioreason.items import Item
from audioreason.optimize.record import AnswerRecord
from audioreason.optimize.view import Flip, Row
from audioreason.runs.desk import note_opened

_WORDS = {"won": "won", "lost": "lost", "both_right": "both right", "both_wrong": "both wrong"}
_COLUMNS = (
    Column("Item", "minmax(0, 1.3fr)"),
    Column("Part", "48px"),
    Column("", "80px"),
    Column("Seed said"),
    Column("It says"),
)
_LIST, _TRACE = 152, 236  # px


def items(now: Address, found: Found, row: Row) -> None:
    """Draw the counts, the list, and the item that is open."""
    seed = found.seed
    if seed is None or row.candidate.id == seed.id:
        st.markdown(":gray[This is the seed. Choose another candidate to see where the two differ.]")
        return
    flips = found.flips(row.candidate.id, seed.id)
    if not flips:
        st.markdown(":gray[No item has been answered by both this candidate and the seed.]")
        return
    _counts(flips)
    shown = [one for one in flips if one.cell in ("won", "lost")] or flips
    sealed = {one.item_id for one in shown if hidden(found.search.config.dataset, one.item_id)}
    shown.sort(key=lambda one: one.item_id in sealed)
    opened = next((one for one in flips if one.item_id == now.item), shown[0])
    _list(found, shown, opened, sealed)
    _open(found, row, opened)


def _counts(flips: list[Flip]) -> None:
    counts = {name: sum(one.cell == name for one in flips) for name in _WORDS}
    st.markdown(
        f"**{counts['won']:,}** :green[won] &ensp; **{counts['lost']:,}** :red[lost] &ensp; "
        f":gray[{counts['both_right']:,} both right · {counts['both_wrong']:,} both wrong · train and dev]"
    )


def _choice(item: Item | None, given: int | None, outcome: str) -> str:
    if given is None:
        return outcome_words(outcome)
    return item.choices[given] if item and given < len(item.choices) else f"choice {given + 1}"


def _list(found: Found, shown: list[Flip], opened: Flip, sealed: set[str]) -> None:
    """The items; what was said about a sealed one nobody has opened is not shown."""
    cells: list[tuple[str, ...]] = []
    tones: list[tuple[Tone, ...]] = []
    for one in shown:
        item = found.item(one.item_id)
        before = _choice(item, one.before.choice, one.before.outcome)
        after = _choice(item, one.after.choice, one.after.outcome)
        if one.item_id in sealed:
            before = after = "sealed"
        cells.append((one.item_id, one.split, _WORDS[one.cell], before, after))
        tone: Tone = "right" if one.cell == "won" else "wrong" if one.cell == "lost" else ""
        tones.append(("", "", tone, "", ""))
    clicked = rows(
        _COLUMNS,
        cells,
        key="optimize_flips",
        clickable=True,
        current=shown.index(opened) if opened in shown else None,
        height=_LIST,
        tones=tones,
    )
    if clicked is not None and shown[clicked].item_id != opened.item_id:
        address.go(item=shown[clicked].item_id)
        st.rerun()


def _open(found: Found, row: Row, flip: Flip) -> None:
    item = found.item(flip.item_id)
    if item is None or found.data is None:
        st.markdown(
            f":gray[{plain(flip.item_id)} is not in the dataset any more: only the answers are left.]"
        )
    elif hidden(found.data.info.name, item.id):
        st.markdown("**This item is in the sealed half.** :gray[Looking at it is recorded.]")
        if st.button("Open this item", key="optimize_open", icon=":material/lock_open:"):
            note_opened(session.workspace(), found.data.info.name, item.id)
            st.rerun()
        return
    clip_id, seconds = None, 0.0
    if item is not None and found.data is not None:
        clip = session.clip_view(found.data, item)
        clip_id, seconds = clip.id, clip.seconds
        if clip.url is None:
            st.markdown(f":small[:gray[{plain(clip.problem)}]]")
        else:
            marks = [Cue(event.start, event.end, event.label) for event in item.events]
            player(clip, key="optimize_player", cues=marks, size="small")
        question(item, key="optimize_question", given=flip.after.choice, row=True, details=False)
    answers = look.answers(found, flip)
    expected = look.sections(found)
    for column, name, verdict, answer, key in zip(
        st.columns(2, gap="small"),
        ("Seed", found.name(row.candidate.id)),
        (flip.before, flip.after),
        answers,
        ("optimize_trace_a", "optimize_trace_b"),
        strict=True,
    ):
        with column:
            colour = "orange" if verdict.strict is None else "green" if verdict.strict else "red"
            said = _choice(item, verdict.choice, verdict.outcome)
            st.markdown(
                f":small[**{plain(name)}** :{colour}[{plain(said[:60])} · {outcome_words(verdict.outcome)}]]"
            )
            trace(
                _sections(answer, item, seconds, expected),
                key=key,
                clip=clip_id,
                height=_TRACE,
                stacked=True,
                boxed=True,
                empty="This answer was not kept.",
            )


def _sections(
    answer: AnswerRecord | None, item: Item | None, seconds: float, expected: tuple[str, ...]
) -> list[Section]:
    if answer is None:
        return []
    parsed = parse(RawResponse(answer.content, answer.reasoning, answer.finish_reason), expected)
    events = item.events if item else ()
    shown = [
        Section(
            name,
            parts(text, seconds, events if name == "HEARD" else ()),
            "strong" if name == "ANSWER" else "",
        )
        for name, text in parsed.sections.items()
    ]
    if not parsed.sections and parsed.visible:
        shown.append(Section("Text", parts(parsed.visible, seconds, events)))
    if parsed.thinking:
        shown.append(Section("Thinking", parts(parsed.thinking, seconds), "quiet"))
    return shown
