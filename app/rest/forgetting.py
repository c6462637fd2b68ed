"""What each round lost and newly learned, beside what the base changes when it is merely asked again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from app.errors.grid import Row, grid
from app.navigation import page
from app.rest import look
from app.rest.ledger import Figure, Line
from app.rest.look import Experiment, Round
from app.rest.words import bounds, percent, points, round_name, span
from app.session import plain
from audioreason.errors import LabError
from audioreason.rest.forgetting import Beyond, Change, Group

_NOTHING = Figure()
_KNOWN = "More than half of an item's answered samples are right."
Tone = Literal["right", "wrong"]


def ledger_lines(found: Experiment) -> list[Line]:
    """The ledger's rows: lost and newly learned with intervals, the base's own, and what is beyond that."""
    lost = [None if one.forgetting is None else one.forgetting.lost for one in found.rounds]
    learned = [None if one.forgetting is None else one.forgetting.learned for one in found.rounds]
    if not any(lost):
        return []
    about = f"Of the items that the base knows, those that the round does not know. {_KNOWN}"
    lines = _direction("Lost, of what the base knows", lost, "wrong", about, Figure("", "not said"))
    if any(learned):
        about = f"Of the items that the base does not know, those that the round knows. {_KNOWN}"
        lines += _direction("Newly learned, of the others", learned, "right", about, _NOTHING)
    return lines


def _direction(
    label: str, changes: Sequence[Change | None], tone: Tone, about: str, paper: Figure
) -> list[Line]:
    lines = [Line(label, [*map(_share, changes), paper], about)]
    if any(one is not None and one.own is not None for one in changes):
        lines.append(
            Line(
                "… when the base is asked again",
                [*map(_own, changes), _NOTHING],
                "The same model, the same items, other draws: what changes by luck alone.",
            )
        )
        beyond = [_NOTHING if one is None else _points(one.beyond, tone) for one in changes]
        lines.append(Line("… points beyond that", [*beyond, _NOTHING]))
    return lines


def _share(one: Change | None) -> Figure:
    if one is None or not one.of:
        return _NOTHING
    return Figure(percent(one.k / one.of), f"{span(one.low, one.high)}, {one.of:,}")


def _own(one: Change | None) -> Figure:
    if one is None or one.own is None or not one.of:
        return _NOTHING
    return Figure(percent(one.own / one.of), f"{one.own:,} of {one.of:,}")


def _points(one: Beyond | None, tone: Tone) -> Figure:
    if one is None:
        return _NOTHING
    more = "no interval: one clip" if one.low is None or one.high is None else bounds(one.low, one.high)
    return Figure(points(one.mean), more, tone if one.significant and one.mean > 0 else "")


def trend(found: Experiment) -> None:
    """Lost and newly learned after each round, with intervals; a stroke where the base's own would be."""
    rows = []
    for layer in ("Lost, of what the base knows", "Newly learned, of the others"):
        for one in found.rounds:
            if one.forgetting is None:
                continue
            change = one.forgetting.lost if layer.startswith("Lost") else one.forgetting.learned
            if change is not None and change.of:
                rows.append(_row(round_name(one.number), change, layer))
    if rows:
        title = "Lost and newly learned, 95% interval and items; stroke: the base asked again"
        grid(rows, key="rest_forgetting", title=title, clickable=False, label=164)


def _row(label: str, one: Change, layer: str) -> Row:
    known = one.of > 0
    return Row(
        label,
        one.of,
        one.k / one.of if known else None,
        one.low if known else None,
        one.high if known else None,
        layer=layer,
        mark=one.own / one.of if known and one.own is not None else None,
    )


def forgetting(found: Experiment, shown: Round) -> None:
    """Draw the view: both by subcategory, side by side; a row leads to its items in the error explorer."""
    made = shown.forgetting
    if made is None:
        why = (
            "The base is what the rounds are held against."
            if shown.number == 0
            else "The round ended before it was evaluated."
            if shown.over
            else "It is counted when the round has been evaluated."
        )
        st.markdown(f"**{plain(shown.name)} has nothing lost or learned to show.** :gray[{why}]")
        return
    try:
        groups, base, run = look.moved(found, shown)
    except LabError as error:
        st.markdown(f":red[{plain(str(error))}]")
        return
    st.markdown(f":small[:gray[{plain(_asked(shown))}]]")
    left, right = st.columns(2, gap="large")
    with left:
        _side("Lost", made.lost, groups, "lost", base, run)
    with right:
        _side("Newly learned", made.learned, groups, "won", base, run)


def _asked(shown: Round) -> str:
    made = shown.forgetting
    prompt = f"Asked with {made.prompt}. " if made is not None and made.prompt else ""
    if made is not None and not made.sampled:
        luck = "Answers are greedy, so the base asked again would say the same."
    elif made is not None and made.luck_unknown:
        luck = (
            "The base was asked once with drawn answers: some of this is luck, and nobody measured how much."
        )
    else:
        luck = (
            "Stroke: the base asked again, which is luck alone. Lost and learned may cancel in the accuracy."
        )
    return f"{prompt}An item is known if more than half of its answers are right. {luck}"


def _side(title: str, change: Change | None, groups: Sequence[Group], cell: str, base: str, run: str) -> None:
    """One direction: the count in words, and its subcategories."""
    if change is None:
        st.markdown(f"**{title}** :gray[was not measured in this round.]")
        return
    of = "known" if cell == "lost" else "not known"
    words = f"**{title}: {change.k:,}** :gray[of {change.of:,} {of}]"
    if change.own is not None:
        words += f" &emsp; **{change.own:,}** :gray[by luck alone]"
    if change.beyond is not None and change.beyond.low is not None and change.beyond.high is not None:
        words += (
            f" &emsp; **{points(change.beyond.mean)}** "
            f":gray[points beyond it, {bounds(change.beyond.low, change.beyond.high)}]"
        )
    st.markdown(words)
    query = {"run": run, "view": "Triage", "cell": cell, "against": base, "other": base}
    rows = []
    for one in groups:
        side = one.lost if cell == "lost" else one.learned
        if side.of:
            rows.append(_row(one.subcategory, side, one.layer))
    picked = grid(
        rows, key=f"rest_{cell}", title="By subcategory, 95% interval and items; a row leads to its items"
    )
    if picked is not None:
        st.switch_page(page("errors"), query_params=query | {"sub": rows[picked.row].label})
    if change.k and st.button(
        "Open it in the error explorer" if change.k == 1 else f"Open all {change.k:,} in the error explorer",
        key=f"rest_{cell}_all",
        type="tertiary",
    ):
        st.switch_page(page("errors"), query_params=query)
