"""What the page shows, as its address says it: run, view, filters, item, sample. The address is the truth.

Widgets are set from it before they are drawn and write to it when they change, so that a link, a reload and
the back button all lead to the same page. Knows nothing about runs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import streamlit as st

VIEWS = ("Overview", "Triage", "Confusions", "Tags")
PAGE = 50  # predictions a page of the list
# what narrows the list; a change of one begins the list anew
FILTERS = (
    "layer",
    "sub",
    "outcome",
    "q",
    "tag",
    "choice",
    "agree",
    "length",
    "modality",
    "language",
    "cue",
    "gold_text",
    "given_text",
    "cell",
    "against",
    "score",
)


@dataclass(frozen=True)
class Address:
    """The page's state. Empty means any; `page` counts from 1; `other` is the run beside the open one.

    `cell` is a cell of the comparison with the run `against`, by `score` (strict unless it says official).
    """

    run: str = ""
    view: str = "Overview"
    part: str = ""
    errata: str = ""  # "without" leaves out what somebody marked
    layer: tuple[str, ...] = ()
    sub: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    q: str = ""
    tag: str = ""
    choice: str = ""
    agree: str = ""
    length: str = ""
    modality: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    cue: str = ""
    gold_text: str = ""
    given_text: str = ""
    cell: str = ""
    against: str = ""
    score: str = ""
    sort: str = ""
    page: int = 1
    item: str = ""
    sample: int = 0
    other: str = ""

    @property
    def filtered(self) -> bool:
        """Whether anything narrows the list."""
        return any(getattr(self, name) for name in FILTERS)

    @property
    def without_errata(self) -> bool:
        """Whether items that somebody marked are left out of every figure."""
        return self.errata == "without"


def here() -> Address:
    """The address as it is now; what makes no sense in it is as if it were not there."""
    values: dict[str, Any] = {}
    for field in fields(Address):
        given = [value[:2_000] for value in st.query_params.get_all(field.name) if value]
        if not given:
            continue
        if isinstance(field.default, tuple):
            values[field.name] = tuple(dict.fromkeys(given))
        elif isinstance(field.default, int):
            values[field.name] = (
                int(given[0]) if given[0].isdecimal() and len(given[0]) < 9 else field.default
            )
        else:
            values[field.name] = given[0]
    if values.get("view") not in VIEWS:
        values.pop("view", None)
    values["page"] = max(1, values.get("page", 1))
    return Address(**values)


def go(**changes: Any) -> None:
    """Change the address; the page follows at the next run. A filter that changes begins the list anew."""
    if any(name in changes for name in (*FILTERS, "run", "part", "errata", "sort")):
        changes = {"page": 1, "item": "", "sample": 0} | changes
    if "run" in changes:
        changes = {"other": ""} | changes
    defaults = {field.name: field.default for field in fields(Address)}
    for name, value in changes.items():
        if value == defaults[name] or not value:
            st.query_params.pop(name, None)
        else:
            st.query_params[name] = list(value) if isinstance(value, tuple) else str(value)


def no_filters() -> dict[str, Any]:
    """The changes that take every filter away."""
    return {name: () if isinstance(getattr(Address(), name), tuple) else "" for name in FILTERS}
