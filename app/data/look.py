"""What the page reads: datasets, their numbers, what was made of them. Clips are decoded behind the page."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app import session
from app.data.check import facts_elsewhere
from audioreason.acquire import free_form
from audioreason.errors import LabError
from audioreason.items import Dataset, DatasetSummary, Item, list_datasets, validate, validate_items
from audioreason.items.facts import Facts, facts, value_of
from audioreason.items.splits import split_of
from audioreason.runs.desk import opened

SEALED = "sealed"
FREE = "free-form"
_LARGE = 5_000  # items; more are read and counted behind the page


@dataclass
class Check:
    """What is found out about one state of a dataset behind the page.

    `texts` are its numbers as far as texts and earlier checks tell them, `found` those once all clips are
    decoded; `count` of `total` clips are.
    """

    total: int = 0
    count: int = 0
    texts: Facts | None = None
    found: Facts | None = None
    problem: str = ""

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin to count clips."""
        self.total = total or 0

    def done(self, count: int, note: str = "") -> None:
        """Count clips."""
        self.count = count

    def at(self, count: int, total: int) -> None:
        """Where another process is."""
        self.count, self.total = count, total

    def early(self, texts: Facts) -> None:
        """The numbers without clips, of another process."""
        self.texts = texts

    def metrics(self, step: int, **values: float) -> None:
        """Nothing is drawn of them."""

    def should_stop(self) -> bool:
        """Nobody asks for it."""
        return False


@dataclass(frozen=True)
class _Index:
    """A dataset as it is searched: by place of the item, its text in one case, its part and its values."""

    texts: tuple[str, ...]
    parts: Mapping[str, str]
    sealed: frozenset[str]


_lock = threading.Lock()
_checks: dict[tuple[str, str], Check] = {}
_ready: dict[str, str] = {}  # name -> hash of the state that is read and indexed
_reading: set[str] = set()


def datasets() -> list[DatasetSummary]:
    """Every dataset, usable or not; one of free-form questions alone is of the kind `FREE`."""
    known = list_datasets(session.workspace())
    names = {row.name for row in known}
    free = [
        DatasetSummary(name, "", FREE, "none", count, 0, "", False)
        for name, count in free_forms().items()
        if name not in names
    ]
    return sorted([*known, *free], key=lambda row: row.name) if free else known


def free_forms() -> dict[str, int]:
    """How many free-form questions each dataset has; counted again when a file of them has changed."""
    files = sorted(session.workspace().datasets.glob("*/free.jsonl"))
    return _free_forms(tuple((str(file), file.stat().st_mtime_ns) for file in files if file.is_file()))


@functools.lru_cache(maxsize=1)
def _free_forms(stamps: tuple[tuple[str, int], ...]) -> dict[str, int]:
    return free_form(session.workspace())


def free_matching(data: Dataset, text: str) -> list[Item]:
    """Free-form questions whose id, question or answer hold every word."""
    words = text.casefold().split()
    return [
        item
        for item in data.items
        if all(word in f"{item.id} {item.question} {item.answer}".casefold() for word in words)
    ]


def ready(row: DatasetSummary) -> bool:
    """Whether a dataset can be shown at once; a large one that was not read yet is read behind the page."""
    if row.items <= _LARGE or _ready.get(row.name) == row.hash:
        return True
    with _lock:
        if row.name not in _reading:
            _reading.add(row.name)
            threading.Thread(target=_read, args=(row,), name="data-read", daemon=True).start()
    return False


def _read(row: DatasetSummary) -> None:
    try:
        data = session.dataset(row.name)
        _index(data.info.name, data.info.hash)
    except LabError:
        return  # the page reads it again and says why
    finally:
        with _lock:
            _ready[row.name] = row.hash
            _reading.discard(row.name)


def checked(data: Dataset) -> Check:
    """The numbers of a dataset with its clips decoded, or how far that is; the first call begins it."""
    key = (data.info.name, data.info.hash)
    with _lock:
        check = _checks.get(key)
        if check is None:
            check = _checks[key] = Check()
            if len(data.items) <= _LARGE:
                check.texts = _by_text(data)
            threading.Thread(target=_decode, args=(data, check), name="data-check", daemon=True).start()
    return check


def _decode(data: Dataset, check: Check) -> None:
    try:
        if len(data.items) <= _LARGE:
            check.found = facts(data, validate(data, check), closed(data))
        else:
            root = session.workspace().root
            check.found = facts_elsewhere(root, data.info.name, closed(data), check.at, check.early)
    except Exception as error:  # noqa: BLE001 - a thread's last words, shown on the page
        check.problem = str(error)


def _by_text(data: Dataset) -> Facts:
    return facts(data, validate_items(data.items), closed(data))


def numbers(data: Dataset) -> Facts | None:
    """The best numbers that there are by now; None while the texts of a large dataset are counted."""
    check = checked(data)
    return check.found or check.texts


def closed(data: Dataset) -> frozenset[str]:
    """Ids of sealed items that nobody has opened: the page does not show them."""
    if data.info.kind != "benchmark":
        return frozenset()
    return _closed(data.info.name, data.info.hash, opened(session.workspace(), data.info.name))


@functools.lru_cache(maxsize=16)
def _closed(name: str, digest: str, seen: frozenset[str]) -> frozenset[str]:
    return _index(name, digest).sealed - seen


def matching(data: Dataset, text: str, part: str, value: tuple[str, str] | None) -> list[Item]:
    """Items of a part whose texts hold every word, and that have a value of a property if one is chosen."""
    words = tuple(text.casefold().split())
    if not words and not part and value is None and not closed(data):
        return list(data.items)
    seen = opened(session.workspace(), data.info.name)
    places = _matching(data.info.name, data.info.hash, words, part, value, seen)
    return [data.items[place] for place in places]


@functools.lru_cache(maxsize=32)
def _matching(
    name: str,
    digest: str,
    words: tuple[str, ...],
    part: str,
    value: tuple[str, str] | None,
    seen: frozenset[str],
) -> list[int]:
    data, index = session.dataset(name), _index(name, digest)
    places: Iterable[int] = range(len(index.texts))
    for word in words:
        places = [place for place in places if word in index.texts[place]]
    items = data.items
    if part:
        places = [place for place in places if index.parts.get(items[place].id) == part]
    if value is not None:
        places = [place for place in places if value_of(items[place], value[0]) == value[1]]
    hidden = closed(data)
    return [place for place in places if items[place].id not in hidden] if hidden else list(places)


@functools.lru_cache(maxsize=8)
def _index(name: str, digest: str) -> _Index:
    data = session.dataset(name)
    parts = split_of(data)
    texts = (f"{item.id} {item.question} {' '.join(item.choices)}".casefold() for item in data.items)
    sealed = frozenset(item_id for item_id, part in parts.items() if part == SEALED)
    return _Index(tuple(texts), parts, sealed)
