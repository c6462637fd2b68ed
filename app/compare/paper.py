"""The paper's table beside the lab's own runs: what was published, what was measured here, by subcategory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app import session
from app.compare import charts, look, words
from app.compare.address import Asked
from app.compare.export import Exports
from app.compare.picker import Settings, names
from app.session import plain
from app.theme import palette
from app.widgets.rows import Column, rows
from app.widgets.runs import most_runs, run_colours
from audioreason.compare import PaperTable
from audioreason.compare.tables import paper_as

_CHANGES = (
    Column("Published change to the baseline", "minmax(0, 1.2fr)"),
    Column("Subcategory"),
    Column("Points", "76px", number=True),
)


def paper(asked: Asked, settings: Settings) -> Exports:
    """Draw the view; returns what of it can be had as files."""
    own = _own(asked)
    found = look.paper(look.question(own, "", settings.score, settings.split, False))
    called = names(own)
    colours = run_colours((*asked.runs, *own), palette(), asked.baseline or None)
    left, right = st.columns([1, 1.28], gap="large")
    with left:
        which = "" if set(own) <= set(asked.runs) else "newest, "
        st.markdown(
            f":small[:gray[MMAR as published, and yours ({which}{settings.score}, {settings.split})]]"
        )
        shown = charts.board(board(found, called), _with_paper(found, colours), palette())
        st.vega_lite_chart(shown.frame, shown.spec, width="stretch", key="compare_paper")
        _changes(found)
        for note in (*_remarks(found, called), *found.notes):
            st.markdown(f":small[:gray[{plain(note)}]]")
    made = {"Published and own runs": lambda: shown}
    with right:
        if own:
            st.markdown(":small[:gray[Your runs by subcategory, 95% interval; right: items]]")
            drawn = charts.breakdown(_breakdown(found, own, called), colours, palette())
            st.vega_lite_chart(drawn.frame, drawn.spec, width="stretch", key="compare_breakdown")
            made["Own runs by subcategory"] = lambda: drawn
    return Exports("paper", lambda form: paper_as(found, form), made)


def _own(asked: Asked) -> tuple[str, ...]:
    """The chosen runs on MMAR; without any, the newest ones."""
    table = session.runs()
    here = table[table["dataset"].str.lower().str.contains("mmar") & (table["rated"] > 0)]
    known = [str(one) for one in here["run_id"]]
    return tuple(one for one in asked.runs if one in known) or tuple(known[: most_runs(palette()) - 1])


def board(found: PaperTable, called: dict[str, str]) -> pd.DataFrame:
    """The table's rows as the leaderboard is drawn, best first; a published row's id is its method."""
    frame = found.rows.sort_values("accuracy", ascending=False, kind="stable")
    mine = frame["whose"] == "yours"
    return pd.DataFrame(
        {
            "run_id": frame["run_id"].where(mine, frame["method"]),
            "label": [
                called[row.run_id] if row.whose == "yours" else f"{row.method} (paper)"
                for row in frame.itertuples(index=False)
            ],
            "n": frame["n"],
            "accuracy": frame["accuracy"],
            "low": frame["low"],
            "high": frame["high"],
            "change": [_beside(row) for row in frame.itertuples(index=False)],
            "tone": "",
        }
    )


def _beside(row: Any) -> str:
    """What stands beside a row: for an own run what was published for its prompt."""
    if row.whose == "paper":
        return "published"
    return f"paper {words.percent(row.published)}" if pd.notna(row.published) else ""


def _remarks(found: PaperTable, called: dict[str, str]) -> list[str]:
    """What keeps own figures from being read beside the published ones, a sentence a run."""
    mine = found.rows[(found.rows["whose"] == "yours") & (found.rows["remark"] != "")]
    return [f"{called[row.run_id]}: {row.remark}." for row in mine.itertuples(index=False)]


def _with_paper(found: PaperTable, colours: dict[str, str]) -> dict[str, str]:
    published = found.rows.loc[found.rows["whose"] == "paper", "method"]
    return dict.fromkeys(published, palette().text) | colours


def _breakdown(found: PaperTable, own: Sequence[str], called: dict[str, str]) -> pd.DataFrame:
    """Subcategories as the table orders them (by layer), the runs in their order."""
    frame = found.breakdown[found.breakdown["n"] > 0]
    frame = frame.assign(
        group=frame["subcategory"],
        label=[called[one] for one in frame["run_id"]],
        place=[own.index(one) for one in frame["run_id"]],
    )
    frame = frame.sort_values(["layer", "subcategory", "place"])
    return frame[["run_id", "label", "group", "n", "accuracy", "low", "high", "small"]]


def _changes(found: PaperTable) -> None:
    cells = [
        (row.method, row.subcategory, words.points(row.change))
        for row in found.changes.itertuples(index=False)
    ]
    rows(_CHANGES, cells, key="compare_changes")
