"""What the page reads, kept for all tabs until a file of the experiment changes. Draws nothing."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from app import session
from audioreason.errors import LabError
from audioreason.rest import outline, record, view
from audioreason.rest.forgetting import Forgetting, Group, asked, by_subcategory
from audioreason.rest.outline import Experiment, Round, Summary
from audioreason.rest.view import Figures, Histogram, Row, Score
from audioreason.wording import counted

__all__ = ["Experiment", "Round", "Tables"]

_CANDIDATES = (
    "item_id",
    "sample",
    "k_right",
    "n",
    "zone",
    "kept",
    "reason",
    "weight",
    "rank",
    "tokens",
    "strict",
)
_PROBLEMS = ("item_id", "subcategory", "layer", "n_choices", "n", "k", "zone", "counts")

Stamp = tuple[Any, ...]


def experiments() -> list[Summary]:
    """Every experiment of the workspace, newest first; at most a second old."""
    return _experiments(int(time.monotonic()))


@functools.lru_cache(maxsize=1)
def _experiments(second: int) -> list[Summary]:
    return outline.summaries(session.workspace())


def experiment(experiment_id: str) -> Experiment:
    """An experiment as its files say; at most half a second old.

    Raises:
        LabError: if there is none of that id, or it cannot be read.
    """
    return _experiment(experiment_id, int(2 * time.monotonic()))


@functools.lru_cache(maxsize=8)
def _experiment(experiment_id: str, moment: int) -> Experiment:
    return outline.read(session.workspace(), experiment_id)


def forget() -> None:
    """Read everything again."""
    _experiments.cache_clear()
    _experiment.cache_clear()


@dataclass(frozen=True)
class Tables:
    """The tables of a round, with what the page shows of them."""

    candidates: pd.DataFrame
    problems: pd.DataFrame
    figures: Figures
    histogram: Histogram
    by_subcategory: tuple[Row, ...]
    reasons: dict[str, int]
    places: dict[tuple[str, int], int]

    @property
    def subcategories(self) -> list[str]:
        """Their names, by layer."""
        return [row.subcategory for row in self.by_subcategory]

    def candidate(self, item_id: str, sample: int) -> dict[str, Any] | None:
        """One candidate with its subcategory; None if there is no such."""
        place = self.places.get((item_id, sample))
        if place is None:
            return None
        one = self.candidates.iloc[place : place + 1]
        row = view.joined(one, self.problems).astype(object)
        made = row.where(row.notna(), None).to_dict(orient="records")[0]
        return {str(name): value for name, value in made.items()}


def stamp(found: Experiment, shown: Round) -> Stamp:
    """What differs when the round's tables may differ."""
    folder = record.round_folder(session.workspace(), found.id, shown.number)
    return tuple(_stat(folder / name) for name in ("candidates.parquet", "problems.parquet"))


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        known = path.stat()
    except FileNotFoundError:
        return None
    return known.st_mtime_ns, known.st_size


def tables(found: Experiment, shown: Round) -> Tables | None:
    """The round's tables; None while its candidates have not been filtered.

    Raises:
        RunError: if they cannot be read.
    """
    now = stamp(found, shown)
    return read_tables(found.id, shown.number, now) if all(now) else None


@functools.lru_cache(maxsize=8)
def read_tables(experiment_id: str, number: int, stamp: Stamp) -> Tables:
    """The tables of a round that has them; `stamp` says of when.

    Raises:
        RunError: if they cannot be read.
    """
    folder = record.round_folder(session.workspace(), experiment_id, number)
    found = experiment(experiment_id)
    candidates = view.read_table(folder / "candidates.parquet", _CANDIDATES)
    problems = view.read_table(folder / "problems.parquet", _PROBLEMS)
    keys = zip(candidates["item_id"], candidates["sample"].astype(int), strict=True)
    return Tables(
        candidates,
        problems,
        outline.figures(found, problems, candidates),
        view.histogram(problems[problems["counts"].astype(bool)], found.samples),
        tuple(view.by_subcategory(problems, found.zones)),
        view.reasons(candidates),
        {(str(item_id), sample): place for place, (item_id, sample) in enumerate(keys)},
    )


def figures(found: Experiment, shown: Round) -> Figures | None:
    """The round's figures; None while its candidates have not been filtered."""
    made = tables(found, shown)
    return None if made is None else made.figures


