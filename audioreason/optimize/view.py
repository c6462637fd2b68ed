"""What a search's records mean, for pages and reports: scores with intervals, lineage, flips, the gap.

Pure: it is handed records that `record` has read, and the source clip of each item. Knows nothing about
files, DSPy or how anything looks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr

from audioreason.optimize.config import Metric, OptimizeConfig
from audioreason.optimize.record import Optimization
from audioreason.optimize.shapes import Candidate, Trial, Verdict
from audioreason.stats import clustered_interval, clustered_wilson

# verdicts of every candidate, by item: a candidate is asked about an item once
Verdicts = Mapping[str, Mapping[str, Verdict]]
Clips = Mapping[str, str]  # source clip of every item; an item that is not in it is a clip of its own
Cell = Literal["won", "lost", "both_right", "both_wrong"]
CELLS: tuple[Cell, ...] = ("won", "lost", "both_right", "both_wrong")


@dataclass(frozen=True)
class Share:
    """A mean score with its 95% interval by source clip, all fractions, over `n` items."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Row:
    """One candidate with everything it scored. `small` is the mean over its minibatches (or the train items
    that GEPA reflected on), item by item, of `small_n` items; `full` is over all of dev."""

    candidate: Candidate
    small: float | None
    small_n: int
    full: Share | None
    tokens: int
    best: bool


@dataclass(frozen=True)
class Node:
    """A candidate in the tree: `depth` edges from the seed, `lane` counts rows from the top."""

    id: str
    parents: tuple[str, ...]
    depth: int
    lane: float


@dataclass(frozen=True)
class Flip:
    """One item as two candidates answered it."""

    item_id: str
    split: str
    cell: Cell
    before: Verdict
    after: Verdict


@dataclass(frozen=True)
class Luck:
    """Why the winner's dev score promises too much: it is the best of `candidates` on the same `items`.

    `points` is how far (as a fraction) the best of that many equally good candidates would lie above what
    it is worth if their errors were independent; prompts that agree on items come to less.
    """

    candidates: int
    items: int
    points: float


def by_candidate(verdicts: Iterable[Verdict]) -> dict[str, dict[str, Verdict]]:
    """Verdicts by candidate and item; where one stands twice, the last counts."""
    found: dict[str, dict[str, Verdict]] = defaultdict(dict)
    for one in verdicts:
        found[one.candidate][one.item_id] = one
    return dict(found)


def share(scores: Sequence[float], clips: Sequence[str]) -> Share | None:
    """The mean of scores, each 0 to 1, with its interval; None without any.

    Wilson's interval for scores that are right or wrong, a clustered normal one for weighted scores.
    """
    if not scores:
        return None
    binary = all(score in (0.0, 1.0) for score in scores)
    low, high = clustered_wilson(scores, clips) if binary else clustered_interval(scores, clips)
    return Share(float(np.mean(scores)), max(0.0, low), min(1.0, high), len(scores))


def trial_share(trial: Trial, verdicts: Verdicts, clips: Clips) -> Share | None:
    """A trial's score with its interval; None while not every verdict of it is there."""
    known = verdicts.get(trial.candidate, {})
    if not trial.items or any(item not in known for item in trial.items):
        return None
    return share([known[item].score for item in trial.items], [clips.get(item, item) for item in trial.items])


def full_share(found: Optimization, candidate: str, verdicts: Verdicts, clips: Clips) -> Share | None:
    """A candidate's score on all of dev by its last full trial; None if it had none.

    While a verdict is missing the trial's own score stands, with an interval from 0 to 1.
    """
    last = next(
        (one for one in reversed(found.trials) if one.candidate == candidate and one.kind == "full"), None
    )
    if last is None:
        return None
    return trial_share(last, verdicts, clips) or Share(last.score, 0.0, 1.0, len(last.items))


def split_share(candidate: str, split: str, verdicts: Verdicts, clips: Clips) -> Share | None:
    """The mean over the items of a split that a candidate was asked about; None if there are none."""
    known = [one for one in verdicts.get(candidate, {}).values() if one.split == split]
    return share([one.score for one in known], [clips.get(one.item_id, one.item_id) for one in known])


def seed_of(found: Optimization) -> Candidate | None:
    """The candidate that the search began with; None before it is written."""
    return next((one for one in found.candidates if one.source == "seed"), None)


def winner_of(found: Optimization) -> str | None:
    """Id of the candidate that was kept, or leads so far; None before the first full evaluation."""
    return found.state.result.candidate if found.state.result else found.state.best


