"""Keep the catalog's tables in step with the workspace: new, changed, growing, deleted and broken runs.

A look costs a few `stat`s a run. What a list of runs shows of a run that is finished comes from the index
(`index.py`) while the run's files are unchanged, and is read from its folder otherwise; its items and
predictions are read when a question names the run (`load`). A run that cannot be read is named in `problems`
and keeps no other out. Knows nothing about queries.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from audioreason.answers import SCORER_VERSION
from audioreason.errors import LabError, RunError, WorkspaceError
from audioreason.runs import index, tables
from audioreason.runs.derive import read_totals, score_elsewhere, score_run, scores_path
from audioreason.runs.live import LiveRun
from audioreason.runs.record import RunRecord, read_record, run_folders, run_status
from audioreason.runs.scratch import read_generations, scratch_files
from audioreason.runs.storage import Stamp, file_stamp, first_line, verify
from audioreason.workspace import Workspace

_SECONDS_A_PREDICTION = 1e-4  # what scoring one takes, generously; measured 0.06 ms on real MMAR traces
_AT_ONCE = 500  # runs whose rows are read by one query: each keeps its files open
_SMALL = 1 << 20  # bytes of a file whose checksum is looked at for a list; larger ones when they are opened
_INDEX_SECONDS = 5.0  # the index is written this often at most; what it lacks is read again
_NOTHING = (0, 0, 0, 0)
_FOLDER = tables.RUNS.get_field_index("folder") - 1  # in a row without the run's number


class Footprint(NamedTuple):
    """What a run's folder holds. Equal footprints mean that nothing needs to be read again."""

    record: Stamp
    items: Stamp
    predictions: Stamp
    live: int  # inode of predictions.jsonl, which grows without changing; 0: there is none
    scorer: str  # version of the scorer whose scores are there; "" if there are none
    scores: Stamp

    @classmethod
    def of(cls, stored: Sequence[Any]) -> Footprint:
        """A footprint that was kept as JSON."""
        record, items, predictions, live, scorer, scores = stored
        return cls(tuple(record), tuple(items), tuple(predictions), live, scorer, tuple(scores))

    @property
    def finished(self) -> bool:
        """Whether nobody has begun to write more predictions."""
        return self.predictions != _NOTHING and not self.live


@dataclass(slots=True)
class _Run:
    """What is known of a run."""

    run_no: int
    folder: Path
    footprint: Footprint
    row: list[Any] | None = None  # what is in the table `runs`, without the number; None: nothing is
    totals: list[list[Any]] = field(default_factory=list)  # what is in the table `totals`, the same way
    listed: bool = False  # the run is in the tables
    loaded: bool = False  # its items and predictions are in the tables
    live: LiveRun | None = None
    record: RunRecord | None = None  # of a run that is not finished
    status: str = "finished"
    problem: str = ""  # why the run, or a part of it, is not in the tables
    unscored: bool = False  # this scorer has not scored its finished predictions
    spare: Path | None = None  # its scores, where they cannot be kept in its folder

    @property
    def scores(self) -> Path | None:
        """The file of its scores, if it has predictions and they have been scored."""
        if self.footprint.predictions == _NOTHING or not (self.spare or self.footprint.scorer):
            return None
        return self.spare or scores_path(self.folder, self.footprint.scorer)


