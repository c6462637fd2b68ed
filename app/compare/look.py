"""Comparisons for the page, made once for all tabs and kept until a run, a score or an erratum changes."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pandas as pd

from app import session
from app.compare.address import Score
from app.widgets.runs import run_book as book
from audioreason.compare import (
    Comparison,
    Contribution,
    Pair,
    PaperTable,
    Stability,
    audio_contribution,
    choice_stability,
    compare,
    orders_of,
    papers_table,
)
from audioreason.errors import RunError
from audioreason.runs import load_record

# what changes in the list of runs when a comparison would
_STAMP = ("run_id", "status", "recorded", "answered", "rated", "scorer", "dataset_hash")


@dataclass(frozen=True)
class Question:
    """What is compared, and the state of the world it was asked in."""

    runs: tuple[str, ...]
    baseline: str
    score: Score
    split: str
    without_errata: bool
    stamp: tuple[object, ...] = ()


def question(
    runs: tuple[str, ...], baseline: str, score: Score, split: str, without_errata: bool
) -> Question:
    """The question with the versions of everything that its answer depends on."""
    table = session.runs()
    rows = table.loc[table["run_id"].isin(runs), list(_STAMP)]
    stamp = (*map(tuple, rows.itertuples(index=False, name=None)), book().version())
    return Question(runs, baseline, score, split, without_errata, stamp)


@functools.lru_cache(maxsize=64)
def comparison(asked: Question) -> Comparison:
    """The answer.

    Raises:
        RunError: if a run is gone or cannot be read.
    """
    return compare(
        session.catalog(),
        book(),
        asked.runs,
        asked.baseline,
        score=asked.score,
        split=None if asked.split == "full" else asked.split,
        without_errata=asked.without_errata,
    )


@functools.lru_cache(maxsize=16)
def paper(asked: Question) -> PaperTable:
    """The published table beside these runs."""
    split = None if asked.split == "full" else asked.split
    return papers_table(session.catalog(), asked.runs, score=asked.score, split=split)


def pair(asked: Question, run_id: str) -> Pair:
    """One run against the baseline."""
    return comparison(asked).pair(run_id)


@functools.lru_cache(maxsize=256)
def by(asked: Question, run_id: str, column: str) -> pd.DataFrame:
    """Differences of one pair by a column of the items; the frame is shared, so it must not be changed."""
    return pair(asked, run_id).by(column)


@functools.lru_cache(maxsize=64)
def parts(runs: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the splits that items of these runs belong to, in the order people name them."""
    found = set(session.catalog().accuracy_by(runs, "part")["group"]) - {"none"}
    order = ("explore", "sealed", "train", "dev", "test")
    return tuple(name for name in order if name in found)


@functools.lru_cache(maxsize=64)
def contribution(run_id: str, score: Score, split: str, known: tuple[str, ...]) -> Contribution | None:
    """What hearing the clips adds to a run; None if none of the `known` runs asked the same without them."""
    try:
        return audio_contribution(
            session.catalog(), run_id, score=score, split=None if split == "full" else split
        )
    except RunError:
        return None


@functools.lru_cache(maxsize=64)
def stability(run_id: str, split: str, known: tuple[str, ...]) -> Stability | None:
    """How steady a run's choices are when their order changes; None if it was asked in one order alone."""
    try:
        orders = [
            one
            for one in orders_of(session.catalog(), run_id)
            if load_record(session.workspace(), one).permutation is not None
        ]
        if len(orders) < 2:
            return None
        return choice_stability(session.catalog(), orders, split=None if split == "full" else split)
    except RunError:
        return None


def finished() -> tuple[str, ...]:
    """Every run that is complete: twins of a run may be among those that have come since."""
    table = session.runs()
    return tuple(map(str, table.loc[table["status"] == "finished", "run_id"]))


def errata(runs: tuple[str, ...]) -> int:
    """How many items of the datasets of these runs are marked wrong or ambiguous."""
    table = session.runs()
    names = set(table.loc[table["run_id"].isin(runs), "dataset"])
    return sum(len(book().errata(str(name))) for name in names)
