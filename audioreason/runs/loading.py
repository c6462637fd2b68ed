"""Keep the catalog's tables in step with the workspace: new, changed, growing, deleted and broken runs.

A look costs a few `stat`s a run; only what changed is read. A run that cannot be read is named in
`problems` and keeps no other out. Knows nothing about queries.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from audioreason.answers import SCORER_VERSION
from audioreason.errors import LabError
from audioreason.runs import tables
from audioreason.runs.derive import score_run, scores_path
from audioreason.runs.live import LiveRun
from audioreason.runs.record import RunRecord, read_record, run_folders, run_status
from audioreason.runs.scratch import read_generations, scratch_files
from audioreason.runs.storage import first_line
from audioreason.workspace import Workspace

_SECONDS_A_PREDICTION = 1e-4  # what scoring one takes, generously; measured 0.06 ms on real MMAR traces


class _Stamp(NamedTuple):
    """What a file is right now; a replaced or rewritten file has another."""

    inode: int
    modified: int
    size: int


class _Footprint(NamedTuple):
    """What a run's folder holds. Equal footprints mean that nothing needs to be read again."""

    record: _Stamp | None
    items: _Stamp | None
    predictions: _Stamp | None
    live: int | None  # inode of predictions.jsonl, which grows without changing
    scores: tuple[Path, _Stamp] | None


@dataclass
class _Run:
    """What is loaded of a run."""

    run_no: int
    folder: Path
    footprint: _Footprint
    record: RunRecord | None = None
    live: LiveRun | None = None
    status: str = ""
    problem: str = ""  # why the run, or a part of it, is not in the tables
    unscored: bool = False  # this scorer has not scored its finished predictions


class Loader:
    """Owns the rows of every table; used by one thread at a time."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._runs: dict[str, _Run] = {}
        self._next = 0
        self._scratch: dict[Path, _Stamp] = {}
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
        deadline = None if budget is None else time.monotonic() + budget
        folders = dict(run_folders(self._workspace))
        for run_id in self._runs.keys() - folders.keys():
            tables.drop_run(cursor, self._runs.pop(run_id).run_no)
        changed = [
            run
            for run_id, folder in folders.items()
            if (run := self._changed(run_id, folder, deadline)) is not None
        ]
        if changed:
            self._load(cursor, changed)
        for run in self._runs.values():
            self._follow(cursor, run, deadline)
        self._refresh_playground(cursor)

    def _changed(self, run_id: str, folder: Path, deadline: float | None) -> _Run | None:
        """The run, if it must be loaded (again); scores it first if that fits in the time that is left."""
        footprint = _footprint(folder)
        run = self._runs.get(run_id)
        unchanged = run is not None and run.footprint == footprint and not (run.live and run.live.shrunk())
        if run is None:
            run = self._runs[run_id] = _Run(self._next, folder, footprint)
            self._next += 1
        elif unchanged and not run.unscored:
            return None
        self._score(run_id, run, footprint, deadline)
        footprint = _footprint(folder)
        if unchanged and run.footprint == footprint:
            return None  # it still waits to be scored
        run.footprint = footprint
        return run

    def _score(self, run_id: str, run: _Run, footprint: _Footprint, deadline: float | None) -> None:
        run.problem, run.unscored = "", False
        if footprint.predictions is None or scores_path(run.folder).exists():
            return
        try:
            if _fits(run.folder / "predictions.parquet", deadline):
                score_run(self._workspace, run_id)
            else:
                run.unscored = True
        except LabError as error:
            run.problem = str(error)

    def _load(self, cursor: duckdb.DuckDBPyConnection, runs: Sequence[_Run]) -> None:
        """Load runs in one transaction; if one of them spoils it, each in its own."""
        try:
            with _transaction(cursor):
                for run in runs:
                    tables.drop_run(cursor, run.run_no)
                readable = [run for run in runs if self._add_record(cursor, run)]
                if readable:
                    self._add_rows(cursor, readable)
        except duckdb.Error as error:
            if len(runs) > 1:
                for run in runs:
                    self._load(cursor, [run])
                return
            run = runs[0]
            run.live = None
            with _transaction(cursor):
                tables.drop_run(cursor, run.run_no)
            # the reason that scoring gave names the file; DuckDB's may not
            run.problem = run.problem or (
                f"The run in {run.folder} cannot be read ({first_line(error)})."
                " Restore its files from a copy, or delete the folder."
            )

    def _add_record(self, cursor: duckdb.DuckDBPyConnection, run: _Run) -> bool:
        run.live = None
        try:
            run.record = read_record(run.folder)
        except LabError as error:
            run.problem = str(error)
            return False
        run.status = run_status(run.folder)
        scores = run.footprint.scores
        scorer = scores[0].stem.removeprefix("scores@") if scores else SCORER_VERSION
        tables.add_run(cursor, run.run_no, run.folder, run.record, run.status, scorer)
        return True

    def _add_rows(self, cursor: duckdb.DuckDBPyConnection, runs: Sequence[_Run]) -> None:
        tables.add_items(cursor, [(run.run_no, run.folder) for run in runs])
        scored = [run for run in runs if run.footprint.predictions and run.footprint.scores]
        if scored:
            tables.add_finished(
                cursor,
                [(run.run_no, run.folder) for run in scored],
                [run.footprint.scores[0] for run in scored if run.footprint.scores],
            )
            tables.add_item_scores(cursor, [run.run_no for run in scored])

    def _follow(self, cursor: duckdb.DuckDBPyConnection, run: _Run, deadline: float | None) -> None:
        """Read on in a run that grows, and notice when its writer comes or goes."""
        if run.record is None or (run.footprint.predictions and run.footprint.live is None):
            return
        if run.problem and run.live is None:
            return
        status = run_status(run.folder)
        if status != run.status:
            cursor.execute("UPDATE runs SET status = ? WHERE run_no = ?", [status, run.run_no])
            run.status = status
        if run.footprint.live is None:
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

    def _refresh_playground(self, cursor: duckdb.DuckDBPyConnection) -> None:
        stamps = {path: stamp for path in scratch_files(self._workspace) if (stamp := _stamp(path))}
        if stamps == self._scratch:
            return
        grown = stamps.keys() == self._scratch.keys() and all(
            stamp == self._scratch[path]
            or (
                path.suffix == ".jsonl"
                and stamp.inode == self._scratch[path].inode
                and stamp.size >= self._scratch_read.get(path, 0)
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


def _footprint(folder: Path) -> _Footprint:
    live = _stamp(folder / "predictions.jsonl")
    current = scores_path(folder)
    scores = (current, stamp) if (stamp := _stamp(current)) else None
    if scores is None:  # an earlier version of the scorer, until this one has been
        others = [
            (path, stamp) for path in folder.glob("derived/scores@*.parquet") if (stamp := _stamp(path))
        ]
        scores = max(others, key=lambda pair: pair[1].modified, default=None)
    return _Footprint(
        _stamp(folder / "run.json"),
        _stamp(folder / "items.parquet"),
        _stamp(folder / "predictions.parquet"),
        live.inode if live else None,
        scores,
    )


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except OSError:  # not there, or gone since it was listed
        return None
    return _Stamp(status.st_ino, status.st_mtime_ns, status.st_size)


def _fits(predictions: Path, deadline: float | None) -> bool:
    """Whether scoring these predictions fits into the time that is left."""
    if deadline is None:
        return True
    try:
        count: int = pq.read_metadata(predictions).num_rows
    except (pa.ArrowException, OSError):
        return True  # scoring says in words what is wrong with the file
    return time.monotonic() + count * _SECONDS_A_PREDICTION <= deadline
