"""A dataset in numbers: one line, what it is made of, what is wrong with it, and which runs asked it."""

from __future__ import annotations

import streamlit as st

from app import session
from app.navigation import page
from app.session import plain
from app.widgets.rows import Column, rows
from app.words import duration, when
from audioreason.items import Dataset
from audioreason.items.facts import Facts
from audioreason.runs import records
from audioreason.wording import counted

_LISTED = 100
_LEFT_OUT = ("not-an-item", "duplicate-id")  # rows of a table that an import could not take
_SEVERITIES = {"error": ":red[error]", "warning": ":orange[warning]", "info": ":gray[note]"}
_RUNS = (
    Column("Run", "minmax(0, 1.6fr)"),
    Column("Kind", "90px"),
    Column("Prompt", "minmax(0, 1fr)"),
    Column("Model", "minmax(0, 1fr)"),
    Column("Items", "64px", number=True),
    Column("Strict", "70px", number=True),
    Column("Dataset then", "110px"),
    Column("When", "84px"),
)


def line(data: Dataset, found: Facts | None) -> str:
    """The dataset in one line of numbers, as Markdown; without `found`, what it says of itself."""
    if found is None:
        small = " · ".join(plain(text) for text in (data.info.licence, f"hash {data.info.hash}") if text)
        clips = f" &emsp; {_number(data.info.clip_count, 'clip')}" if data.info.clip_count else ""
        return f"{_number(len(data.items), 'item')}{clips}\n\n:small[:gray[{small}]]"
    words = [_number(found.items, "item"), _number(found.recordings, "recording")]
    if found.clips:
        words.append(_number(found.clips, "clip"))
    if found.decoded:
        each = f"{found.shortest:.1f} to {found.longest:.1f} s, median {found.median:.1f}"
        words.append(f"**{duration(found.seconds)}** :gray[of sound · {each}]")
    errors = sum(one.items for one in found.problems if one.severity == "error" and one.code not in _LEFT_OUT)
    if errors:
        words.append(f"**{errors:,}** :red[with an error]")
    splits = " · ".join(f"{name} {count:,}" for name, count in found.splits.items())
    about = [splits, data.info.licence, f"hash {data.info.hash}"]
    small = " · ".join(plain(text) for text in about if text)
    return " &emsp; ".join(words) + f"\n\n:small[:gray[{small}]]"


def _number(number: int, name: str) -> str:
    count, _, noun = counted(number, name).partition(" ")
    return f"**{count}** :gray[{noun}]"


def make_up(found: Facts) -> None:
    """How many items have each value of each property; a row leads to its items."""
    columns = st.columns(2, gap="medium")
    for number, kind in enumerate(found.kinds):
        with columns[number % 2]:
            cells = [
                (value, f"{count:,}", f"{100 * count / found.items:.1f}%")
                for value, count in kind.counts.items()
            ]
            clicked = rows(
                (
                    Column(kind.name, "minmax(0, 1fr)"),
                    Column("Items", "70px", number=True),
                    Column("Share", "70px", number=True),
                ),
                cells,
                key=f"data_{kind.name}",
                clickable=True,
                height=520,
            )
            if clicked is not None:
                st.query_params.update(view="Items", kind=kind.name, value=cells[clicked][0], page="1")
                st.rerun()


def problems(data: Dataset, found: Facts) -> None:
    """What is wrong or odd, gravest first, with what it means for a result."""
    if not found.problems:
        st.markdown(
            "**Nothing is wrong, and nothing odd.** :gray[Questions, choices, gold answers and clips.]"
        )
        return
    for number, one in enumerate(found.problems):
        count = counted(one.items, "row" if one.code in _LEFT_OUT else "item")
        words, action = st.columns([6, 1], gap="small")
        with words:
            tells = one.example and not one.explanation.startswith(one.example.rstrip("."))
            example = f" Such as: {plain(one.example)}" if tells else ""
            st.markdown(
                f"**{plain(one.code.replace('-', ' '))}** {_SEVERITIES[one.severity]} · {count}  \n"
                f":small[:gray[{plain(one.explanation)}{example}]]"
            )
        with action:
            if one.example_item in data and st.button(
                "Show one", key=f"data_problem_{number}", type="tertiary"
            ):
                st.query_params.update(view="Items", item=one.example_item)
                for name in ("kind", "value", "find", "part", "page"):
                    st.query_params.pop(name, None)
                st.rerun()


def used_by(data: Dataset) -> None:
    """The runs that asked this dataset, newest first; a row leads to its failures."""
    frame = session.runs()
    listed = records(frame[frame["dataset"] == data.info.name].head(_LISTED))
    if not listed:
        st.markdown("**No run has asked this dataset.** :gray[Evaluate a prompt on it from Launch.]")
        return
    cells = [
        (
            str(run["run_id"]),
            str(run["kind"]),
            str(run["prompt"] or ""),
            str(run["model"] or ""),
            f"{run['n']:,}",
            "" if run["strict"] is None else f"{100 * run['strict']:.1f}%",
            "the same" if run["dataset_hash"] == data.info.hash else "other items",
            when(str(run["created"])),
        )
        for run in listed
    ]
    clicked = rows(_RUNS, cells, key="data_runs", clickable=True, height=560)
    if clicked is not None:
        st.switch_page(page("errors"), query_params={"run": str(listed[clicked]["run_id"])})