class Loader:
    """Owns the rows of every table; used by one thread at a time."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._runs: dict[str, _Run] = {}
        self._next = 0
        self._indexed = float("-inf")  # when the index was written
        self._spare: tempfile.TemporaryDirectory[str] | None = None
        self._scratch: dict[Path, Stamp] = {}
        self._scratch_read: dict[Path, int] = {}  # how far each JSONL was read, in bytes
        self._scratch_problem = ""

    def problem(self, run_id: str) -> str:
        """Why a run is not, or not wholly, in the tables; "" if it is, or there is no such run."""
        run = self._runs.get(run_id)
        return run.problem if run else ""

    def problems(self) -> list[str]:
        """One sentence for each run that is not, or not wholly, in the tables."""
        found = []
        for run_id, run in sorted(self._runs.items()):
            if run.problem:
                found.append(run.problem)
            if run.unscored:
                found.append(
                    f"{run_id} has not been scored by this version; `audioreason score {run_id}` does it."
                )
            if run.live is not None and run.live.unreadable:
                found.append(
                    f"{run.live.unreadable} lines of {run.live.path} cannot be read and are left out."
                )
        return [*found, self._scratch_problem] if self._scratch_problem else found

    def refresh(self, cursor: duckdb.DuckDBPyConnection, budget: float | None) -> None:
        """Bring the tables up to date; spends about `budget` seconds on scoring, None: whatever it takes."""
        collecting = gc.isenabled()
        gc.disable()  # collections over the records of 10,000 runs took half of the time
        try:
            self._refresh(cursor, budget)
        finally:
            if collecting:
                gc.enable()

    def _refresh(self, cursor: duckdb.DuckDBPyConnection, budget: float | None) -> None:
        deadline = None if budget is None else time.monotonic() + budget
        stored = {} if self._runs else index.read(self._workspace)
        folders = dict(run_folders(self._workspace))
        gone = [self._runs.pop(run_id) for run_id in self._runs.keys() - folders.keys()]
        indexed, changed = [], []
        for run_id, folder in folders.items():
            footprint = _footprint(folder)
            run = self._runs.get(run_id)
            if run is None:
                run = self._runs[run_id] = _Run(self._next, folder, footprint)
                self._next += 1
                entry = stored.get(run_id)
                if entry and Footprint.of(entry[0]) == footprint:
                    run.row, run.totals = entry[1:]
                    run.row[_FOLDER] = str(folder)  # the workspace may have been moved
                    indexed.append(run)
                    continue
            elif run.footprint == footprint and not (run.live and run.live.shrunk()):
                if not run.unscored or not self._score(run_id, run, deadline):
                    continue  # it still waits to be scored
                changed.append(run)
                continue
            run.footprint = footprint
            self._score(run_id, run, deadline)
            changed.append(run)
        if gone or indexed or changed:
            self._change(cursor, gone, indexed, changed)
        for run in self._runs.values():
            if run.record is not None:
                self._follow(cursor, run, deadline)
        self._refresh_playground(cursor)

    def load(self, cursor: duckdb.DuckDBPyConnection, run_ids: Iterable[str] | None) -> None:
        """Read the items and predictions of these runs (None: all), as far as that has not been done."""
        named = self._runs.values() if run_ids is None else map(self._runs.get, run_ids)
        self._load(cursor, [run for run in named if run and run.row and not run.loaded], keep=True)

    def number(self, run_id: str) -> int | None:
        """A run's number in the tables; None if it is not in them."""
        run = self._runs.get(run_id)
        return run.run_no if run and run.row else None

    def _change(
        self,
        cursor: duckdb.DuckDBPyConnection,
        gone: Sequence[_Run],
        indexed: Sequence[_Run],
        changed: Sequence[_Run],
    ) -> None:
        for run in changed:
            self._read(run)
        unreadable = [run for run in changed if not run.row]
        # what was loaded is loaded again in the transaction that drops it: no question finds it missing
        again = [run for run in changed if run.row and (run.loaded or not run.totals)]
        listed = [run for run in changed if run.row and run.totals and not run.loaded]
        dropped = [run.run_no for run in (*gone, *unreadable, *listed) if run.listed]
        with _transaction(cursor):
            tables.drop_runs(cursor, dropped)
            _list(cursor, [*indexed, *listed])
        self._load(cursor, again)
        now = time.monotonic()
        if now - self._indexed > _INDEX_SECONDS and (gone or any(map(_may_be_indexed, changed))):
            self._indexed = now
            entries = (
                (run_id, (list(run.footprint), run.row or [], run.totals))
                for run_id, run in self._runs.items()
                if _may_be_indexed(run)
            )
            index.write(self._workspace, entries)

    def _score(self, run_id: str, run: _Run, deadline: float | None) -> bool:
        """Score a finished run that this scorer has not; False if the time that is left is too short."""
        run.problem, run.unscored, run.spare = "", False, None
        if run.footprint.predictions == _NOTHING or run.footprint.scorer == SCORER_VERSION:
            return True
        try:
            if not _fits(run.folder / "predictions.parquet", deadline):
                run.unscored = True
                return False
            try:
                score_run(self._workspace, run_id)
            except WorkspaceError:  # a disk that is full or read-only
                self._spare = self._spare or tempfile.TemporaryDirectory(prefix="audioreason-scores-")
                run.spare = Path(self._spare.name) / f"{run_id}.parquet"
                score_elsewhere(run.folder, run.spare)
        except LabError as error:
            run.problem, run.spare = str(error), None
        run.footprint = _footprint(run.folder)
        return True

    def _read(self, run: _Run) -> None:
        """Read what a list shows of a run: `row`, and the totals of a finished run that were kept."""
        run.live = run.record = run.row = None
        run.totals, run.status = [], "finished"
        try:
            record = read_record(run.folder)
            if run.footprint.finished:
                _check(run)
                if run.scores is not None:
                    run.totals = read_totals(run.scores, None if run.spare else run.footprint.scores)
            else:
                run.record, run.status = record, run_status(run.folder)
        except LabError as error:
            run.problem = run.problem or str(error)
            run.record, run.loaded = None, False
            return
        scorer = SCORER_VERSION if run.spare else run.footprint.scorer or SCORER_VERSION
        run.row = tables.run_row(run.folder, record, run.status, scorer)

    def _load(self, cursor: duckdb.DuckDBPyConnection, runs: Sequence[_Run], keep: bool = False) -> None:
        """Load the rows of runs, many in one transaction; if one of them spoils it, each in its own.

        Without `keep`, those of a finished run that no question has named are read for its totals alone.
        """
        for start in range(0, len(runs), _AT_ONCE):
            some = runs[start : start + _AT_ONCE]
            try:
                self._load_some(cursor, some, keep)
            except (duckdb.Error, RunError) as error:
                if len(some) > 1:
                    for run in some:
                        self._load(cursor, [run], keep)
                    continue
                self._leave_out(cursor, some[0], error)

    def _load_some(self, cursor: duckdb.DuckDBPyConnection, runs: Sequence[_Run], keep: bool) -> None:
        for run in runs:
            verify(run.folder / "items.parquet")
            verify(run.folder / "predictions.parquet")
            if run.scores is not None:
                verify(run.scores)
        numbers = [run.run_no for run in runs]
        with _transaction(cursor):
            tables.drop_runs(cursor, [run.run_no for run in runs if run.listed])
            tables.add_rows(cursor, [(run.run_no, run.folder) for run in runs], [run.scores for run in runs])
            totals: dict[int, list[list[Any]]] = {number: [] for number in numbers}
            for number, *row in tables.totals(cursor, numbers):
                totals[number].append(row)
            for run in runs:
                run.totals = totals[run.run_no]
            _list(cursor, runs)
            left = [run for run in runs if not (keep or run.loaded or run.record)]
            tables.drop_runs(cursor, [run.run_no for run in left], kept_in=tables.LISTED)
        for run in runs:
            run.loaded = run not in left

    def _leave_out(self, cursor: duckdb.DuckDBPyConnection, run: _Run, error: Exception) -> None:
        run.live = run.record = run.row = None
        run.loaded = False
        with _transaction(cursor):
            tables.drop_runs(cursor, [run.run_no])
        # the reason that scoring gave names the file; DuckDB's may not
        run.problem = run.problem or (
            str(error)
            if isinstance(error, RunError)
            else f"The run in {run.folder} cannot be read ({first_line(error)})."
            " Restore its files from a copy, or delete the folder."
        )

    def _follow(self, cursor: duckdb.DuckDBPyConnection, run: _Run, deadline: float | None) -> None:
        """Read on in a run that grows, and notice when its writer comes or goes."""
        if run.record is None or (run.problem and run.live is None):
            return
        status = run_status(run.folder)
        if status != run.status:
            cursor.execute("UPDATE runs SET status = ? WHERE run_no = ?", [status, run.run_no])
            run.status = status
        if not run.footprint.live:
            return
        try:
            if run.live is None:
                run.live = LiveRun(run.folder, run.record, _known(cursor, run.run_no))
            rows, replaces = run.live.poll(deadline)
        except (LabError, OSError) as error:
            run.problem = f"{run.folder / 'predictions.jsonl'} cannot be read ({first_line(error)})."
            return
        if rows:
            with _transaction(cursor):
                tables.add_live(cursor, run.run_no, rows, replaces)
                tables.add_item_scores(cursor, [run.run_no])
                run.totals = [list(row[1:]) for row in tables.totals(cursor, [run.run_no])]
                cursor.execute("DELETE FROM totals WHERE run_no = ?", [run.run_no])
                _list_totals(cursor, [run])

    def _refresh_playground(self, cursor: duckdb.DuckDBPyConnection) -> None:
        found = {path: _stamp(path) for path in scratch_files(self._workspace)}
        stamps = {path: stamp for path, stamp in found.items() if stamp != _NOTHING}
        if stamps == self._scratch:
            return
        grown = stamps.keys() == self._scratch.keys() and all(
            stamp == self._scratch[path]
            or (
                path.suffix == ".jsonl"
                and stamp[0] == self._scratch[path][0]  # the inode
                and stamp[-1] >= self._scratch_read.get(path, 0)
            )
            for path, stamp in stamps.items()
        )
        self._scratch_problem = ""
        with _transaction(cursor):
            if not grown:  # a day was compacted, or something was deleted
                cursor.execute("DELETE FROM playground")
                self._scratch, self._scratch_read = {}, {}
            for path, stamp in stamps.items():
                if self._scratch.get(path) != stamp:
                    self._add_generations(cursor, path)
        self._scratch = stamps

    def _add_generations(self, cursor: duckdb.DuckDBPyConnection, path: Path) -> None:
        start = self._scratch_read.get(path, 0)
        rows, unreadable = [], 0
        try:
            for place, after, found in read_generations(path, start):
                self._scratch_read[path] = after
                if found is None:
                    unreadable += 1
                    continue
                rows.append(
                    {
                        "id": found.id,
                        "file": str(path),
                        "place": place,
                        "created": found.created.isoformat(timespec="seconds"),
                        "dataset": found.dataset.name if found.dataset else None,
                        "item_id": found.item.id,
                        "prompt": found.prompt.name,
                        "prompt_version": found.prompt.version,
                        "model": found.endpoint.model,
                        "endpoint": found.endpoint.name,
                        "error_kind": found.error_kind,
                        "completion_tokens": found.completion_tokens,
                        "seconds": found.seconds,
                    }
                )
        except (LabError, OSError) as error:
            self._scratch_problem = str(error)
            return
        if unreadable:
            self._scratch_problem = f"{unreadable} entries of {path} are not generations and are left out."
        if rows:
            tables.add_playground(cursor, rows)


