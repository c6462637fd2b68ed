"""What the page reads: a run's submission, its scores by each judge, its rated answers, the rating at work.

Keeps what is asked at every rerun until the run or its ratings are others. Knows nothing about the screen.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from app import session
from app.errors.look import closed_items, runs, stamp
from app.jobs import look as job_look
from audioreason.challenge import (
    ROUNDS,
    Ahead,
    Calibration,
    ProcessScore,
    Rating,
    Submission,
    calibrate,
    foresee,
    hand_ratings,
    judges,
    make_submission,
    process_score,
    ratings_stamp,
    read_ratings,
    right_answers,
)
from audioreason.challenge.rubrics import middle
from audioreason.errors import LabError
from audioreason.inference.endpoint import load_endpoints
from audioreason.items import Item
from audioreason.jobs.spec import job_folder, read_spec
from audioreason.jobs.watch import JobView

Run = Mapping[str, Any]
Stamp = tuple[Any, ...]
KIND = "rubrics"


@dataclass(frozen=True)
class Answer:
    """A right answer with a rubric: the text that is graded, and the ratings that it has by now.

    `by_judge` are those of one judge in the order of their rounds, `by_hand` those of people.
    """

    item: Item
    reasoning: str
    by_judge: tuple[Rating, ...] = ()
    by_hand: tuple[Rating, ...] = ()

    @property
    def value(self) -> float | None:
        """What the judge's ratings come to, 0.2 to 1.0; None until all rounds are there."""
        full = len(self.by_judge) == ROUNDS
        return middle([one.value for one in self.by_judge]) if full else None

    @property
    def hand_value(self) -> float | None:
        """The mean of the ratings by hand."""
        return fmean(one.value for one in self.by_hand) if self.by_hand else None


def candidates() -> list[dict[str, Any]]:
    """Every run that could be handed in: controls are left out."""
    return [run for run in runs() if not run["ablation"]]


def first() -> dict[str, Any] | None:
    """The newest run that asked its whole dataset, else the newest."""
    known = candidates()
    whole = (run for run in known if run["n"] == run["dataset_size"])
    return next(whole, next(iter(known), None))


def submission(run: Run, sample: int | None, shorten: bool) -> Submission:
    """The run, or one sample of each of its items, in the form of a submission.

    Raises:
        LabError: if it cannot be one, or its dataset is gone.
    """
    data = session.dataset(str(run["dataset"]))
    return _submission(str(run["run_id"]), str(run["dataset"]), data.info.hash, stamp(run), sample, shorten)


@functools.lru_cache(maxsize=8)
def _submission(
    run_id: str, dataset: str, digest: str, stamp: Stamp, sample: int | None, shorten: bool
) -> Submission:
    return make_submission(session.workspace(), run_id, session.dataset(dataset), sample, shorten)


def known_judges(run: Run) -> list[str]:
    """The judges that rated the run."""
    return judges(session.workspace(), str(run["run_id"]))


def ahead(run: Run, judge: str) -> Ahead:
    """What rating the run would ask of this judge.

    Raises:
        LabError: if no right answer has a rubric.
    """
    return _ahead(str(run["run_id"]), judge, _stamps(run))


@functools.lru_cache(maxsize=32)
def _ahead(run_id: str, judge: str, stamp: Stamp) -> Ahead:
    return foresee(session.workspace(), run_id, judge)


def score(run: Run, judge: str) -> ProcessScore:
    """The process score by one judge.

    Raises:
        LabError: if nothing is rated in full.
    """
    return _score(str(run["run_id"]), judge, _stamps(run))


@functools.lru_cache(maxsize=32)
def _score(run_id: str, judge: str, stamp: Stamp) -> ProcessScore:
    return process_score(session.workspace(), run_id, judge)


def calibration(run: Run, judge: str) -> Calibration:
    """The judge held against ratings by hand.

    Raises:
        LabError: if there are too few.
    """
    by_hand = hand_ratings(session.workspace(), str(run["run_id"]))
    given = tuple((item_id, tuple(one.points for one in ratings)) for item_id, ratings in by_hand.items())
    found = _calibration(str(run["run_id"]), judge, (*_stamps(run), given))
    if isinstance(found, LabError):
        raise found
    return found


@functools.lru_cache(maxsize=32)
def _calibration(run_id: str, judge: str, stamp: Stamp) -> Calibration | LabError:
    try:
        return calibrate(session.workspace(), run_id, judge)
    except LabError as error:  # kept too: finding out takes as long
        return error


def answers(run: Run, judge: str) -> tuple[dict[str, Answer], int]:
    """The right answers by item, with what this judge and people gave them, and how many are not shown
    because they are of sealed items that nobody has opened."""
    run_id = str(run["run_id"])
    by_judge: dict[str, list[Rating]] = defaultdict(list)
    for rating in _ratings(run_id, judge, _stamps(run)) if judge else ():
        by_judge[rating.item_id].append(rating)
    by_hand = hand_ratings(session.workspace(), run_id)
    hidden = closed_items(run, "all")
    right = _right(run_id, stamp(run))
    found = {
        item_id: Answer(
            item,
            reasoning,
            tuple(sorted(by_judge[item_id], key=lambda one: one.round)),
            tuple(by_hand.get(item_id, ())),
        )
        for item_id, (item, reasoning) in right.items()
        if item_id not in hidden
    }
    return found, len(right) - len(found)


@functools.lru_cache(maxsize=8)
def _right(run_id: str, stamp: Stamp) -> dict[str, tuple[Item, str]]:
    return right_answers(session.workspace(), run_id)


@functools.lru_cache(maxsize=8)
def _ratings(run_id: str, judge: str, stamp: Stamp) -> tuple[Rating, ...]:
    return tuple(read_ratings(session.workspace(), run_id, judge))


def _stamps(run: Run) -> Stamp:
    """What differs when the run's answers or ratings do."""
    return (*stamp(run), ratings_stamp(session.workspace(), str(run["run_id"])))


def endpoints() -> list[str]:
    """Names of saved endpoints, which a judge may be at."""
    return [endpoint.name for endpoint in load_endpoints(session.workspace())]


def at_work(run: Run) -> JobView | None:
    """The job that rates this run now, or waits to."""
    for view in job_look.everyone():
        if view.kind == KIND and not view.over and _rates(view.id) == run["run_id"]:
            return view
    return None


@functools.lru_cache(maxsize=64)
def _rates(job_id: str) -> str:
    try:
        return str(read_spec(job_folder(session.workspace(), job_id)).spec.get("run", ""))
    except LabError:
        return ""
