"""The only thing that writes predictions: live to JSONL, one `os.write` a record, to Parquet at the end.

A run folder appears whole, survives SIGKILL at any moment, and ends with exactly one record per
(item, sample). Knows nothing about where predictions come from or what they are worth.
"""

from __future__ import annotations

import errno
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from audioreason.errors import RunError, WorkspaceError
from audioreason.items import Item
from audioreason.runs.record import (
    Prediction,
    RunRecord,
    load_record,
    recipe_differences,
    run_folder,
    unknown_run,
)
from audioreason.runs.snapshot import read_items, write_items
from audioreason.runs.storage import (
    Key,
    encode_line,
    merged_predictions,
    remove_unfinished,
    stored_keys,
    supersedes,
    write_predictions,
)
from audioreason.workspace import FileLock, JsonlWriter, Workspace, write_atomic

_LOCK_SECONDS = 0.5  # a reader that asks whether a run lives holds the lock for microseconds


class RunWriter:
    """Writes one run, from one thread at a time; made by `create` or `resume`, used in a `with` block.

    Leaving the block without `finish` leaves a stopped run that can be resumed.
    """

    def __init__(self, folder: Path, record: RunRecord, items: tuple[Item, ...], lock: FileLock) -> None:
        self.folder = folder
        self.record = record
        self.items = items
        self.first_error: str | None = None  # of those that were appended
        self._lock = lock
        self._keys = stored_keys(folder)
        self._known = {item.id for item in items}
        self._live = JsonlWriter(folder / "predictions.jsonl")

    @classmethod
    def create(
        cls,
        workspace: Workspace,
        record: RunRecord,
        items: Sequence[Item],
        parts: Mapping[str, str] | None = None,
    ) -> RunWriter:
        """Start a run: its folder with `run.json` and `items.parquet` appears in one step.

        `parts` maps item ids to their part of the dataset's split.

        Raises:
            RunError: if the id is taken or cannot be a folder's name, or there are no items.
            WorkspaceError: if the disk is full or not writable.
        """
        folder = run_folder(workspace, record.run_id)
        if folder.exists():
            raise _taken(record)
        if (workspace.archive / folder.name).exists():
            raise unknown_run(workspace, record.run_id)
        making = workspace.runs / f".new-{record.run_id}-{secrets.token_hex(4)}"
        lock = FileLock(making / "lock")
        try:
            write_items(making / "items.parquet", items, parts or {})
            write_atomic(making / "run.json", record.model_dump_json(indent=2) + "\n")
            lock.acquire()  # the lock belongs to the file, so it goes along when the folder is renamed
            making.rename(folder)
        except BaseException as error:
            lock.release()
            shutil.rmtree(making, ignore_errors=True)
            if isinstance(error, OSError):
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    raise _taken(record) from error
                raise WorkspaceError(f"{folder} could not be made ({error.strerror or error}).") from error
            raise
        return cls._open(folder, record, tuple(items), lock)

    @classmethod
    def resume(cls, workspace: Workspace, run_id: str, expected: RunRecord | None = None) -> RunWriter:
        """Continue a run that stopped, or retry the errors of a finished one.

        `expected` is the record that a new run would get now; if its recipe differs, nothing is continued.

        Raises:
            RunError: if there is no such run, another process is writing it, or the recipe differs.
        """
        stored = load_record(workspace, run_id)
        if expected is not None and (differences := recipe_differences(stored, expected)):
            raise RunError(
                f"The run {run_id} cannot be continued with another recipe: {'; '.join(differences)}.",
                "Use the settings it began with, or start a new run under another id.",
            )
        folder = run_folder(workspace, run_id)
        lock = FileLock(folder / "lock")
        give_up = time.monotonic() + _LOCK_SECONDS
        while not lock.acquire():
            if time.monotonic() > give_up:
                raise RunError(
                    f"Another process is writing the run {run_id}.",
                    "Wait for it or stop it, or start a new run under another id.",
                )
            time.sleep(0.02)
        try:
            remove_unfinished(folder)
            items = read_items(folder)
        except BaseException:
            lock.release()
            raise
        return cls._open(folder, stored, items, lock)

    @classmethod
    def _open(cls, folder: Path, record: RunRecord, items: tuple[Item, ...], lock: FileLock) -> RunWriter:
        try:
            return cls(folder, record, items, lock)
        except BaseException:
            lock.release()
            raise

    def pending(self) -> list[Key]:
        """Every (item id, sample) without an answer, errors included, in the order of the items."""
        return [key for key in self._order() if not self._keys.get(key, False)]

    def answered(self) -> int:
        """How many (item, sample) have an answer."""
        return sum(self._keys.values())

    def append(self, prediction: Prediction) -> None:
        """Record one prediction at once, so that it survives whatever comes next.

        Raises:
            RunError: if the item or the sample is not of this run.
            WorkspaceError: if the disk is full; what was recorded before is intact.
        """
        if prediction.item_id not in self._known or not 0 <= prediction.sample < self.record.samples:
            raise RunError(
                f"The run {self.record.run_id} has no sample {prediction.sample} of {prediction.item_id!r}."
            )
        self._live.append(encode_line(prediction))
        ok = prediction.error is None
        self.first_error = self.first_error or prediction.error
        if supersedes(ok, self._keys.get(prediction.key, False)):
            self._keys[prediction.key] = ok

    def finish(self) -> None:
        """Turn the live records into predictions.parquet, and close the run.

        A crash between any two steps leaves a run that the catalog reads and `resume` then `finish` complete.

        Raises:
            RunError: if an (item, sample) has no record at all, not even an error.
            WorkspaceError: if the disk is full; the live records are intact.
        """
        missing = sum(key not in self._keys for key in self._order())
        if missing:
            raise RunError(
                f"The run {self.record.run_id} is not complete: {missing} predictions are missing.",
                "Resume it first.",
            )
        self._live.close()
        live = self.folder / "predictions.jsonl"
        final = self.folder / "predictions.parquet"
        if live.stat().st_size or not final.exists():
            # before: a crash must not leave old scores beside new predictions; after: a scorer may have made
            # them again meanwhile (one that is still reading notices that its file was replaced)
            self._drop_scores()
            write_predictions(final, merged_predictions(self.folder, self._order()))
            self._drop_scores()
        live.unlink()
        self.close()

    def close(self) -> None:
        """Stop writing and let others resume; a second call does nothing."""
        self._live.close()
        live = self.folder / "predictions.jsonl"
        if live.exists() and not live.stat().st_size and (self.folder / "predictions.parquet").exists():
            live.unlink()
        self._lock.release()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _drop_scores(self) -> None:
        for path in (self.folder / "derived").glob("scores@*.parquet"):
            path.unlink(missing_ok=True)

    def _order(self) -> list[Key]:
        return [(item.id, sample) for item in self.items for sample in range(self.record.samples)]


def _taken(record: RunRecord) -> RunError:
    begun = "" if record.kind == "import" else "Continue it with --resume, or choose"
    return RunError(
        f"There is a run {record.run_id} already.", f"{begun or 'Choose'} another id with --run-id."
    )
