"""What the page reads, kept for all tabs until a file of the search changes. Draws nothing."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path

from app import session
from app.compare import look as compare_look
from app.compare.address import Score
from app.compare.picker import names
from app.jobs import look as jobs_look
from audioreason.compare import Pair
from audioreason.errors import ItemError, LabError
from audioreason.items import Dataset, Item
from audioreason.items.sources import cluster_of
from audioreason.jobs.watch import JobView
from audioreason.optimize import record, view
from audioreason.optimize.record import AnswerRecord, Candidate, Optimization, Summary
from audioreason.optimize.view import Flip, Row, Share
from audioreason.prompts import Prompt
from audioreason.wording import counted
from audioreason.workspace import FileLock

__all__ = ["Found", "Optimization", "Summary"]

Stamp = tuple[object, ...]
_GROWING = ("candidates.jsonl", "trials.jsonl", "proposals.jsonl")


@dataclass(frozen=True, eq=False)
class Found:
    """A search with what the page shows of it; `data` is None if its dataset cannot be read any more."""

    search: Optimization
    rows: tuple[Row, ...]
    verdicts: view.Verdicts
    clips: view.Clips
    data: Dataset | None
    stamp: Stamp

    @property
    def seed(self) -> Candidate | None:
        """The candidate that it began with."""
        return view.seed_of(self.search)

    def row(self, candidate: str) -> Row | None:
        """One candidate; None if there is none of that id."""
        return next((one for one in self.rows if one.candidate.id == candidate), None)

    def name(self, candidate: str | None) -> str:
        """What people call it: Seed, Candidate 3."""
        row = self.row(candidate or "")
        return "" if row is None else name_of(row.candidate)

    def share(self, candidate: str, split: str) -> Share | None:
        """Its score on the items of train, or on all of dev."""
        row = self.row(candidate)
        if split == "dev":
            return row.full if row else None
        return view.split_share(candidate, split, self.verdicts, self.clips)

    def flips(self, candidate: str, before: str) -> list[Flip]:
        """Items that both were asked about."""
        return view.flips(self.search.config, self.verdicts, candidate, before)

    def item(self, item_id: str) -> Item | None:
        """An item, if the dataset still has it."""
        return self.data[item_id] if self.data is not None and item_id in self.data else None


def name_of(candidate: Candidate) -> str:
    """What people call a candidate."""
    return "Seed" if candidate.source == "seed" else f"Candidate {candidate.step}"


def searches() -> list[Summary]:
    """Every search of the workspace, newest first; at most a second old."""
    return _searches(int(time.monotonic()))


@functools.lru_cache(maxsize=1)
def _searches(second: int) -> list[Summary]:
    return record.list_optimizations(session.workspace())


def forget() -> None:
    """Read everything again: something was just done."""
    _searches.cache_clear()
    jobs_look.forget()


def search(search_id: str) -> Found:
    """A search as its files say.

    Raises:
        OptimizeError: if there is none of that id, or its settings cannot be read.
    """
    folder = record.optimization_folder(session.workspace(), search_id)
    stamp = (
        record.changed(session.workspace(), search_id),
        *(_time(folder / name) for name in ("config.json", "splits.json")),
        FileLock.held(folder / "lock"),
    )
    read = _read(search_id, stamp)
    data = _dataset(read.config.dataset)
    return _found(search_id, stamp, data.info.hash if data else "")


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # not written yet, or gone: reading it says which
        return 0


@functools.lru_cache(maxsize=4)
def _read(search_id: str, stamp: Stamp) -> Optimization:
    return record.read_optimization(session.workspace(), search_id)


@functools.lru_cache(maxsize=4)
def _found(search_id: str, stamp: Stamp, dataset_hash: str) -> Found:
    read = _read(search_id, stamp)
    data = _dataset(read.config.dataset)
    verdicts = view.by_candidate(record.read_verdicts(session.workspace(), search_id))
    clips = {item.id: cluster_of(item) for item in data.items} if data else {}
    return Found(
        read, tuple(view.rows(read, verdicts, clips)), verdicts, clips, data, (search_id, stamp, dataset_hash)
    )


def _dataset(name: str) -> Dataset | None:
    try:
        return session.dataset(name)
    except ItemError:
        return None


def moving(search_id: str) -> Stamp:
    """What differs when the page must be drawn anew: candidates, trials, requests, phase, how it ended."""
    known = record.changed(session.workspace(), search_id)
    sizes = tuple((name, size) for name, size, _ in known if name in _GROWING)
    now = next((one for one in searches() if one.id == search_id), None)
    return (sizes, now.phase, now.standing) if now else (sizes,)


def job(search_id: str) -> JobView | None:
    """The job that makes the search, if it is one and still there."""
    return jobs_look.one(search_id)


def answers(found: Found, flip: Flip) -> tuple[AnswerRecord | None, AnswerRecord | None]:
    """What both candidates answered; None where it was not kept."""
    hashes = (flip.before.request_hash, flip.after.request_hash)
    known = _answers(found.search.id, hashes, found.stamp)
    return known.get(hashes[0]), known.get(hashes[1])


@functools.lru_cache(maxsize=64)
def _answers(search_id: str, hashes: tuple[str, ...], stamp: Stamp) -> dict[str, AnswerRecord]:
    return record.read_answers(session.workspace(), search_id, hashes)


def sections(found: Found) -> tuple[str, ...]:
    """The sections that the seed prompt asks for, which every candidate keeps; empty if it is gone."""
    seed = session.prompts().get(found.search.config.prompt)
    return seed.sections if seed else ()


def prompt_of(found: Found, candidate: Candidate) -> Prompt:
    """A candidate as a prompt, under a name that a file can have."""
    seed = session.prompts().get(found.search.config.prompt)
    base = seed if seed is not None else Prompt(name="candidate", user=candidate.user)
    name = f"{found.search.config.prompt}-{candidate.id}"[-80:].lstrip("-._")
    return base.model_copy(
        update={
            "name": name,
            "title": f"{name_of(candidate)} of {found.search.id}",
            "system": candidate.system,
            "user": candidate.user,
            "aliases": (),
            "parent": found.search.config.prompt,
            "provenance": {"search": found.search.id, "optimizer": found.search.config.optimizer},
        }
    )


def saved_name(found: Found, candidate: Candidate) -> str | None:
    """Under which name a candidate's text is a prompt of the workspace; None if it is not saved."""
    result = found.search.state.result
    prompts = session.prompts()
    if result is not None and result.candidate == candidate.id and result.prompt in prompts:
        return result.prompt
    names = [found.search.config.prompt] if candidate.source == "seed" else []
    names.append(prompt_of(found, candidate).name)
    return next((name for name in names if name in prompts and prompts[name].version == candidate.id), None)


