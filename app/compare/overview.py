"""The comparison itself: on the left the verdict, the runs and the items; on the right where they differ."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app import session
from app.compare import address, charts, flips, frames, look, words
from app.compare.address import BY, COST, GROUPS, Asked
from app.compare.cells import CELLS, cells
from app.compare.charts import Drawn
from app.compare.export import Exports
from app.compare.look import Question
from app.compare.robust import robust
from app.navigation import page
from app.session import plain
from app.theme import Palette, palette
from app.widgets.rows import Column, rows
from app.widgets.runs import run_colours
from audioreason.compare import Comparison, Pair
from audioreason.compare.html import html_report
from audioreason.compare.tables import comparison_as

_COLUMNS = [1, 1.28]


def overview(asked: Asked, question: Question, called: dict[str, str]) -> None:
    """Draw the whole view."""
    found = look.comparison(question)
    colours = run_colours(asked.runs, palette(), asked.baseline)
    pair = look.pair(question, asked.focus)
    left, right = st.columns(_COLUMNS, gap="large")
    with left:
        _verdict(found, pair, question, called)
        _others(found, pair, called)
        _board(found, question, called, colours)
        if pair.n:
            _cells(pair, question, called)
            flips.flips(question, asked.focus)
    with right:
        if not pair.n:
            st.markdown(":gray[Choose two runs that answered the same items to see where they differ.]")
        elif item_id := st.query_params.get("item"):
            flips.detail(question, asked.focus, item_id, called, colours)
        else:
            _differences(question, pair, called)
            _cost(found, called, colours)
            _tables(question, pair, called)
            robust(question, pair, called)


def _verdict(found: Comparison, pair: Pair, question: Question, called: dict[str, str]) -> None:
    with st.container(border=True, gap="xsmall", key="compare_verdict"):
        st.markdown(f"**{plain(words.claim(pair, called))}**")
        groups = look.by(question, pair.run_id, "subcategory")
        if evidence := words.evidence(pair, called, groups, found.prompts_tried):
            st.markdown(plain(evidence))
        if pair.note:
            st.markdown(f":small[:gray[{plain(words.renamed(pair.note, pair, called))}]]")


def _others(found: Comparison, shown: Pair, called: dict[str, str]) -> None:
    with st.container(gap=None):
        for pair in found.pairs:
            if pair is not shown and st.button(
                f":gray[{plain(words.brief(pair, called))}]",
                key=f"compare_focus_{pair.run_id}",
                type="tertiary",
                icon=":material/chevron_right:",
            ):
                address.put("focus", pair.run_id)
                address.close()
                st.rerun()


def _board(found: Comparison, question: Question, called: dict[str, str], colours: dict[str, str]) -> None:
    baseline = plain(called[question.baseline])
    st.markdown(f":small[:gray[Accuracy, {question.score}, 95% interval by clip · difference to {baseline}]]")
    drawn = charts.board(frames.board(found, called), colours, palette())
    st.vega_lite_chart(drawn.frame, drawn.spec, width="stretch", key="compare_board")


def _cells(pair: Pair, question: Question, called: dict[str, str]) -> None:
    st.markdown(":small[:gray[Items by what both made of them; a cell opens them in the error explorer]]")
    counts = {name: len(pair.grid[name]) for name in CELLS}
    picked = cells(
        counts,
        run=called[pair.run_id],
        baseline=called[pair.baseline],
        key="compare_cells",
        chosen=address.cell(),
    )
    if picked is not None:
        st.switch_page(page("errors"), query_params=flips.explorer(question, pair.run_id, picked))


def _differences(question: Question, pair: Pair, called: dict[str, str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(":small[:gray[Paired difference, 95% interval]]", width="content")
        st.space("stretch")
        by = address.segments("Difference by", "by", BY, "subcategory")
    if set(frames.groups(question, pair.run_id, by)["group"]) == {"none"}:
        st.markdown(f":gray[The items of this dataset have no {BY[by].lower()}.]")
        return
    drawn = differences(question, pair, called, by, palette())
    st.vega_lite_chart(drawn.frame, drawn.spec, width="stretch", key="compare_differences")
    st.markdown(
        ":small[:gray[Green or red: significant after Holm. Faded: fewer than 20 items. Band: all items. "
        "Stroke: what to expect next time.]]"
    )


def differences(question: Question, pair: Pair, called: dict[str, str], by: str, colours: Palette) -> Drawn:
    """The chart of differences by group."""
    title = f"points, {called[pair.run_id]} minus {called[pair.baseline]}"
    return charts.differences(frames.groups(question, pair.run_id, by), pair.difference, title, colours)


def _cost(found: Comparison, called: dict[str, str], colours: dict[str, str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(":small[:gray[Accuracy against cost]]", width="content")
        st.space("stretch")
        what = address.segments("Cost", "cost", COST, "tokens")
    frame = frames.board(found, called)
    if frame[what].notna().any():
        drawn = charts.cost(frame, what, colours, palette())
        st.vega_lite_chart(drawn.frame, drawn.spec, width="stretch", key="compare_cost")
    else:
        st.markdown(f":gray[None of these runs recorded its {what}.]")


def exports(asked: Asked, question: Question, called: dict[str, str]) -> Exports:
    """The page's numbers and charts as files."""
    theme, found = palette(), look.comparison(question)
    colours = run_colours(asked.runs, theme, asked.baseline)
    pair = look.pair(question, asked.focus)
    by, what = address.current("by", BY, "subcategory"), address.current("cost", COST, "tokens")
    frame = frames.board(found, called)
    made: dict[str, Callable[[], Drawn]] = {}
    if pair.n:
        made[f"Difference by {BY[by].lower()}"] = lambda: differences(question, pair, called, by, theme)
    made["Leaderboard"] = lambda: charts.board(frame, colours, theme)
    if frame[what].notna().any():
        made[f"Accuracy against {what}"] = lambda: charts.cost(frame, what, colours, theme)
    column, with_sealed, catalog = GROUPS[by][1], address.with_sealed(), session.catalog()
    return Exports(
        "comparison",
        table=lambda form: comparison_as(found, form, column),
        charts=made,
        report=lambda: html_report(catalog, found, by=column, sealed=with_sealed),
    )


def _tables(question: Question, pair: Pair, called: dict[str, str]) -> None:
    left, right = st.columns([1.35, 1], gap="small")
    with left:
        _scores(question, called)
    with right:
        _shift(pair, called)


def _scores(question: Question, called: dict[str, str]) -> None:
    frame = frames.scores(question)
    st.markdown(f":small[:gray[Both scores on {question.split}, {question.score} elsewhere]]")
    columns = [
        Column("Run", "minmax(0, 2.2fr)"),
        *(Column(str(name), "66px", number=True) for name in frame.columns[1:]),
    ]
    cells = [
        (called[str(row[0])], *(words.percent(float(value)) for value in row[1:]))
        for row in frame.itertuples(index=False, name=None)
    ]
    rows(columns, cells, key="compare_scores")


def _shift(pair: Pair, called: dict[str, str]) -> None:
    st.markdown(":small[:gray[Outcomes of the answers to the same items]]")
    names = (called[pair.baseline], called[pair.run_id], "Points")
    columns = [Column("Outcome", "minmax(0, 1.2fr)"), *(Column(name, number=True) for name in names)]
    cells = [
        (row.outcome.replace("_", " "), f"{row.baseline:,}", f"{row.run:,}", words.points(row.shift))
        for row in pair.outcome_shift().itertuples(index=False)
    ]
    rows(columns, cells, key="compare_outcomes")
