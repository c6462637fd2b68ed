"""The right of Triage: one prediction, heard, read and judged. A fragment: going on redraws only this.

What somebody does here arrives as operations of the triage bar; each is on disk before the page shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import session
from app.errors import address, heard, look, notes
from app.errors.address import Address
from app.errors.keys import Chip, Near, Place, keys
from app.errors.look import Opened
from app.errors.reading import cues, sections
from app.errors.tagbar import Label, tagbar
from app.errors.words import letter, outcome_words, run_label
from app.navigation import page
from app.playground.picker import hidden
from app.session import plain
from app.theme import palette
from app.widgets.player import player
from app.widgets.question import question
from app.widgets.rows import Column, Tone, rows
from app.widgets.runs import run_colours, run_mark
from app.widgets.trace import trace
from audioreason.errors import LabError, RunError
from audioreason.runs.desk import note_opened, pins, set_pin

_TRACE = 280  # px
_PLAYER = 124  # px that the trace takes over where there is nothing to play
_OTHERS = (
    Column("Same item in", "minmax(0, 1.5fr)"),
    Column("Choice"),
    Column("Outcome", "110px"),
    Column("Samples right", "104px", number=True),
)


@dataclass(frozen=True)
class Listed:
    """The page of the list that the detail walks through; `first` counts from 0 in all `total`."""

    places: tuple[tuple[str, int], ...]
    first: int
    total: int

    def current(self) -> tuple[str, int] | None:
        """What is open: what the address names, else the first of the page."""
        now = address.here()
        if now.item:
            return now.item, now.sample
        return self.places[0] if self.places else None

    def words(self, place: tuple[str, int] | None) -> str:
        """Where something is in the list."""
        if place in self.places:
            return f"{self.first + self.places.index(place) + 1:,} of {self.total:,}"
        return "not in this list" if place else ""


@st.fragment
def detail(run: Mapping[str, Any], listed: Listed) -> None:
    """Draw the open prediction, or what stands against it."""
    if st.session_state.pop("errors_again", False):
        st.rerun()  # figures or the list have changed too
    place = listed.current()
    found: Opened | None = None
    problem = "" if place else "Nothing is open: the list is empty."
    if place is not None and hidden(str(run["dataset"]), place[0]):
        _bar(run, listed, place, None)
        _sealed(run, place[0])
        return
    if place is not None:
        try:
            found = look.prediction(run, *place)
        except RunError as error:
            problem = error.message
    _bar(run, listed, place, found)
    if found is None:
        st.markdown(f":gray[{plain(problem)}]")
        return
    with st.container(gap="xsmall"):
        _show(address.here(), run, found)
    _prepare(run, listed, place)


def _bar(run: Mapping[str, Any], listed: Listed, place: tuple[str, int] | None, found: Opened | None) -> None:
    data = found.data if found else None
    keys(
        [Place(*one) for one in listed.places],
        key="errors_keys",
        current=Place(*place) if place else None,
        clip=found.clip.id if found and found.clip.url else None,
        words=listed.words(place),
        apply=lambda step: _apply(run, step),
        before=listed.first > 0,
        after=listed.first + len(listed.places) < listed.total,
        chips=_chips(run, found),
        near=_near(run, listed, place),
        pinned=found is not None and found.item.id in pins(session.workspace(), str(run["dataset"])),
        leave=found is not None and data is not None and found.item.id in data,
    )


def leave_if_asked() -> None:
    """Go to the playground if somebody asked to; called before anything is drawn."""
    if (query := st.session_state.pop("errors_leave", None)) is not None:
        st.switch_page(page("playground"), query_params=query)


def _chips(run: Mapping[str, Any], found: Opened | None) -> list[Chip]:
    if found is None or int(run["samples"]) < 2:
        return []
    samples = look.samples(run, found.item.id)
    return [
        Chip(int(one["sample"]), str(one["choice_text"] or outcome_words(one["outcome"])), one["strict"])
        for one in samples
    ]


def _near(run: Mapping[str, Any], listed: Listed, place: tuple[str, int] | None) -> list[Near]:
    views = [(item, look.neighbour(run, item)) for item, _ in _around(listed, place)]
    return [Near(item, view) for item, view in views if view is not None]


def _around(listed: Listed, place: tuple[str, int] | None) -> list[tuple[str, int]]:
    """The next two and the one before."""
    at = listed.places.index(place) if place in listed.places else -1
    wanted = [at + 1, at + 2, at - 1]
    return [listed.places[k] for k in wanted if 0 <= k < len(listed.places)]


def _prepare(run: Mapping[str, Any], listed: Listed, place: tuple[str, int] | None) -> None:
    look.ahead(run, _around(listed, place))


def _sealed(run: Mapping[str, Any], item_id: str) -> None:
    st.markdown("**This item is in the sealed half.** :gray[Looking at it is recorded.]")
    if st.button("Open this item", key="errors_open_one", icon=":material/lock_open:"):
        note_opened(session.workspace(), str(run["dataset"]), item_id)
        st.rerun(scope="fragment")


def _show(now: Address, run: Mapping[str, Any], found: Opened) -> None:
    item, clip = found.item, found.clip
    if clip.url is None:
        st.markdown(f":small[:gray[{plain(clip.problem)}]]")
    else:
        player(clip, key="errors_player", cues=cues(found), size="medium")
    question(item, key="errors_question", given=found.detail.scored.choice, row=True, details=False)
    kind = [item.layer, item.subcategory, item.modality, item.language]
    words = " · ".join(str(one) for one in kind if one)
    outcome = f":{_colour(found)}[{outcome_words(found.detail.scored.outcome)}]"
    claimed = heard.outcome_of(run, item.id, found.detail.prediction.sample)
    if claimed:
        outcome += f" :gray[· events {claimed} ·]"
    if found.detail.scored.choice is None:
        outcome += _judged(run, found)
    st.markdown(f":small[{outcome} :gray[{plain(words)}]]")
    others = look.elsewhere(run, item.id)
    height = _TRACE if clip.url else _TRACE + _PLAYER
    _traces(now, run, found, {str(one["run_id"]) for one in others}, height)
    _tags(run, found)
    _table(now, others)


def _judged(run: Mapping[str, Any], found: Opened) -> str:
    """What a judge read where no choice was read: a label of its own, as it is in no score."""
    readings = look.judged(str(run["run_id"]), found.item.id, found.detail.prediction.sample)
    return "".join(
        f" :violet-badge[{plain(one.judge)} read"
        f" {'no choice' if one.choice is None else letter(one.choice)}, not in the score]"
        for one in readings
    )


def _colour(found: Opened) -> str:
    strict = found.detail.scored.strict
    return "orange" if strict is None else "green" if strict else "red"


def _tone(found: Opened) -> str:
    """The colour of what was given, as CSS; grey where it is not known to be right or wrong."""
    strict, known = found.detail.scored.strict, palette()
    return known.grey if strict is None else known.right if strict else known.wrong


def _traces(now: Address, run: Mapping[str, Any], found: Opened, known: set[str], height: int) -> None:
    beside: Opened | None = None
    other = look.run(now.other) if now.other in known else None
    if other is not None:
        try:
            beside = look.prediction(other, found.item.id, 0)
        except RunError as error:
            st.toast(plain(error.message))
    if beside is None or other is None:
        trace(sections(found), key="errors_trace", clip=found.clip.id, height=height)
        return
    left, right = st.columns(2, gap="small")
    ids = (str(run["run_id"]), str(other["run_id"]))
    colours = run_colours(ids, palette(), now.against if now.against in ids else None)
    for column, one, row, key in (
        (left, found, run, "errors_trace_a"),
        (right, beside, other, "errors_trace_b"),
    ):
        with column:
            scored = one.detail.scored
            given = scored.choice_text or outcome_words(scored.outcome)
            st.html(run_mark(run_label(row), colours[str(row["run_id"])], given, _tone(one)))
            trace(
                sections(one, reference=False),
                key=key,
                clip=found.clip.id,
                height=height - 28,
                stacked=True,
                boxed=True,
            )


def _tags(run: Mapping[str, Any], found: Opened) -> None:
    run_id, item_id, sample = str(run["run_id"]), found.item.id, found.detail.prediction.sample
    erratum = notes.errata(str(run["dataset"])).get(item_id)
    tagbar(
        [Label(tag.name, tag.key) for tag in notes.all_tags()],
        key="errors_tagbar",
        item=item_id,
        sample=sample,
        given=notes.tags_of(run_id).get((item_id, sample), ()),
        note=notes.book().note(run_id, item_id, sample),
        erratum=erratum.kind if erratum else None,
        why=erratum.note if erratum else "",
        said=str(st.session_state.get("errors_said", "")),
    )


def _table(now: Address, others: list[dict[str, Any]]) -> None:
    if not others:
        st.markdown(":small[:gray[No other run has this item.]]")
        return
    cells: list[tuple[str, ...]] = []
    tones: list[tuple[Tone, ...]] = []
    for one in others:
        changed = "" if one["same_question"] else " (asked differently)"
        right = "" if one["strict"] is None else f"{one['strict'] * one['answered']:.0f} of {one['answered']}"
        outcome = outcome_words(str(one["outcome"])) if one["outcome"] else ""
        cells.append((run_label(one) + changed, str(one["choice_text"] or ""), outcome, right))
        mark: Tone = "" if one["strict"] is None else "right" if one["strict"] > 0.5 else "wrong"
        tones.append(("", mark, "", ""))
    ids = [str(one["run_id"]) for one in others]
    current = ids.index(now.other) if now.other in ids else None
    clicked = rows(
        _OTHERS, cells, key="errors_others", clickable=True, current=current, height=150, tones=tones
    )
    if clicked is not None:
        address.go(other="" if ids[clicked] == now.other else ids[clicked])
        st.rerun(scope="fragment")


def _apply(run: Mapping[str, Any], step: Mapping[str, Any]) -> None:
    """Do one operation of the triage bar; what stands against it is said under the tags."""
    try:
        st.session_state["errors_said"] = _done(run, step)
    except LabError as error:
        st.session_state["errors_said"] = error.message


def _done(run: Mapping[str, Any], step: Mapping[str, Any]) -> str:
    kind, book = step.get("do"), notes.book()
    run_id, item_id = str(run["run_id"]), str(step.get("item", ""))
    sample = int(step.get("sample", 0))
    if kind == "open":
        address.go(item=item_id, sample=sample)
    elif kind == "page":
        back = int(step.get("by", 1)) < 0
        st.session_state["errors_enter"] = "last" if back else ""
        address.go(page=max(1, address.here().page + (-1 if back else 1)), item="", sample=0)
        st.session_state["errors_again"] = True
    elif kind == "leave":
        query = {"dataset": str(run["dataset"]), "item": item_id}
        if run["prompt"] in session.prompts():
            query["prompt"] = str(run["prompt"])
        # with a whole run: a fragment that left by itself would draw on there
        st.session_state["errors_leave"] = query
        st.session_state["errors_again"] = True
    elif kind == "pin":
        set_pin(session.workspace(), str(run["dataset"]), item_id, bool(step["on"]))
    elif kind == "tag":
        tag, on = str(step["tag"]), bool(step["on"])
        book.set_tag(run_id, item_id, sample, tag, on)
        return f"{tag} {'given' if on else 'taken away'} · u undoes it"
    elif kind == "note":
        book.set_note(run_id, item_id, sample, str(step["text"])[:20_000])
        return "Note kept · u undoes it"
    elif kind == "mark":
        wanted = step.get("kind") if step.get("kind") in ("wrong", "ambiguous") else None
        book.mark(str(run["dataset"]), item_id, wanted, str(step.get("note", ""))[:20_000])
        st.session_state["errors_again"] = True
        return f"Item marked {wanted} · u undoes it" if wanted else "Mark taken away · u undoes it"
    elif kind == "undo":
        undone = book.undo()
        st.session_state["errors_again"] = True
        return f"Undone: {undone}" if undone else "There is nothing to undo."
    return ""