def rows(found: Optimization, verdicts: Verdicts, clips: Clips) -> list[Row]:
    """Every candidate in the order made."""
    tried: dict[str, list[Trial]] = defaultdict(list)
    for trial in found.trials:
        tried[trial.candidate].append(trial)
    best = winner_of(found)
    return [
        Row(
            one,
            *_small([trial for trial in tried[one.id] if trial.kind != "full"]),
            full_share(found, one.id, verdicts, clips),
            sum(trial.tokens for trial in tried[one.id]),
            one.id == best,
        )
        for one in found.candidates
    ]


def _small(trials: Sequence[Trial]) -> tuple[float | None, int]:
    items = sum(len(trial.items) for trial in trials)
    if not items:
        return None, 0
    return sum(trial.score * len(trial.items) for trial in trials) / items, len(
        {item for trial in trials for item in trial.items}
    )


def lineage(candidates: Sequence[Candidate]) -> tuple[Node, ...]:
    """The tree of who was made from whom, in the order made: the seed left, a lane for every leaf.

    A parent that is not there makes its child a root of its own.
    """
    known = {one.id for one in candidates}
    children: dict[str, list[str]] = defaultdict(list)
    roots: list[str] = []
    for one in candidates:
        if one.parent in known and one.parent != one.id:
            children[str(one.parent)].append(one.id)
        else:
            roots.append(one.id)
    depth: dict[str, int] = {}
    lane: dict[str, float] = {}
    leaves = 0
    waiting = [(root, 0, False) for root in reversed(roots)]
    while waiting:
        name, level, done = waiting.pop()
        if done:
            lane[name] = float(lane[children[name][0]])  # a line of descent stays level
        elif name not in depth:
            depth[name] = level
            if children[name]:
                waiting.append((name, level, True))
                waiting += [(child, level + 1, False) for child in reversed(children[name])]
            else:
                lane[name] = float(leaves)
                leaves += 1
    return tuple(
        Node(
            one.id,
            tuple(parent for parent in (one.parent, one.other_parent) if parent and parent in known),
            depth[one.id],
            lane[one.id],
        )
        for one in candidates
        if one.id in lane  # parents that lead in a circle, written by hand
    )


def right(verdict: Verdict, metric: Metric) -> bool:
    """Whether an answer counts as right; of a weighted score the part that is about the choice."""
    return bool(verdict.official if metric == "official" else verdict.strict)


def flips(config: OptimizeConfig, verdicts: Verdicts, candidate: str, before: str) -> list[Flip]:
    """The items that both candidates were asked about: first those won, then lost, both right, both wrong."""
    new, old = verdicts.get(candidate, {}), verdicts.get(before, {})
    found = []
    for item_id in new.keys() & old.keys():
        was, now = right(old[item_id], config.metric), right(new[item_id], config.metric)
        cell: Cell = "both_right" if was and now else "won" if now else "lost" if was else "both_wrong"
        found.append(Flip(item_id, new[item_id].split, cell, old[item_id], new[item_id]))
    return sorted(found, key=lambda one: (CELLS.index(one.cell), one.split, one.item_id))


def luck(found: Optimization) -> Luck | None:
    """How much of the winner's dev score may be luck; None before a second candidate was tried on all of dev.

    Source: the mean of the largest of N normal draws, `expected_maximum`, times the standard error of a
    candidate with their mean score.
    """
    full = [trial for trial in found.trials if trial.kind == "full"]
    tried = {trial.candidate for trial in full}
    if len(tried) < 2:
        return None
    last = {trial.candidate: trial for trial in full}
    worth = float(np.mean([trial.score for trial in last.values()]))
    items = max(len(trial.items) for trial in full)
    error = (worth * (1 - worth) / items) ** 0.5 if items else 0.0
    return Luck(len(tried), items, expected_maximum(len(tried)) * error)


def expected_maximum(draws: int) -> float:
    """Mean of the largest of `draws` independent standard normal values.

    The integral of n x f(x) F(x)^(n-1). Source: David and Nagaraja (2003), Order Statistics, section 3.1.
    """
    x = np.linspace(-9.0, 9.0, 3601)
    density = draws * np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * ndtr(x) ** (draws - 1)
    return float(np.trapezoid(x * density, x))


def tried_of(found: Optimization) -> tuple[int, int]:
    """How many candidates were thought of, and how many of them were tried on all of dev."""
    return len(found.candidates), len({one.candidate for one in found.trials if one.kind == "full"})


def gone_items(found: Optimization, item_ids: Iterable[str]) -> int:
    """How many items of the search's parts the dataset no longer has."""
    return len({item for part in found.splits.values() for item in part} - set(item_ids))
