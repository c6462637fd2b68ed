"""Runs on screen: one colour a run on every page, its mark, and the tags that find it.

Teal and brick mean right and wrong, so no run has them; grey is the baseline's alone.
"""

from __future__ import annotations

import functools
import html
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app import session
from app.theme import Palette
from audioreason.review import Annotations

_SEARCHED = (
    "run_id", "prompt", "prompt_version", "dataset", "model", "split", "status", "ablation",
)  # fmt: skip


def run_colours(run_ids: Sequence[str], palette: Palette, baseline: str | None = None) -> dict[str, str]:
    """The colour of each run, as CSS: the baseline's is grey, another's follows from its id.

    Where two ids want the same colour, the later one in the order of ids takes the next free one, so the same
    runs have the same colours whatever order they were chosen in.
    """
    *series, grey = palette.series
    colours = {} if baseline is None else {baseline: grey}
    taken: set[int] = set()
    for run_id in sorted(set(run_ids) - {baseline}):
        wanted = zlib.crc32(run_id.encode()) % len(series)
        place = next(
            (k % len(series) for k in range(wanted, wanted + len(series)) if k % len(series) not in taken),
            wanted,
        )
        taken.add(place)
        colours[run_id] = series[place]
    return colours


def run_mark(name: str, colour: str, given: str = "", tone: str = "") -> str:
    """A run's name behind a square of its colour, and what it gave in the colour `tone`: one line of HTML."""
    line = f'<b><span style="color: {colour}">■</span> {html.escape(name)}</b>'
    line += f' &ensp;<span style="color: {tone}">{html.escape(given)}</span>' if given else ""
    hidden = "overflow: hidden; text-overflow: ellipsis; white-space: nowrap; unicode-bidi: plaintext"
    return f'<div style="{hidden}" title="{html.escape(given)}">{line}</div>'


@functools.cache
def run_book() -> Annotations:
    """The annotations of this lab's workspace, for the tags of runs."""
    return Annotations(session.workspace())


def run_tags() -> Mapping[str, tuple[str, ...]]:
    """The tags of every run that has any, read again when anybody has changed one."""
    return _run_tags(run_book().version())


@functools.lru_cache(maxsize=1)
def _run_tags(version: int) -> Mapping[str, tuple[str, ...]]:
    return run_book().run_tags()


def matching(runs: Sequence[Mapping[str, Any]], text: str) -> list[Mapping[str, Any]]:
    """Those of some runs (`records` of `session.runs`) that every word of a search is found in."""
    words = text.casefold().split()
    if not words:
        return list(runs)
    tags, found = run_tags(), []
    for run in runs:
        searched = " ".join(str(run[name] or "") for name in _SEARCHED)
        searched = f"{searched} {' '.join(tags.get(run['run_id'], ()))}".casefold()
        if all(word in searched for word in words):
            found.append(run)
    return found


def say_newest(shown: int, found: int) -> None:
    """Say that a list holds only the newest of the runs that were found, if that is so."""
    if found > shown:
        st.markdown(f":small[:gray[The newest {shown} of {found:,} runs; the search finds the others.]]")


def most_runs(palette: Palette) -> int:
    """How many runs one chart can tell apart by colour, the baseline included."""
    return len(palette.series)
