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
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

_LOOK_SECONDS = 0.25  # queries closer together than this share one look at the disk


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
        self._look_if_due()
        known = dict(self.cursor().execute("SELECT run_id, run_no FROM runs").fetchall())
        for run_id in wanted:
            problem = self._loader.problem(run_id)
            if problem and (run_id not in known or not self._has_predictions(known[run_id])):
                raise RunError(problem)
            if run_id not in known:
                raise RunError(f"There is no run {run_id!r}.", "`audioreason runs` lists them.")
        return [known[run_id] for run_id in wanted]

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
        """What every run made of one item; see `listing.item_in_runs`."""
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
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        if self._looked > float("-inf") and self._lock.locked():
            return  # another thread is looking; what was there a moment ago will do
        with self._lock:
            if time.monotonic() - self._looked >= _LOOK_SECONDS:
                self._look()

    def _look(self) -> None:
        self._loader.refresh(self.cursor(), self._budget)
        self._looked = time.monotonic()


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a result as plain Python values, for JSON: what is missing is None, never NaN."""
    return [
        {str(name): _plain(value) for name, value in zip(frame.columns, row, strict=True)}
        for row in frame.itertuples(index=False, name=None)
    ]


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        value = value.tolist()
    try:
        # NaN is the one value that differs from itself; pandas keeps missing text as NaN too
        missing = value is None or bool(value != value)
    except TypeError:  # pandas.NA answers neither yes nor no
        missing = True
    return None if missing else value
