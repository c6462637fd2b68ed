"""The page's figures and lists: the explorer's answers, kept while nothing that they come from changes.

Knows the explorer and the address; knows nothing about how a figure looks.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app import session
from app.errors import beside, heard, look, notes
from app.errors.address import PAGE, Address
from audioreason.review import explorer
from audioreason.review.explorer import Agreement, Biases, Confusion, Overview, TagTable
from audioreason.runs import Filter, records

ANY_TAG = "*"
NO_TAG = "-"


@dataclass(frozen=True)
class Range:
    """One option of a filter: its words, and the range it means (low end in, high end out)."""

    words: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Sort:
    """One order of the list: its words, a sort of the catalog, and its direction."""

    words: str
    name: str
    descending: bool = False


AGREEMENT = {
    "all": Range("all samples agree", 1.0, None),
    "most": Range("half or more agree, not all", 0.5, 1.0),
    "few": Range("fewer than half agree", None, 0.5),
}
LENGTHS = {
    "short": Range("under 300 characters", None, 300),
    "middle": Range("300 to 1,500 characters", 300, 1_500),
    "long": Range("1,500 to 5,000 characters", 1_500, 5_000),
    "longest": Range("5,000 characters or more", 5_000, None),
}
SORTS = {
    "item": Sort("In dataset order", "item"),
    "subcategory": Sort("By subcategory", "subcategory"),
    "outcome": Sort("By outcome", "outcome"),
    "longest": Sort("Longest first", "length", True),
    "shortest": Sort("Shortest first", "length"),
    "slowest": Sort("Slowest first", "seconds", True),
}

Run = Mapping[str, Any]
Without = frozenset[str]


def figures(run: Run, part: str, without: Without) -> Overview:
    """Accuracy and outcomes by subcategory."""
    return _figures(str(run["run_id"]), split_of(part), without, look.stamp(run))


@functools.lru_cache(maxsize=32)
def _figures(run_id: str, split: str | None, without: Without, stamp: look.Stamp) -> Overview:
    return explorer.overview(session.catalog(), run_id, split, without)


def outcomes(found: Overview) -> dict[str, int]:
    """Predictions by outcome, over all groups."""
    total: dict[str, int] = {}
    for group in found.groups:
        for name, number in group.outcomes.items():
            total[name] = total.get(name, 0) + number
    return total


def split_of(part: str) -> str | None:
    """The part as the catalog names it: None for all items."""
    return None if part == "all" else part


@dataclass(frozen=True)
class Found:
    """One page of the list, as dicts (see `explorer.find`), and how many predictions there are in all."""

    rows: list[dict[str, Any]]
    total: int


def find(now: Address, run: Run, part: str, without: Without) -> Found:
    """The page of the list that the address asks for.

    Raises:
        RunError: if the run is gone, or its texts cannot be searched.
    """
    return _find(now, run, part, without, PAGE, PAGE * (now.page - 1))


def ids_found(now: Address, run: Run, part: str, without: Without, most: int) -> list[str]:
    """Ids of the items that the filters leave, at most `most` predictions' worth."""
    found = _find(now, run, part, without, most, 0)
    return list(dict.fromkeys(str(row["item_id"]) for row in found.rows))


def _find(now: Address, run: Run, part: str, without: Without, limit: int, offset: int) -> Found:
    items = beside.items(now, run)
    if items == ():  # to a filter, no name at all means any
        return Found([], 0)
    sort, several = SORTS.get(now.sort, SORTS["item"]), int(run["samples"]) > 1
    where = _filter(now, run, part, without, items)
    return _listed(where, sort, limit, offset, several, look.stamp(run))


def _filter(now: Address, run: Run, part: str, without: Without, items: tuple[str, ...] | None) -> Filter:
    only: tuple[tuple[str, int], ...] | None = None
    never: tuple[tuple[str, int], ...] = ()
    if now.tag:
        tag = None if now.tag in (ANY_TAG, NO_TAG) else now.tag
        tagged = explorer.tagged(notes.book(), str(run["run_id"]), tag)
        only, never = (None, tagged) if now.tag == NO_TAG else (tagged, ())
    if now.cue and (found := heard.cues(run)) is not None:
        claimed = found.having(now.cue)
        only = claimed if only is None else tuple(sorted(set(only) & set(claimed)))
    agreeing, length = AGREEMENT.get(now.agree, Range("")), LENGTHS.get(now.length, Range(""))
    return Filter(
        runs=(str(run["run_id"]),),
        items=items or (),
        part=() if part == "all" else (part,),
        layer=now.layer,
        subcategory=now.sub,
        modality=now.modality,
        language=now.language,
        outcome=now.outcome,
        choice=int(now.choice) if now.choice.isdecimal() else None,
        text=now.q,
        gold_text=now.gold_text,
        given_text=now.given_text,
        agreement=(agreeing.low, agreeing.high),
        chars=(_whole(length.low), _whole(length.high)),
        only=only,
        never=never,
        without=without,
    )


@functools.lru_cache(maxsize=32)
def _listed(where: Filter, sort: Sort, limit: int, offset: int, several: bool, stamp: look.Stamp) -> Found:
    page = explorer.find(
        session.catalog(), where, sort.name, sort.descending, limit, offset, agreement=several
    )
    return Found(records(page.rows), page.total)


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def values_of(run: Run, column: str, part: str) -> list[str]:
    """What a column of the run's items holds, such as its languages."""
    return list(_values_of(str(run["run_id"]), column, split_of(part), look.stamp(run)))


@functools.lru_cache(maxsize=64)
def _values_of(run_id: str, column: str, split: str | None, stamp: look.Stamp) -> tuple[str, ...]:
    return tuple(map(str, session.catalog().accuracy_by(run_id, column, split)["group"]))


def confusions(run: Run, part: str, without: Without) -> list[Confusion]:
    """What is taken for what, the commonest first."""
    return list(_confusions(str(run["run_id"]), split_of(part), without, look.stamp(run)))


@functools.lru_cache(maxsize=8)
def _confusions(run_id: str, split: str | None, without: Without, stamp: look.Stamp) -> tuple[Confusion, ...]:
    return tuple(explorer.confusions(session.catalog(), run_id, split, without))


def biases(run: Run, part: str, without: Without) -> Biases:
    """Habits that have nothing to do with the sound."""
    return _biases(str(run["run_id"]), split_of(part), without, look.stamp(run))


@functools.lru_cache(maxsize=8)
def _biases(run_id: str, split: str | None, without: Without, stamp: look.Stamp) -> Biases:
    return explorer.biases(session.catalog(), run_id, split, without)


def agreement(run: Run, part: str, without: Without) -> list[Agreement]:
    """Other runs beside this one, read anew each time: they change by themselves."""
    return explorer.agreement(session.catalog(), str(run["run_id"]), split_of(part), without)


def tag_table(run: Run, part: str, without: Without) -> TagTable:
    """Tagged predictions by subcategory, read anew each time."""
    run_id = str(run["run_id"])
    return explorer.tag_table(session.catalog(), notes.book(), run_id, split_of(part), without)