@contextmanager
def _transaction(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    cursor.begin()
    try:
        yield
    except BaseException:
        cursor.rollback()
        raise
    cursor.commit()


def _known(cursor: duckdb.DuckDBPyConnection, run_no: int) -> dict[tuple[int, int], bool]:
    rows = cursor.execute(
        "SELECT item_no, sample, outcome <> 'server_error' FROM predictions WHERE run_no = ?", [run_no]
    ).fetchall()
    return {(item_no, sample): ok for item_no, sample, ok in rows}


def _list(cursor: duckdb.DuckDBPyConnection, runs: Sequence[_Run]) -> None:
    """Put runs into the tables that a list is made from."""
    tables.insert(cursor, "runs", tables.RUNS, [(run.run_no, *(run.row or ())) for run in runs])
    _list_totals(cursor, runs)
    for run in runs:
        run.listed = True


def _list_totals(cursor: duckdb.DuckDBPyConnection, runs: Sequence[_Run]) -> None:
    rows = [(run.run_no, *row) for run in runs for row in run.totals]
    tables.insert(cursor, "totals", tables.TOTALS, rows)


def _may_be_indexed(run: _Run) -> bool:
    return bool(run.row) and not (run.problem or run.unscored or run.record or run.spare)


def _check(run: _Run) -> None:
    """See whether the files of a finished run are whole, as far as that takes no time.

    Raises:
        RunError: if one of them is not.
    """
    footprint = run.footprint
    for name, stamp in (("items", footprint.items), ("predictions", footprint.predictions)):
        path, why = f"{run.folder}/{name}.parquet", ""
        if stamp == _NOTHING:
            why = "it is not there"
        elif stamp[-1] > _SMALL or not verify(path, stamp):
            try:
                pq.read_metadata(path)
            except (pa.ArrowException, OSError) as error:
                why = first_line(error)
        if why:
            raise RunError(
                f"{path} cannot be read ({why}).", "Restore the file from a copy, or delete the run's folder."
            )


def _footprint(folder: Path) -> Footprint:
    base = str(folder)
    scorer = SCORER_VERSION
    scores = _stamp(f"{base}/derived/scores@{scorer}.parquet")
    if scores == _NOTHING:  # an earlier version of the scorer, until this one has been
        others = {path: _stamp(path) for path in folder.glob("derived/scores@*.parquet")}
        newest = max(others, key=lambda path: others[path][1], default=None)
        scorer = newest.stem.removeprefix("scores@") if newest else ""
        scores = others[newest] if newest else _NOTHING
    return Footprint(
        _stamp(f"{base}/run.json"),
        _stamp(f"{base}/items.parquet"),
        _stamp(f"{base}/predictions.parquet"),
        _stamp(f"{base}/predictions.jsonl")[0],
        scorer,
        scores,
    )


def _stamp(path: str | Path) -> Stamp:
    try:
        return file_stamp(path)
    except OSError:  # not there, or gone since it was listed
        return _NOTHING


def _fits(predictions: Path, deadline: float | None) -> bool:
    """Whether scoring these predictions fits into the time that is left."""
    if deadline is None:
        return True
    try:
        count: int = pq.read_metadata(predictions).num_rows
    except (pa.ArrowException, OSError):
        return True  # scoring says in words what is wrong with the file
    return time.monotonic() + count * _SECONDS_A_PREDICTION <= deadline
