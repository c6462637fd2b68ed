"""What may be concluded: train, dev and test beside each other, the verdict on test, the winner's curse."""

from __future__ import annotations

import streamlit as st

from app.compare import words as compare_words
from app.navigation import page
from app.optimize import charts, look, words
from app.optimize.look import Found
from app.session import plain
from app.theme import palette
from audioreason.optimize import view
from audioreason.optimize.record import Paired
from audioreason.optimize.view import Share
from audioreason.wording import counted


def result(found: Found) -> None:
    """Draw it, for the winner or who leads so far."""
    winner, seed = view.winner_of(found.search), found.seed
    if winner is None or seed is None:
        st.markdown(":gray[No candidate has been tried on all of dev yet, so none leads.]")
        return
    with st.container(border=True, gap="xsmall", key="optimize_result"):
        _verdict(found, winner)
        known = _scores(found, winner, seed.id)
        if known:
            drawn = charts.gap(known, palette())
            st.vega_lite_chart(drawn.frame, drawn.spec, width="stretch", key="optimize_gap")
        by = {(part, who): one for part, who, one in known}
        name = found.name(winner)
        shrank = words.shrank(
            by.get(("Dev", name)), by.get(("Dev", "Seed")), by.get(("Test", name)), by.get(("Test", "Seed"))
        )
        ended = found.search.state.result
        if ended is not None and winner == seed.id:
            shrank = ""
            curse = words.stayed(view.luck(found.search), ended.seed_test is not None)
        else:
            curse = words.curse(view.luck(found.search), ended is not None and ended.test is not None)
        st.markdown(f":small[:gray[{plain(f'{shrank} {curse}'.strip())}]]")


def _scores(found: Found, winner: str, seed: str) -> list[tuple[str, str, Share]]:
    """Part, who, score: the winner's and the seed's, one below the other."""
    ended = found.search.state.result
    runs = {winner: ended.test_run if ended else None, seed: ended.seed_run if ended else None}
    rows = []
    for part in ("Train", "Dev", "Test"):
        for candidate in dict.fromkeys((winner, seed)):
            one = (
                look.test_share(found, runs[candidate])
                if part == "Test"
                else found.share(candidate, part.lower())
            )
            if one is not None:
                rows.append((part, found.name(candidate), one))
    return rows


def _verdict(found: Found, winner: str) -> None:
    """The claim, as the Compare page words it, with a way there."""
    ended = found.search.state.result
    thought, tried = view.tried_of(found.search)
    if ended is None or ended.test is None:
        name = "The seed" if found.seed and winner == found.seed.id else found.name(winner)
        claim = (ended.note if ended else "") or f"{name} {'was best' if ended else 'leads'} on dev."
        st.markdown(f"**{plain(claim)}** :gray[{_tried(thought, tried)}]")
        return
    pair, problem, called = look.test_pair(found)
    if pair is not None:
        st.markdown(f"**On test: {plain(compare_words.claim(pair, called))}**")
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            words_ = f"{plain(_rest(pair.verdict))} :gray[{_tried(thought, tried)}]"
            st.markdown(words_, width="stretch")
            leave = st.button("Open in Compare", key="optimize_compare", type="tertiary")
        if leave:
            query = {"runs": f"{ended.seed_run},{ended.test_run}", "baseline": str(ended.seed_run)}
            if found.search.config.metric == "official":
                query["score"] = "official"
            st.switch_page(page("compare"), query_params=query)
    elif ended.difference is not None:
        st.markdown(f"**On test: {plain(ended.difference.verdict)}** :gray[{_tried(thought, tried)}]")
        if problem:
            st.markdown(
                f":small[:orange[{plain(problem)}] :gray[The verdict is the one that was written down.]]"
            )
    if ended.unseen is not None:
        st.markdown(f"On items that the search never saw: {plain(_unseen(ended.unseen))}")
    if ended.note:
        st.markdown(f":small[:orange[{plain(ended.note)}]]")


def _rest(verdict: str) -> str:
    """What stands behind a verdict's interval: p and the number of items."""
    _, comma, rest = verdict.partition(", p ")
    return f"p {rest}" if comma else ""


def _unseen(paired: Paired) -> str:
    if paired.verdict:
        return paired.verdict
    interval = words.bounds(paired.low, paired.high)
    return f"{words.points(paired.mean)} points, 95% CI {interval}, {counted(paired.n, 'item')}."


def _tried(thought: int, tried: int) -> str:
    return plain(f"{counted(thought, 'candidate')} thought of, {tried:,} tried on all of dev.")
