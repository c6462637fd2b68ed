"""Runs on screen: one colour a run on every page, its mark, and the tags that find it.

Teal and brick mean right and wrong, so no run has them; grey is the baseline's alone.
"""

from __future__ import annotations

import functools
import html
import zlib
from collections.abc import Mapping, Sequence

from app import session
from app.theme import Palette
from audioreason.review import Annotations


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


def most_runs(palette: Palette) -> int:
    """How many runs one chart can tell apart by colour, the baseline included."""
    return len(palette.series)
