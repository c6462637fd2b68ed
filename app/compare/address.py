"""What is compared, as the address says it: a link leads back to the same comparison.

Knows nothing about how comparisons are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st

from app.compare.cells import CELLS

Score = Literal["strict", "official"]

# what differences can be shown by: name in the address -> words, column of the items
GROUPS = {
    "subcategory": ("Subcategory", "subcategory"),
    "layer": ("Layer", "layer"),
    "modality": ("Modality", "modality"),
    "language": ("Language", "language"),
    "difficulty": ("Difficulty", "difficulty"),
    "position": ("Choice position", "gold"),
}
BY = {name: title for name, (title, _) in GROUPS.items()}
COST = {"tokens": "Tokens", "seconds": "Seconds"}
_SEPARATOR = ","  # no run's id has one


@dataclass(frozen=True)
class Asked:
    """Which runs the address names: `runs` can be compared, `unscored` lack answers, `unknown` are gone.

    `focus` is the run that is looked at closely against the `baseline`; both are "" with fewer than two runs.
    """

    runs: tuple[str, ...]
    unscored: tuple[str, ...]
    unknown: tuple[str, ...]
    baseline: str
    focus: str

    @property
    def named(self) -> tuple[str, ...]:
        """All runs that are there."""
        return (*self.runs, *self.unscored)


def asked(known: Mapping[str, bool]) -> Asked:
    """Read the address; `known` says of every run whether it has scored answers."""
    named = [one for one in (st.query_params.get("runs") or "").split(_SEPARATOR) if one]
    unique = list(dict.fromkeys(named))
    runs = tuple(one for one in unique if known.get(one))
    unscored = tuple(one for one in unique if known.get(one) is False)
    unknown = tuple(one for one in unique if one not in known)
    if len(runs) < 2:
        return Asked(runs, unscored, unknown, "", "")
    wanted = st.query_params.get("baseline")
    baseline = wanted if wanted in runs else runs[0]
    others = [one for one in runs if one != baseline]
    wanted = st.query_params.get("focus")
    return Asked(runs, unscored, unknown, baseline, wanted if wanted in others else others[0])


def choose_runs(runs: Sequence[str]) -> None:
    """Compare these runs; what the address says about runs that are gone goes too."""
    put("runs", _SEPARATOR.join(runs))
    for name in ("baseline", "focus"):
        if st.query_params.get(name) not in runs:
            put(name, None)
    close()


def put(name: str, value: str | None) -> None:
    """Say something in the address; None or "" takes it out."""
    if value:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)


def close() -> None:
    """Show no item any more."""
    put("item", None)


def cell() -> str | None:
    """The cell whose items are listed; None for the flips."""
    name = st.query_params.get("cell")
    return name if name in CELLS else None


def with_sealed() -> bool:
    """Whether items of the sealed half are listed too."""
    return st.query_params.get("sealed") == "1"


def segments(label: str, name: str, options: dict[str, str], default: str, **more: Any) -> str:
    """A segmented control whose choice lives in the address, unless it is the default."""
    chosen = current(name, options, default)
    st.session_state[f"compare_{name}"] = chosen
    st.segmented_control(
        label,
        list(options),
        key=f"compare_{name}",
        required=True,
        format_func=lambda option: options[option],
        label_visibility="collapsed",
        on_change=_store,
        args=(name, default),
        **more,
    )
    return chosen


def select(label: str, name: str, options: dict[str, str], default: str, **more: Any) -> str:
    """A list to choose from, whose choice lives in the address, unless it is the default."""
    chosen = current(name, options, default)
    st.session_state[f"compare_{name}"] = chosen
    st.selectbox(
        label,
        list(options),
        key=f"compare_{name}",
        format_func=lambda option: options[option],
        label_visibility="collapsed",
        on_change=_store,
        args=(name, default),
        **more,
    )
    return chosen


def toggle(label: str, name: str, **more: Any) -> bool:
    """A switch that is "1" in the address while it is on."""
    on = st.query_params.get(name) == "1"
    st.session_state[f"compare_{name}"] = on
    st.toggle(label, key=f"compare_{name}", on_change=_store_switch, args=(name,), **more)
    return on


def current(name: str, options: dict[str, str], default: str) -> str:
    """What the address says, if it is one of the options."""
    wanted = st.query_params.get(name)
    return wanted if wanted in options else default


def _store(name: str, default: str) -> None:
    value = st.session_state[f"compare_{name}"]
    put(name, None if value == default else value)


def _store_switch(name: str) -> None:
    put(name, "1" if st.session_state[f"compare_{name}"] else None)
