"""The catalog: every run of a workspace as tables in memory, and the questions pages and commands ask them.

DuckDB owns no file: run folders stay plain Parquet and JSONL that need no lock. One `Catalog` per process;
each query gets a cursor of its own, so any thread may ask. Knows nothing about pages.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import duckdb

from audioreason.errors import RunError
from audioreason.runs import accuracy, listing, playground, tables
from audioreason.runs.accuracy import Paired
from audioreason.runs.filtering import Filter
from audioreason.runs.listing import Detail, Page
from audioreason.runs.loading import Loader
from audioreason.runs.record import unknown_run
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

_LOOK_SECONDS = 0.25  # queries closer together than this share one look at the disk
_LOOKS_APART = 4  # times as long as a look takes, where it takes long: there are many runs
_LONGEST_APART = 2.0  # seconds
_NEWEST = 200  # runs of a dataset that an item is followed through


class Catalog:
    """Ask a workspace about its runs.

    `scoring_budget` is about how many seconds one query may spend on scoring what nobody has scored yet; a
    page gives a little and comes back, a command gives None and waits. Every query looks at the disk first.
    """

    def __init__(self, workspace: Workspace, scoring_budget: float | None = None) -> None:
        self.workspace = workspace
        self._budget = scoring_budget
        self._base = tables.connect()
        self._loader = Loader(workspace)
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._apart = _LOOK_SECONDS

    def refresh(self) -> None:
        """Look at the disk now; without this, queries look at most every quarter of a second."""
        with self._lock:
            self._look()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the tables (`tables.py` lists them)."""
        return self._base.cursor()

    def query(self, sql: str, arguments: dict[str, Any] | None = None) -> pd.DataFrame:
        """The result of one SELECT after a look at the disk; `$name` stands for an argument."""
        self._look_if_due()
        used = set(re.findall(r"\$(\w+)", sql))  # DuckDB refuses an argument that the query does not name
        needed = {name: value for name, value in (arguments or {}).items() if name in used}
        return self.cursor().execute(sql, needed).df()

    def problems(self) -> list[str]:
        """One sentence for each run that cannot be read, wholly or in part; the others are not affected."""
        self._look_if_due()
        return self._loader.problems()

    def run_numbers(self, runs: str | Sequence[str]) -> list[int]:
        """The tables' `run_no` of these runs, in their order.

        Raises:
            RunError: if one is unknown, or cannot be read.
        """
        wanted = [runs] if isinstance(runs, str) else list(runs)
        self.load(wanted)
        numbers = []
        for run_id in wanted:
            number, problem = self._loader.number(run_id), self._loader.problem(run_id)
            if problem and (number is None or not self._has_predictions(number)):
                raise RunError(problem)
            if number is None:
                raise unknown_run(self.workspace, run_id)
            numbers.append(number)
        return numbers

    def load(self, runs: Sequence[str] | None) -> None:
        """Have the items and predictions of these runs, or of all, in the tables.

        Questions about single runs do so by themselves (`run_numbers`); lists need only the table `runs`.
        """
        self._look_if_due()
        with self._lock:
            self._loader.load(self.cursor(), runs)

    def load_newest(self, dataset: str) -> None:
        """The same for the newest 200 runs of a dataset: what others made of an item is asked of these."""
        found = self.query(
            "SELECT run_id FROM runs WHERE dataset = $dataset ORDER BY created DESC LIMIT $newest",
            {"dataset": dataset, "newest": _NEWEST},
        )
        self.load(list(found["run_id"]))

    def runs(self, split: str | None = None) -> pd.DataFrame:
        """The leaderboard: one row per run, newest first, over all of its items or those of one `split`.

        Columns: run_id, created, kind, status, dataset, dataset_hash, dataset_size, split, prompt,
        prompt_version, model, endpoint, samples, temperature, seed, ablation, scorer; n (items), recorded,
        answered, errors (items with nothing but server errors), rated (answered and with a gold choice),
        unrated (answered without one: in no accuracy); strict and official with their Wilson 95% interval
        (strict_low, strict_high ...), as fractions; prompt_tokens, completion_tokens, seconds (means per
        prediction).
        """
        return accuracy.leaderboard(self, split)

    def accuracy_by(
        self,
        runs: str | Sequence[str],
        column: str,
        split: str | None = None,
        without: frozenset[str] = frozenset(),
    ) -> pd.DataFrame:
        """Accuracy by a column of the items; see `accuracy.accuracy_by`."""
        return accuracy.accuracy_by(self, runs, column, split, without)

    def outcomes_by(
        self,
        runs: str | Sequence[str],
        column: str,
        split: str | None = None,
        without: frozenset[str] = frozenset(),
    ) -> pd.DataFrame:
        """Counts of outcomes by a column of the items; see `accuracy.outcomes_by`."""
        return accuracy.outcomes_by(self, runs, column, split, without)

    def paired(self, a: str, b: str, split: str | None = None) -> Paired:
        """Two runs item by item; see `accuracy.Paired`."""
        return accuracy.paired(self, a, b, split)

    def prompts_tried(self, dataset: str) -> int:
        """How many different prompts were tried on a dataset, in runs and in the playground."""
        return accuracy.prompts_tried(self, dataset)

    def predictions(
        self,
        where: Filter | None = None,
        sort: str = "item",
        descending: bool = False,
        limit: int = 50,
        offset: int = 0,
    ) -> Page:
        """One page of predictions; see `listing.predictions`."""
        return listing.predictions(self, where or Filter(), sort, descending, limit, offset)

    def one_prediction(self, run_id: str, item_id: str, sample: int = 0) -> Detail:
        """One prediction whole; see `listing.one_prediction`."""
        return listing.one_prediction(self, run_id, item_id, sample)

    def item_predictions(self, run_id: str, item_id: str) -> list[dict[str, Any]]:
        """Every sample of one item in a run; see `listing.item_predictions`."""
        return listing.item_predictions(self, run_id, item_id)

    def item_in_runs(self, dataset: str, item_id: str) -> pd.DataFrame:
        """What the newest runs made of one item; see `listing.item_in_runs`."""
        return listing.item_in_runs(self, dataset, item_id)

    def playground(
        self, dataset: str | None = None, item_id: str | None = None, limit: int = 50, offset: int = 0
    ) -> pd.DataFrame:
        """Playground generations, newest first; see `playground.rows`."""
        return playground.rows(self, dataset, item_id, limit, offset)

    def close(self) -> None:
        """Free the tables; nothing on disk changes."""
        self._base.close()

    def _has_predictions(self, run_no: int) -> bool:
        found = self.cursor().execute("SELECT 1 FROM predictions WHERE run_no = ? LIMIT 1", [run_no])
        return found.fetchone() is not None

    def _look_if_due(self) -> None:
        if time.monotonic() - self._looked < self._apart:
            return
        if self._looked > float("-inf") and self._lock.locked():
            return  # another thread is looking; what was there a moment ago will do
        with self._lock:
            if time.monotonic() - self._looked >= self._apart:
                self._look()

    def _look(self) -> None:
        began = time.monotonic()
        self._loader.refresh(self.cursor(), self._budget)
        self._looked = time.monotonic()
        self._apart = max(_LOOK_SECONDS, min(_LOOKS_APART * (self._looked - began), _LONGEST_APART))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a result as plain Python values, for JSON: what is missing is None, never NaN."""
    names = [str(name) for name in frame.columns]
    columns = [_plain_column(frame.iloc[:, place]) for place in range(len(names))]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _plain_column(column: pd.Series) -> list[Any]:
    values = column.tolist()
    if column.dtype == object or column.hasnans:
        values = list(map(_plain, values))
    return values


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        value = value.tolist()
    try:
        # NaN is the one value that differs from itself; pandas keeps missing text as NaN too
        missing = value is None or bool(value != value)
    except TypeError:  # pandas.NA answers neither yes nor no
        missing = True
    return None if missing else value
