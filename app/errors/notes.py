"""Tags, notes and errata as the page reads and changes them. Every change is on disk when it shows.

Reads again whenever anybody has changed anything, in any tab or process. Knows nothing about how it looks.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from app.errors.address import Address
from app.widgets.runs import run_book as book
from audioreason.review import Erratum, Tag

__all__ = ["all_tags", "book", "errata", "left_out", "shown_without", "tags_of"]


def all_tags() -> list[Tag]:
    """Every tag with its key and how often it was given."""
    return list(_all_tags(book().version()))


@functools.lru_cache(maxsize=2)
def _all_tags(version: int) -> tuple[Tag, ...]:
    return tuple(book().tags())


def tags_of(run_id: str) -> Mapping[tuple[str, int], tuple[str, ...]]:
    """The tags of a run's predictions, by item and sample."""
    return _tags_of(run_id, book().version())


@functools.lru_cache(maxsize=8)
def _tags_of(run_id: str, version: int) -> Mapping[tuple[str, int], tuple[str, ...]]:
    return book().tags_of(run_id)


def errata(dataset: str) -> Mapping[str, Erratum]:
    """The items of a dataset that somebody marked, by id."""
    return _errata(dataset, book().version())


@functools.lru_cache(maxsize=8)
def _errata(dataset: str, version: int) -> Mapping[str, Erratum]:
    return book().errata(dataset)


def shown_without(now: Address, run: Mapping[str, Any]) -> frozenset[str]:
    """Ids of the items that this view leaves out: the errata, where the address says so."""
    return left_out(str(run["dataset"])) if now.without_errata else frozenset()


def left_out(dataset: str) -> frozenset[str]:
    """Ids of the items that figures without errata leave out."""
    return frozenset(errata(dataset))