def scores(found: Experiment) -> list[Score]:
    """Accuracy of every round by prompt."""
    named = {run_id for one in found.rounds for run_id in one.evaluations.values()}
    table = session.runs_with(
        run_id for one in found.rounds if one.over for run_id in one.evaluations.values()
    )
    rows = table.loc[table["run_id"].isin(named), ["run_id", "status", "recorded", "answered", "rated"]]
    state = tuple(rows.itertuples(index=False, name=None))
    wanted = tuple((one.number, tuple(one.evaluations.items())) for one in found.rounds)
    return list(_scores(wanted, state))


@functools.lru_cache(maxsize=8)
def _scores(
    rounds: tuple[tuple[int, tuple[tuple[str, str], ...]], ...], state: tuple[Any, ...]
) -> tuple[Score, ...]:
    return tuple(view.scores(session.catalog(), [(number, dict(runs)) for number, runs in rounds]))


def moved(found: Experiment, shown: Round) -> tuple[tuple[Group, ...], str, str]:
    """What a round lost and learned by subcategory, and the runs of the base and the round that say so.

    Raises:
        RunError: if a run is gone or cannot be read.
    """
    base, run = found.rounds[0].evaluations[found.judged], shown.evaluations[found.judged]
    return _moved(base, run, found.rounds[0].again, shown.forgetting), base, run


@functools.lru_cache(maxsize=16)
def _moved(base: str, run: str, again: str, made: Forgetting | None) -> tuple[Group, ...]:
    return tuple(by_subcategory(asked(session.workspace(), base, run, again)))


def metrics(shown: Round) -> list[dict[str, Any]]:
    """What the round's training measured; nothing if it has none."""
    if not shown.learning:
        return []
    path = session.workspace().adapters / shown.learning / "metrics.jsonl"
    now = _stat(path)
    return _metrics(path, now) if now else []


@functools.lru_cache(maxsize=16)
def _metrics(path: Path, stamp: Stamp) -> list[dict[str, Any]]:
    return view.metrics(path)


def training_now(found: Experiment, shown: Round) -> bool:
    """Whether the round is being trained."""
    return found.running and shown.phase == "train" and not shown.over


def warnings(found: Experiment) -> list[str]:
    """What would lead to a wrong conclusion, one sentence each."""
    made = {one.number: known for one in found.rounds if (known := figures(found, one)) is not None}
    return outline.warnings(found, made, scores(found))


def state_words(found: Experiment, one: Round) -> str:
    """What a round is at, in a few words."""
    if one.over:
        return "done" if one.adapter or not one.number else "nothing trained"
    return f"{one.phase} …" if found.running else f"stopped at {one.phase}"


def why_none(one: Round) -> str:
    """Why a round has no candidates to show."""
    if one.number == 0:
        return "The base is only evaluated; the first round asks it for candidates."
    return "They appear when the filter has looked at all answers."


def untrained(one: Round) -> str:
    """What stands where a round's adapter would."""
    return "nothing was trained" if one.over else "nothing trained yet"


def progress(found: Experiment) -> str:
    """How far the phase under way is, in words; empty if nothing runs."""
    if not found.running or not found.rounds:
        return ""
    one = found.rounds[-1]
    words = f"{one.name}: {one.phase}"
    asked = {"generate": (one.generate,), "evaluate": tuple(one.evaluations.values())}.get(one.phase, ())
    table = session.runs()
    row = table[table["run_id"].isin(asked) & (table["status"] != "finished")]
    if len(row):
        total, answered = int(row["n"].iloc[0]), int(row["answered"].iloc[0])
        unit = "problem" if one.phase == "generate" else "item"
        words += f", {answered:,} of {counted(total, unit)} answered"
    elif one.phase == "train" and (rows := metrics(one)):
        words += f", step {int(rows[-1]['step']):,}"
    return words


def moving(found: Experiment) -> Stamp:
    """What differs when the page would draw something else, but for numbers that grow by the second."""
    rounds = tuple((one.number, one.phase, one.over, stamp(found, one)) for one in found.rounds)
    return (found.running, rounds)


def problem_of(experiment_id: str) -> str:
    """Why an experiment cannot be shown; "" if it can."""
    try:
        experiment(experiment_id)
    except LabError as error:
        return str(error)
    return ""
