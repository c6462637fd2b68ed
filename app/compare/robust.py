"""Whether a run needs the sound, and whether the order of the choices moves it: what a run's twins say of it.

Twins are runs of the same recipe with silence, noise, another clip or the text alone, or with the choices in
other orders; Launch and `audioreason eval` make them.
"""

from __future__ import annotations

import streamlit as st

from app.compare import address, look, words
from app.compare.look import Question
from app.session import plain
from audioreason.compare import Pair


def robust(question: Question, pair: Pair, called: dict[str, str]) -> None:
    """Draw a line for each of the pair's runs that has twins; the sound's leads to its subcategories."""
    known = look.finished()
    for run_id in (pair.run_id, pair.baseline):
        heard = look.contribution(run_id, question.score, question.split, known)
        if heard is not None and heard.without not in (pair.run_id, pair.baseline):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(
                    f":small[**{plain(called[run_id])}** :gray[{plain(heard.sentence)}]]", width="content"
                )
                if st.button("By subcategory", key=f"compare_heard_{run_id}", type="tertiary"):
                    address.choose_runs((heard.without, run_id))
                    st.rerun()
        steady = look.stability(run_id, question.split, known)
        if steady is not None:
            low, high = words.percent(steady.low), words.percent(steady.high)
            st.markdown(
                f":small[**{plain(called[run_id])}** :gray[makes the same choice in "
                f"{words.percent(steady.consistency)} of pairs of {len(steady.runs)} orders of the choices "
                f"({low} to {high}, {steady.n:,} items); right in every order: "
                f"{words.percent(steady.always)}.]]"
            )