def test_pair(found: Found) -> tuple[Pair | None, str, dict[str, str]]:
    """The winner's test run against the seed's, as the Compare page has it; else why not, in one sentence."""
    result = found.search.state.result
    if result is None or not result.test_run or not result.seed_run:
        return None, "", {}
    runs = (result.seed_run, result.test_run)
    known = set(session.runs()["run_id"])
    if gone := [one for one in runs if one not in known]:
        return None, f"The run {gone[0]} of the test is not here any more.", {}
    score: Score = "official" if found.search.config.metric == "official" else "strict"
    try:
        question = compare_look.question(runs, result.seed_run, score, "full", False)
        return compare_look.pair(question, result.test_run), "", names(runs)
    except LabError as error:
        return None, str(error), {}


def test_share(found: Found, run_id: str | None) -> Share | None:
    """A test run's accuracy with its interval, as the list of runs has it."""
    table = session.runs()
    rows = table[table["run_id"] == run_id]
    if rows.empty or not int(rows["rated"].iloc[0]):
        return None
    score = "official" if found.search.config.metric == "official" else "strict"
    row = rows.iloc[0]
    return Share(
        float(row[score]), float(row[f"{score}_low"]), float(row[f"{score}_high"]), int(row["rated"])
    )


def trouble(found: Found) -> list[str]:
    """What stands against believing or reading everything here, one sentence each."""
    said, search = [], found.search
    name = search.config.dataset
    if found.data is None:
        said.append(
            f"The dataset {name} cannot be read any more: no item can be shown, and intervals take each item"
            " for a clip of its own."
        )
    elif gone := view.gone_items(search, (item.id for item in found.data.items)):
        said.append(
            f"The dataset {name} has changed since: {counted(gone, 'item')} of this search "
            f"{'is' if gone == 1 else 'are'} not in it any more."
        )
    elif _other_hash(found):
        said.append(f"The dataset {name} has changed since: clips and questions are shown as they are now.")
    if not search.splits:
        said.append(
            "Which items it uses is not written yet."
            if search.running
            else "Its list of items (splits.json) is missing or cannot be read."
        )
    if not search.candidates and not search.running:
        said.append(
            "No candidate is recorded: it ended before the seed was written, or candidates.jsonl is gone."
        )
    if search.state.error:
        said.append(search.state.error)
    return said


def _other_hash(found: Found) -> bool:
    result = found.search.state.result
    if result is None or found.data is None:
        return False
    table = session.runs()
    hashes = table.loc[table["run_id"] == (result.test_run or ""), "dataset_hash"]
    return bool(len(hashes)) and str(hashes.iloc[0]) != found.data.info.hash
