"""What the page reads: datasets, their numbers, what was made of them. Clips are decoded behind the page."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass

from app import session
from audioreason.items import Dataset, DatasetSummary, Item, list_datasets, validate, validate_items
from audioreason.items.facts import Facts, facts, value_of
from audioreason.items.splits import split_of
from audioreason.runs.desk import opened

SEALED = "sealed"


@dataclass
class Check:
    """The clips of one state of a dataset: how many are decoded, and the numbers once all are."""

    total: int = 0
    count: int = 0
    found: Facts | None = None
    problem: str = ""

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin to count clips."""
        self.total = total or 0

    def done(self, count: int, note: str = "") -> None:
        """Count clips."""
        self.count = count

    def metrics(self, step: int, **values: float) -> None:
        """Nothing is drawn of them."""

    def should_stop(self) -> bool:
        """Nobody asks for it."""
        return False


_lock = threading.Lock()
_checks: dict[tuple[str, str], Check] = {}


def datasets() -> list[DatasetSummary]:
    """Every dataset, usable or not."""
    return list_datasets(session.workspace())


def checked(data: Dataset) -> Check:
    """The numbers of a dataset with its clips decoded, or how far that is; the first call begins it."""
    key = (data.info.name, data.info.hash)
    with _lock:
        check = _checks.get(key)
        if check is None:
            check = _checks[key] = Check()
            threading.Thread(target=_decode, args=(data, check), name="data-check", daemon=True).start()
    return check


def _decode(data: Dataset, check: Check) -> None:
    try:
        check.found = facts(data, validate(data, check), closed(data))
    except Exception as error:  # noqa: BLE001 - a thread's last words, shown on the page
        check.problem = str(error)


def by_text(data: Dataset) -> Facts:
    """The numbers as far as the texts and earlier checks tell them."""
    return _by_text(data.info.name, data.info.hash)


@functools.lru_cache(maxsize=16)
def _by_text(name: str, digest: str) -> Facts:
    data = session.dataset(name)
    return facts(data, validate_items(data.items), closed(data))


def closed(data: Dataset) -> frozenset[str]:
    """Ids of sealed items that nobody has opened: the page does not show them."""
    if data.info.kind != "benchmark":
        return frozenset()
    sealed = {item_id for item_id, part in split_of(data).items() if part == SEALED}
    return frozenset(sealed - opened(session.workspace(), data.info.name))


def matching(data: Dataset, text: str, part: str, value: tuple[str, str] | None) -> list[Item]:
    """Items of a part whose texts hold every word, and that have a value of a property if one is chosen."""
    words = text.casefold().split()
    parts = split_of(data) if part else {}
    hidden = closed(data)
    return [
        item
        for item in data.items
        if item.id not in hidden
        and (not part or parts.get(item.id) == part)
        and (value is None or value_of(item, value[0]) == value[1])
        and all(word in f"{item.id} {item.question} {' '.join(item.choices)}".casefold() for word in words)
    ]
