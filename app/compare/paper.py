"""The paper's table beside the lab's own runs: what was printed, what was measured here, by subcategory."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app import session
from app.compare import charts
from app.compare.address import Asked
from app.compare.picker import Settings
from app.session import plain
from app.theme import palette
from app.widgets.runs import run_colours

_DATASET = "mmar"  # what the paper's figures are about
_SMALL = 20  # items


def paper(asked: Asked, called: dict[str, str], settings: Settings) -> None:
    """Draw the view."""
    table = session.runs().set_index("run_id")
    own = [one for one in asked.runs if table.loc[one, "dataset"] == _DATASET and table.loc[one, "rated"]]
    elsewhere = [one for one in asked.runs if one not in own]
    colours = run_colours(asked.runs, palette(), asked.baseline)
    left, right = st.columns([1, 1.28], gap="large")
    with left:
        st.markdown(
            f":small[:gray[The paper's runs as printed, and yours on {settings.split}, {settings.score}; "
            "95% interval]]"
        )
        _board(own, called, settings, colours)
        _remarks(own, elsewhere, called)
    with right:
        if own:
            st.markdown(":small[:gray[Your runs by subcategory, 95% interval, items]]")
            _breakdown(own, called, settings, colours)


def _board(own: Sequence[str], called: dict[str, str], settings: Settings, colours: dict[str, str]) -> None:
    frame = pd.concat([printed(), measured(own, called, settings)], ignore_index=True)
    frame = frame.sort_values("accuracy", ascending=False, kind="stable")
    drawn = charts.board(frame, dict.fromkeys(frame["run_id"], palette().text) | colours, palette())
    st.vega_lite_chart(drawn.frame, drawn.spec, width="stretch", key="compare_paper")


@functools.cache
def printed() -> pd.DataFrame:
    """The paper's rows as the leaderboard is drawn; their names begin with "paper:" where runs have ids."""
    from audioreason.compare import papers_table

    frame = papers_table()
    return frame.assign(
        run_id=[f"paper:{label}" for label in frame["label"]],
        label=[f"{label} (paper)" for label in frame["label"]],
        change="as printed",
        tone="",
    )


def measured(own: Sequence[str], called: dict[str, str], settings: Settings) -> pd.DataFrame:
    """The researcher's own runs in the same columns."""
    table = session.catalog().runs(settings.split)
    rows = table[table["run_id"].isin(own) & (table["rated"] > 0)]
    score = settings.score
    return pd.DataFrame(
        {
            "run_id": rows["run_id"],
            "label": [called[one] for one in rows["run_id"]],
            "n": rows["rated"],
            "accuracy": rows[score],
            "low": rows[f"{score}_low"],
            "high": rows[f"{score}_high"],
            "change": [f"{n:,} items" for n in rows["rated"]],
            "tone": "",
        }
    )


def _remarks(own: Sequence[str], elsewhere: Sequence[str], called: dict[str, str]) -> None:
    sentences = []
    if not own:
        sentences.append(f"No run on {_DATASET} is chosen, so the paper stands alone.")
    if elsewhere:
        names = ", ".join(called[one] for one in elsewhere[:3])
        more = f" and {len(elsewhere) - 3} more" if len(elsewhere) > 3 else ""
        sentences.append(f"Not shown, because they answered other items: {names}{more}.")
    sentences.append(
        "Printed figures are single runs on all 1,000 items, scored by the official rule; their intervals "
        "are Wilson's at that n. Another server, precision or seed moves a run by a point or two."
    )
    st.markdown(f":small[:gray[{plain(' '.join(sentences))}]]")


def _breakdown(
    own: Sequence[str], called: dict[str, str], settings: Settings, colours: dict[str, str]
) -> None:
    score = settings.score
    found = session.catalog().accuracy_by(list(own), "subcategory", settings.split)
    found = found[found["n"] > 0]
    order = found.groupby("group")[score].mean().sort_values(ascending=False).index
    frame = pd.DataFrame(
        {
            "run_id": found["run_id"],
            "label": [called[one] for one in found["run_id"]],
            "group": found["group"],
            "n": found["n"],
            "accuracy": found[score],
            "low": found[f"{score}_low"],
            "high": found[f"{score}_high"],
            "small": found["n"] < _SMALL,
        }
    )
    places = {name: k for k, name in enumerate(order)}
    frame = frame.assign(place=frame["group"].map(places), run=[own.index(one) for one in frame["run_id"]])
    frame = frame.sort_values(["place", "run"]).drop(columns=["place", "run"])
    drawn = charts.breakdown(frame, colours, palette())
    st.vega_lite_chart(drawn.frame, drawn.spec, width="stretch", key="compare_breakdown")
