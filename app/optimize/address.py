"""What the page shows, as its address says it: search, candidate, view, item, request.

The address is the truth: a link, a reload and the back button all lead to the same page. Knows nothing about
searches.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import streamlit as st

VIEWS = ("Changes", "Text", "Items", "Requests")
AGAINST = ("parent", "seed")


@dataclass(frozen=True)
class Address:
    """The page's state; empty means that nobody has chosen."""

    search: str = ""
    candidate: str = ""
    view: str = VIEWS[0]
    against: str = AGAINST[0]
    item: str = ""
    request: str = ""


def here() -> Address:
    """The address as it is now; what makes no sense in it is as if it were not there."""
    values = {
        field.name: value[:500]
        for field in fields(Address)
        if (value := st.query_params.get(field.name)) is not None
    }
    if values.get("view") not in VIEWS:
        values.pop("view", None)
    if values.get("against") not in AGAINST:
        values.pop("against", None)
    return Address(**values)


def go(**changes: Any) -> None:
    """Change the address; the page follows at the next run. Another candidate closes what was open of it."""
    if "search" in changes:
        changes = {"candidate": ""} | changes
    if "candidate" in changes:
        changes = {"item": "", "request": ""} | changes
    defaults = {field.name: field.default for field in fields(Address)}
    for name, value in changes.items():
        if not value or value == defaults[name]:
            st.query_params.pop(name, None)
        else:
            st.query_params[name] = str(value)


def segments(label: str, name: str, options: tuple[str, ...], words: dict[str, str] | None = None) -> None:
    """A segmented control whose choice lives in the address."""
    key = f"optimize_{name}"
    st.session_state[key] = getattr(here(), name)
    st.segmented_control(
        label,
        list(options),
        key=key,
        required=True,
        format_func=lambda option: (words or {}).get(option, option),
        label_visibility="collapsed",
        on_change=lambda: go(**{name: st.session_state[key]}),
    )
