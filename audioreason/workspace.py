"""Where everything lives on disk, and the few ways of writing it that survive kill -9.

A workspace is a plain folder on a POSIX disk; a researcher can read, copy or commit any of it.
Knows nothing about what the files mean: rooms above own their formats.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from audioreason.errors import WorkspaceError

_PACKAGE = Path(__file__).resolve().parent


def shipped(*parts: str) -> Path:
    """Path of a file or folder that came with the lab, from a checkout (`data/`) or a wheel (`_data/`)."""
    packaged = _PACKAGE / "_data"
    root = packaged if packaged.is_dir() else _PACKAGE.parent / "data"
    return root.joinpath(*parts)


def lab_root() -> Path:
    """The folder that holds `app/` and `pages/`: the checkout, or `audioreason/_lab` in a wheel."""
    packaged = _PACKAGE / "_lab"
    return packaged if packaged.is_dir() else _PACKAGE.parent


def clip_folder(cache: Path) -> Path:
    """The folder in a cache that holds the clips in the form in which servers are sent them."""
    return cache / "clips"


@dataclass(frozen=True)
class Workspace:
    """The folder that holds prompts, datasets, runs, jobs, adapters and `lab.sqlite`."""

    root: Path

    @classmethod
    def open(cls, path: str | os.PathLike[str] | None = None) -> Workspace:
        """The workspace at `path`, else `AUDIOREASON_WORKSPACE`, else `./workspace`; created if missing.

        Raises:
            WorkspaceError: if the folder cannot be created or written.
        """
        root = Path(path or os.environ.get("AUDIOREASON_WORKSPACE") or "workspace").expanduser().resolve()
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"The workspace {root} cannot be created ({error.strerror}).",
                "Choose another folder with --workspace or AUDIOREASON_WORKSPACE.",
            ) from error
        if not os.access(root, os.W_OK):
            raise WorkspaceError(f"The workspace {root} is not writable.", "Choose another with --workspace.")
        return cls(root)

    @property
    def prompts(self) -> Path:
        """`prompts/NAME.md`."""
        return self.root / "prompts"

    @property
    def datasets(self) -> Path:
        """`datasets/NAME/{dataset.json,items.jsonl,splits.json,audio/}`."""
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        """`runs/run_id=ID/`."""
        return self.root / "runs"

    @property
    def scratch(self) -> Path:
        """`scratch/DATE.jsonl`: playground generations."""
        return self.root / "scratch"

    @property
    def jobs(self) -> Path:
        """`jobs/ID/{job.json,state.json,log.txt,lock}`."""
        return self.root / "jobs"

    @property
    def adapters(self) -> Path:
        """`adapters/ID/`."""
        return self.root / "adapters"

    @property
    def rest(self) -> Path:
        """`rest/ID/`: self-training experiments, a folder a round."""
        return self.root / "rest"

    @property
    def optimize(self) -> Path:
        """`optimize/ID/`: searches for a better prompt."""
        return self.root / "optimize"

    @property
    def cache(self) -> Path:
        """`cache/`: prepared clips, spectrograms; may be deleted at any time."""
        return self.root / "cache"

    @property
    def clips(self) -> Path:
        """`cache/clips/`: every clip that the lab sends, the one folder that servers must be able to read."""
        return clip_folder(self.cache)

    @contextlib.contextmanager
    def sqlite(self) -> Iterator[sqlite3.Connection]:
        """`lab.sqlite` in one transaction (BEGIN IMMEDIATE): committed on success, rolled back on error.

        WAL, rows by name, waits up to 10 s for another writer. Each room creates its own tables.

        Raises:
            WorkspaceError: if it cannot be used; a damaged file is left as it is.
        """
        path = self.root / "lab.sqlite"
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    if connection.in_transaction:  # some faults end it by themselves
                        connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise sqlite_fault(path, error) from error


def sqlite_fault(path: Path, error: sqlite3.DatabaseError) -> WorkspaceError:
    """What is wrong with a database, and how to go on, for people. A damaged one is not touched."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None or code & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return WorkspaceError(f"{path} could not be used: {error}.")
    return WorkspaceError(
        f"{path} is damaged ({error}).",
        "Nothing was changed. Close the lab and move the file, with its -wal and -shm if there are such, to"
        " another folder: the lab makes a new one, and runs and jobs are still there. Tags, notes, ratings,"
        f" drafts and pins were in it; `sqlite3 MOVED .recover | sqlite3 {path}` saves what can be read.",
    )


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file so that readers see the old one or the new one, never half of it.

    Raises:
        WorkspaceError: if the disk is full or the folder is not writable; the old file is intact.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise _disk_error(path, error) from error


def truncate_torn_tail(path: Path) -> int:
    """Cut a last line that has no newline (a writer died inside it); returns the bytes removed.

    Appending behind a torn line would lose both records, so every JSONL writer calls this first.
    """
    if not path.exists() or (size := path.stat().st_size) == 0:
        return 0
    with path.open("r+b") as file:
        end, block = size, 1 << 16
        while end > 0:
            start = max(0, end - block)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                keep = start + newline + 1
                break
            end = start
        else:
            keep = 0
        if keep < size:
            file.truncate(keep)
    return size - keep


class JsonlWriter:
    """Append records to a JSONL file, each with a single `os.write`, after cutting a torn tail."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        truncate_torn_tail(path)
        self.path = path
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _disk_error(path, error) from error

    def append(self, line: bytes) -> None:
        """Append one JSON document (without newline).

        Raises:
            WorkspaceError: if the disk is full, and what was appended before is intact; or if somebody
                deleted the file, and it is not.
        """
        data = line + b"\n"
        status = os.fstat(self._fd)
        before = status.st_size
        if not status.st_nlink:
            raise WorkspaceError(
                f"{self.path} was deleted while it was being written.", "What it held is lost; start anew."
            )
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            raise _disk_error(self.path, error) from error
        if written != len(data):  # the disk filled inside the record: take the torn part back
            os.ftruncate(self._fd, before)
            raise _disk_error(self.path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> JsonlWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class FileLock:
    """An advisory `flock` that proves its holder lives; children never inherit it (close-on-exec)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def acquire(self) -> bool:
        """Take the lock without waiting; False if another process (or another FileLock) holds it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        """Give the lock back; the file stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @staticmethod
    def held(path: Path) -> bool:
        """Whether some process holds the lock at `path` now."""
        if not path.exists():
            return False
        probe = FileLock(path)
        if probe.acquire():
            probe.release()
            return False
        return True


def _disk_error(path: Path, error: OSError) -> WorkspaceError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WorkspaceError(
            f"The disk that holds {path} is full.",
            "Free some space and resume; what was written before is intact.",
        )
    return WorkspaceError(f"{path} could not be written ({error.strerror or error}).")
