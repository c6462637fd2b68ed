"""The page: its header, what stands against a comparison, and the view that was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import session
from app.compare import address, look, picker
from app.compare.address import Asked
from app.compare.export import export
from app.compare.overview import exports, overview
from app.compare.paper import paper
from app.session import plain
from app.theme import palette
from app.widgets.header import header
from audioreason.errors import LabError

if TYPE_CHECKING:
    import pandas as pd

_VIEWS = {"compare": "Compare", "paper": "Paper's table"}


def draw() -> None:
    """Draw the page."""
    asked = _asked(session.runs())
    if asked.unknown:
        asked = _asked(session.runs_with(asked.unknown))
    called = picker.names(asked.runs)
    with header():
        view = address.segments("View", "view", _VIEWS, "compare")
        picker.choose_runs(asked)
        if view == "compare":
            picker.choose_baseline(asked, called)
        settings = picker.choose_settings(asked, errata=view == "compare")
        place = st.container(width="content")
    picker.say_left_out(asked)
    if view == "paper":
        made = paper(asked, settings)
        with place:
            export(made, palette())
        return
    problem = why_not(asked)
    if problem:
        st.markdown(f"**{plain(problem)}** :gray[Choose runs above.]")
        _suggest(asked)
        return
    question = look.question(
        asked.runs, asked.baseline, settings.score, settings.split, settings.without_errata
    )
    try:
        look.comparison(question)
    except LabError as error:
        st.markdown(f":red[{plain(str(error))}]")
        return
    with place:
        export(exports(asked, question, called), palette())
    overview(asked, question, called)


def _asked(runs: pd.DataFrame) -> Asked:
    return address.asked(
        {str(one): bool(rated) for one, rated in zip(runs["run_id"], runs["rated"], strict=True)}
    )


def why_not(asked: Asked) -> str:
    """Why these runs cannot be compared, in one sentence; "" if they can."""
    if not asked.runs and asked.unscored:
        return "None of the chosen runs has a scored answer yet."
    if not asked.runs:
        return "No run is chosen yet: a comparison needs two."
    return "One run is chosen: a comparison needs another one." if len(asked.runs) == 1 else ""


def _suggest(asked: Asked) -> None:
    """Offer the two newest runs that belong together."""
    pair = None if asked.named else picker.newest_pair()
    if pair is None:
        return
    called = picker.names(pair)
    if st.button(
        f"Compare the newest two: {plain(called[pair[1]])} against {plain(called[pair[0]])}",
        key="compare_newest",
        icon=":material/arrow_forward:",
        type="tertiary",
    ):
        address.choose_runs(pair)
        st.rerun()
