"""What the page reads: runs, figures, lists, one prediction whole, annotations. Keeps what is asked twice.

Knows the rooms below; knows nothing about how the page looks.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pandas as pd

from app import session
from app.session import ClipView, clip_view
from audioreason.errors import ItemError, LabError, RunError
from audioreason.items import Dataset, Item
from audioreason.items.picture import spectrogram
from audioreason.runs import Detail, Filter, Judged, RunRecord, judged_stamp, load_record, records
from audioreason.runs import judged as judged_readings
from audioreason.runs.desk import note_opened, opened
from audioreason.wording import counted

SEALED = "sealed"
_CHIPS = 64  # samples of one item that are offered by name
_EVERYTHING = 1_000_000  # items of a run, for the few questions that need all of them

Stamp = tuple[Any, ...]
_background = ThreadPoolExecutor(1, thread_name_prefix="errors-ahead")


_known: tuple[pd.DataFrame | None, list[dict[str, Any]]] = (None, [])


def runs() -> list[dict[str, Any]]:
    """Every run, newest first, as `Catalog.runs` gives them; what is unknown is None."""
    global _known
    frame = session.runs()  # the same object for a second
    if _known[0] is not frame:
        _known = (frame, records(frame))
    return _known[1]


def run(run_id: str) -> dict[str, Any] | None:
    """One run, or None if there is none of that id."""
    if run_id:
        session.runs_with([run_id])
    return next((one for one in runs() if one["run_id"] == run_id), None)


def why_not(run_id: str) -> str:
    """One sentence why a run cannot be shown."""
    try:
        session.catalog().run_numbers(run_id)
    except RunError as error:
        return error.message
    return f"The run {run_id} was not there a moment ago."


def trouble(run: Mapping[str, Any]) -> list[str]:
    """What the reader must know about a run before believing its figures, one sentence each."""
    found = []
    if run["status"] != "finished":
        state = "is still being written" if run["status"] == "running" else "was stopped"
        found.append(f"This run {state}: {run['recorded']:,} of {run['n']:,} items so far.")
    elif run["recorded"] < run["n"]:
        found.append(f"This run has predictions for {run['recorded']:,} of its {run['n']:,} items.")
    if run["errors"]:
        found.append(
            f"{counted(run['errors'], 'item')} got no answer from the server and "
            f"{'is' if run['errors'] == 1 else 'are'} in no figure."
        )
    with contextlib.suppress(RunError):  # a record that cannot be read is said elsewhere
        prompt = load_record(session.workspace(), str(run["run_id"])).prompt
        if prompt is not None and prompt.reveals:
            found.append(f"The prompt told the model each item's {' and '.join(prompt.reveals)}.")
    data = dataset(str(run["dataset"]))
    if data is None:
        found.append(f"The dataset {run['dataset']} cannot be read any more: its clips cannot be heard.")
    elif data.info.hash != run["dataset_hash"]:
        found.append(
            f"The dataset {run['dataset']} has changed since this run: questions are shown as they were "
            "asked, clips as they are now."
        )
    return found


def dataset(name: str) -> Dataset | None:
    """A dataset, or None if it is gone or broken."""
    try:
        return session.dataset(name)
    except ItemError:
        return None


def parts(run: Mapping[str, Any]) -> list[str]:
    """Names of the parts that the run's items are in."""
    return list(_parts(str(run["run_id"]), stamp(run)))


@functools.lru_cache(maxsize=64)
def _parts(run_id: str, stamp: Stamp) -> tuple[str, ...]:
    return tuple(map(str, session.catalog().accuracy_by(run_id, "part")["group"]))


def part_shown(run: Mapping[str, Any], parts: list[str], wanted: str) -> str:
    """Which part is shown: the one asked for, else the explore half of a split run, else "all"."""
    if wanted in (*parts, "all"):
        return wanted
    return "explore" if SEALED in parts else "all"


def closed_items(run: Mapping[str, Any], part: str) -> frozenset[str]:
    """Ids of the run's sealed items that this view would show and nobody has opened."""
    if part not in (SEALED, "all"):
        return frozenset()
    sealed = _sealed(str(run["run_id"]), int(run["n"]))
    return sealed - opened(session.workspace(), str(run["dataset"])) if sealed else sealed


@functools.lru_cache(maxsize=64)
def _sealed(run_id: str, n: int) -> frozenset[str]:
    where = Filter(runs=(run_id,), part=(SEALED,))
    page = session.catalog().predictions(where, limit=_EVERYTHING)
    return frozenset(page.rows["item_id"])


