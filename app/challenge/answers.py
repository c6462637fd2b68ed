"""The right answers of a run with their ratings; one of them heard and read beside the judge's words."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.challenge import look
from app.challenge.look import Answer, Run
from app.errors import look as error_look
from app.errors.look import Opened
from app.errors.reading import cues, sections
from app.navigation import page
from app.session import plain
from app.widgets.player import player
from app.widgets.question import question
from app.widgets.rows import Column, Tone, rows
from app.widgets.trace import Section, parts, trace
from audioreason.challenge import ROUNDS
from audioreason.errors import RunError
from audioreason.wording import counted

_PAGE = 50
_LIST = (
    Column("Question", "minmax(0, 1fr)"),
    Column("Judge", "58px", number=True),
    Column("Rounds", "148px"),
    Column("Hand", "58px", number=True),
)
_ORDERS = ("Lowest first", "Highest first", "Ratings far apart", "In order")


def answers(run: Run, judge: str) -> None:
    """Draw the list and the answer that is open."""
    found, hidden = look.answers(run, judge)
    if not found:
        st.markdown("**No right answer of this run can be shown.** :gray[Those of sealed items stay closed.]")
        return
    left, middle, right = st.columns([1.05, 1.15, 1], gap="medium")
    with left:
        shown = _list(found, hidden)
    answer = found.get(st.query_params.get("item", ""), shown)
    try:
        opened = error_look.prediction(run, answer.item.id, 0)
    except RunError as error:
        middle.markdown(f":red[{plain(str(error))}]")
        return
    with middle:
        _heard(run, opened)
    with right:
        _judged(answer, judge)


def _list(found: dict[str, Answer], hidden: int) -> Answer:
    """The table, a page of it; returns its first answer."""
    order = st.selectbox("Order", _ORDERS, key="challenge_order", label_visibility="collapsed", width=180)
    ranked = _ordered(list(found.values()), str(order))
    pages = max(1, -(-len(ranked) // _PAGE))
    wanted = st.query_params.get("page", "1")
    number = min(max(int(wanted) if wanted.isdecimal() and len(wanted) < 6 else 1, 1), pages)
    start = _PAGE * (number - 1)
    shown = ranked[start : start + _PAGE]
    ids = [answer.item.id for answer in shown]
    cells = [
        (
            " ".join(answer.item.question[:300].split()),
            _number(answer.value),
            " ".join(f"{one.value:.1f}" for one in answer.by_judge),
            _number(answer.hand_value),
        )
        for answer in shown
    ]
    now = st.query_params.get("item", ids[0])
    current = ids.index(now) if now in ids else None
    clicked = rows(_LIST, cells, key="challenge_answers", clickable=True, current=current, height=590)
    if clicked is not None and ids[clicked] != now:
        st.query_params["item"] = ids[clicked]
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        sealed = f" · {hidden:,} of sealed items are not shown" if hidden else ""
        words = f"{start + 1:,} to {start + len(shown):,} of {counted(len(ranked), 'right answer')}{sealed}"
        st.markdown(f":small[:gray[{words}]]", width="stretch")
        if pages > 1:
            for label, to, able in (
                ("Earlier", number - 1, number > 1),
                ("Later", number + 1, number < pages),
            ):
                if st.button(label, key=f"challenge_{label}", type="tertiary", disabled=not able):
                    st.query_params["page"] = str(to)
                    st.query_params.pop("item", None)
                    st.rerun()
    return shown[0]


def _ordered(found: list[Answer], order: str) -> list[Answer]:
    """Answers without a value stand last whatever the order."""

    def spread(answer: Answer) -> float:
        values = [one.value for one in answer.by_judge]
        return max(values) - min(values) if values else -1.0

    if order == _ORDERS[0]:
        return sorted(found, key=lambda answer: (answer.value is None, answer.value or 0.0))
    if order == _ORDERS[1]:
        return sorted(found, key=lambda answer: -(answer.value or 0.0))
    return sorted(found, key=lambda answer: -spread(answer)) if order == _ORDERS[2] else found


def _heard(run: Run, opened: Opened) -> None:
    """The clip, the question and what the model wrote."""
    item, clip = opened.item, opened.clip
    if clip.url is None:
        st.markdown(f":small[:gray[{plain(clip.problem)}]]")
    else:
        player(clip, key="challenge_player", cues=cues(opened), size="small")
    question(item, key="challenge_question", given=opened.detail.scored.choice, row=True, details=False)
    pieces = [one for one in sections(opened) if one.name != "Rubric"]
    trace(pieces, key="challenge_trace", clip=clip.id, height=380, stacked=True, empty="Nothing came back.")
    if st.button("In the error explorer", key="challenge_errors", type="tertiary"):
        query = {"run": str(run["run_id"]), "view": "Triage", "item": item.id, "outcome": ""}
        st.switch_page(page("errors"), query_params={name: text for name, text in query.items() if text})


def _judged(answer: Answer, judge: str) -> None:
    """The rubric with each round's points, people's points, and what the judge wrote."""
    rated = answer.by_judge
    columns = [Column("Rubric", "minmax(0, 1fr)")]
    columns += [Column(str(one.round + 1), "34px", number=True) for one in rated]
    columns += [Column("Hand", "54px", number=True)] if answer.by_hand else []
    cells: list[list[str]] = []
    tones: list[list[Tone]] = []
    for index, point in enumerate(answer.item.rubric):
        name = str(point.get("name") or f"Point {index + 1}")
        given = [one.points[index] for one in rated if index < len(one.points)]
        by_hand = [one.points[index] for one in answer.by_hand if index < len(one.points)]
        cells.append([name, *map(str, given), *([_share(by_hand)] if answer.by_hand else [])])
        marks: list[Tone] = ["right" if one else "wrong" for one in given]
        tones.append(["", *marks])
    rows(columns, cells, key="challenge_rubric", tones=tones)
    meant = "\n".join(f"- {plain(str(point.get('scoring_point') or ''))}" for point in answer.item.rubric)
    with st.expander("What the points ask for", key="challenge_points"):
        st.markdown(meant)
    if not rated:
        said = f"{judge} has not rated this answer yet." if judge else "No judge has rated this run yet."
        st.markdown(f":gray[{plain(said)}]")
        return
    value = "" if answer.value is None else f" :gray[the middle three: {answer.value:.2f}]"
    left = ROUNDS - len(rated)
    missing = f" :orange[{left} of {ROUNDS} ratings are missing]" if left else ""
    st.markdown(f"**{plain(judge)}**{value}{missing}")
    trace(_words(answer), key="challenge_words", height=300, boxed=True, stacked=True)


def _words(answer: Answer) -> list[Section]:
    return [
        Section(f"Round {one.round + 1}: {one.value:.1f}", parts(one.words.strip(), 0))
        for one in answer.by_judge
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}".rstrip("0").ljust(3, "0")


def _share(given: Sequence[int]) -> str:
    return f"{sum(given)}/{len(given)}" if len(given) > 1 else "".join(map(str, given))
