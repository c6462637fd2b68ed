"""How a round was trained: loss with held-out points, learning rate, gradient norm. Grows while it trains."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app.rest import curves, look
from app.rest.look import Experiment, Round
from app.rest.rounds import lineage
from app.rest.words import noun, thousands
from app.session import plain
from app.theme import palette

_VALUES = (
    ("lr", "learning rate"),
    ("grad_norm", "gradient norm"),
    ("tokens_per_second", "tokens per second"),
)


def training(found: Experiment, shown: Round) -> None:
    """Draw the view."""
    left, right = st.columns([2.1, 1], gap="large")
    with left:
        if look.training_now(found, shown):
            _growing(found, shown)
        else:
            _curves(found, shown)
    with right:
        _facts(shown)
        lineage(found)


@st.fragment(run_every=5)
def _growing(found: Experiment, shown: Round) -> None:
    _curves(found, shown)


def _curves(found: Experiment, shown: Round) -> None:
    rows = look.metrics(shown)
    if not rows:
        ended = "The round ended before any step." if shown.over else "No step has been made yet."
        why = ended if shown.number else "The base is not trained."
        st.markdown(f"**{plain(shown.name)} has no training to show.** :gray[{why}]")
        return
    name = plain(shown.name.lower())
    st.markdown(f":small[:gray[Loss of {name}; line: running mean, points: held out]] {_last(rows)}")
    st.vega_lite_chart(
        curves.loss_frame(rows), curves.loss_spec(palette()), width="stretch", key=f"rest_loss_{shown.number}"
    )
    known = [(name, title) for name, title in _VALUES if any(row.get(name) is not None for row in rows)]
    for column, (name, title) in zip(st.columns(len(_VALUES), gap="medium"), known, strict=False):
        with column:
            st.vega_lite_chart(
                curves.value_frame(rows, name),
                curves.value_spec(title, palette()),
                width="stretch",
                key=f"rest_{name}_{shown.number}",
            )


def _last(rows: list[dict[str, Any]]) -> str:
    held_out = [row["held_out_loss"] for row in rows if row.get("held_out_loss") is not None]
    if not held_out:
        return ""
    return f"&emsp; **{held_out[-1]:.4g}** :gray[held out at the end, best {min(held_out):.4g}]"


def _facts(shown: Round) -> None:
    words = []
    if shown.training is not None:
        words.append(f"**{thousands(shown.training)}** :gray[{noun(shown.training, 'training sample')}]")
        if shown.training_words:
            words.append(f":gray[{plain(shown.training_words)}]")
    if shown.recipe:
        words += [f":gray[{plain(name)}] {plain(value)}" for name, value in shown.recipe.items()]
    if words:
        st.markdown("  \n".join(words))