def open_items(run: Mapping[str, Any], items: Iterable[str]) -> None:
    """Record that somebody opened these sealed items."""
    for item_id in sorted(items):
        note_opened(session.workspace(), str(run["dataset"]), item_id)


@dataclass(frozen=True)
class Opened:
    """The open prediction with everything that the page shows of it."""

    detail: Detail
    record: RunRecord
    data: Dataset | None
    clip: ClipView

    @property
    def item(self) -> Item:
        """The item as it was asked."""
        return self.detail.item


def prediction(run: Mapping[str, Any], item_id: str, sample: int) -> Opened:
    """One prediction whole.

    Raises:
        RunError: if there is none, or the run cannot be read.
    """
    return _prediction(str(run["run_id"]), item_id, sample, stamp(run))


def stamp(run: Mapping[str, Any]) -> Stamp:
    """What differs when an answer of the run may differ; a run that is being written is read each second."""
    moving = run["status"] == "running"
    return (
        run["status"],
        run["recorded"],
        run["errors"],
        run["scorer"],
        int(time.monotonic()) if moving else 0,
    )


def judged(run_id: str, item_id: str, sample: int) -> tuple[Judged, ...]:
    """What judges read in a reply in which no choice was read."""
    stored = _judged(run_id, judged_stamp(session.workspace(), run_id))
    return stored.get((item_id, sample), ())


@functools.lru_cache(maxsize=16)
def _judged(run_id: str, stamp: Stamp) -> dict[tuple[str, int], tuple[Judged, ...]]:
    found: dict[tuple[str, int], tuple[Judged, ...]] = {}
    for one in judged_readings(session.workspace(), run_id):
        found[one.item_id, one.sample] = (*found.get((one.item_id, one.sample), ()), one)
    return found


@functools.lru_cache(maxsize=256)
def _prediction(run_id: str, item_id: str, sample: int, stamp: Stamp) -> Opened:
    detail = session.catalog().one_prediction(run_id, item_id, sample)
    record = load_record(session.workspace(), run_id)
    data = dataset(record.dataset.name)
    return Opened(detail, record, data, clip_of(data, detail.item))


def clip_of(data: Dataset | None, item: Item) -> ClipView:
    """The clip of an item, with a `problem` where it cannot be heard."""
    if data is None:
        return ClipView(item.id, problem="The dataset of this run is gone, and its clips with it.")
    if item.id not in data:
        return ClipView(
            item.id, problem="This item is no longer in the dataset, so its clip cannot be heard."
        )
    return clip_view(data, data[item.id])


def ahead(run: Mapping[str, Any], places: Iterable[tuple[str, int]]) -> None:
    """Read these predictions and their clips in the background, so that the next one opens at once."""
    for item_id, sample in places:
        _background.submit(_warm, dict(run), item_id, sample)


def _warm(run: dict[str, Any], item_id: str, sample: int) -> None:
    try:
        found = prediction(run, item_id, sample)
        elsewhere(run, item_id)
        source = found.data.clip(found.item) if found.data and found.clip.url else None
        if source is not None:
            spectrogram(session.prepared(source), session.workspace().cache)
    except LabError:
        return  # whoever opens it is told


def neighbour(run: Mapping[str, Any], item_id: str) -> ClipView | None:
    """The clip of an item of the run's dataset as it is now, if it can be heard."""
    data = dataset(str(run["dataset"]))
    if data is None or item_id not in data:
        return None
    view = clip_view(data, data[item_id])
    return view if view.url else None


def samples(run: Mapping[str, Any], item_id: str) -> list[dict[str, Any]]:
    """The first samples of an item: sample, choice_text, outcome, strict."""
    return list(_samples(str(run["run_id"]), item_id, stamp(run)))


@functools.lru_cache(maxsize=256)
def _samples(run_id: str, item_id: str, stamp: Stamp) -> tuple[dict[str, Any], ...]:
    where = Filter(runs=(run_id,), items=(item_id,))
    return tuple(records(session.catalog().predictions(where, limit=_CHIPS).rows))


def elsewhere(run: Mapping[str, Any], item_id: str) -> list[dict[str, Any]]:
    """What every other run of the dataset made of an item, newest first; see `Catalog.item_in_runs`."""
    found = _elsewhere(str(run["dataset"]), item_id, tuple((one["run_id"], stamp(one)) for one in runs()))
    return [one for one in found if one["run_id"] != run["run_id"]]


@functools.lru_cache(maxsize=256)
def _elsewhere(dataset: str, item_id: str, stamps: tuple[Any, ...]) -> tuple[dict[str, Any], ...]:
    return tuple(records(session.catalog().item_in_runs(dataset, item_id)))
