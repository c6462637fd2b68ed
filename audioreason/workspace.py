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
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from audioreason.errors import WorkspaceError

LAB_TOKEN_VARIABLE = "AUDIOREASON_TOKEN"  # noqa: S105 - a name; only the lab's server has this variable
ENGINE_KEY_VARIABLE = "AUDIOREASON_ENGINE_KEY"  # what the local engine's clients must send

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

        One that cannot be written can be read: only what writes raises.

        Raises:
            WorkspaceError: if the folder cannot be created or read.
        """
        root = Path(path or os.environ.get("AUDIOREASON_WORKSPACE") or "workspace").expanduser().resolve()
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"The workspace {root} cannot be created ({error.strerror}).",
                "Choose another folder with --workspace or AUDIOREASON_WORKSPACE.",
            ) from error
        if not os.access(root, os.R_OK | os.X_OK):
            raise WorkspaceError(f"The workspace {root} cannot be read.", "Choose another with --workspace.")
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
    def archive(self) -> Path:
        """`archive/run_id=ID/`: runs that no list shows."""
        return self.root / "archive"

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
    def keys(self) -> Path:
        """`keys/NAME`: random keys of the servers that the lab started, for the owner only."""
        return self.root / "keys"

    @property
    def cache(self) -> Path:
        """`cache/`: prepared clips, spectrograms; may be deleted at any time."""
        return self.root / "cache"

    @property
    def clips(self) -> Path:
        """`cache/clips/`: every clip that the lab sends, the one folder that servers must be able to read."""
        return clip_folder(self.cache)

    @contextlib.contextmanager
    def sqlite_reader(self) -> Iterator[sqlite3.Connection]:
        """`lab.sqlite` as it is, which must exist, without waiting for whoever writes; rows by name.

        Raises:
            WorkspaceError: if it cannot be read.
        """
        path = self.root / "lab.sqlite"
        try:
            try:
                connection = _readable(path)
            except sqlite3.OperationalError as error:  # where nothing may be made beside it
                connection = _reading_copy(path, sqlite_fault(path, error))
            with contextlib.closing(connection):
                yield connection
        except sqlite3.DatabaseError as error:
            raise sqlite_fault(path, error) from error

    @contextlib.contextmanager
    def sqlite(self) -> Iterator[sqlite3.Connection]:
        """`lab.sqlite` in one transaction (BEGIN IMMEDIATE): committed on success, rolled back on error.

        WAL, rows by name, waits up to 10 s for another writer. Each room creates its own tables. Where the
        disk is full or read-only, everything can be read, from a copy in memory.

        Raises:
            WorkspaceError: if it cannot be used, or the disk takes no change; a damaged file stays as it is.
        """
        path = self.root / "lab.sqlite"
        fault: WorkspaceError | None = None
        try:
            try:
                self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
                with contextlib.suppress(OSError):  # sqlite says better what is wrong
                    _create_private(path)
                connection = _opened(path)
            except sqlite3.OperationalError as error:
                if (getattr(error, "sqlite_errorcode", 0) & 0xFF) not in _UNWRITABLE:
                    raise
                fault = sqlite_fault(path, error)
                connection = _reading_copy(path, fault)
            with contextlib.closing(connection):
                before = connection.total_changes
                try:
                    yield connection
                except BaseException:
                    if connection.in_transaction:  # some faults end it by themselves
                        connection.execute("ROLLBACK")
                    raise
                if fault is not None and connection.total_changes > before:
                    raise fault
                if connection.in_transaction:
                    connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise sqlite_fault(path, error) from error


# what SQLite says of a disk that is full or read-only
_UNWRITABLE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
)


def _readable(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=10)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("BEGIN IMMEDIATE")
    except BaseException:
        connection.close()
        raise
    return connection


def _reading_copy(path: Path, fault: WorkspaceError) -> sqlite3.Connection:
    """What a database holds, in memory, without writing anything beside it."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    memory.row_factory = sqlite3.Row
    log = path.with_name(f"{path.name}-wal")
    if not path.exists():
        return memory
    if not log.exists() or not log.stat().st_size:
        address = f"file:{quote(str(path))}?mode=ro&immutable=1"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as source:
            source.backup(memory)
        return memory
    try:
        with tempfile.TemporaryDirectory() as folder:  # the log is read only where it may be written
            for file in (path, log):
                shutil.copy(file, folder)
            with contextlib.closing(sqlite3.connect(Path(folder) / path.name)) as source:
                source.backup(memory)
    except OSError as error:
        raise fault from error
    return memory


def sqlite_fault(path: Path, error: sqlite3.DatabaseError) -> WorkspaceError:
    """What is wrong with a database, and how to go on, for people. A damaged one is not touched."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code in _UNWRITABLE and _is_full(path.parent)):
        return disk_error(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    if code in _UNWRITABLE and not os.access(path if path.exists() else path.parent, os.W_OK):
        return disk_error(path, OSError(errno.EROFS, os.strerror(errno.EROFS)))
    if code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
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
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise disk_error(path, error) from error


def read_regular(path: Path) -> bytes:
    """What a file holds. A device or a pipe under its name, which might never end, is refused.

    Raises:
        OSError: if it cannot be read, or is no regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return path.read_bytes()


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
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            truncate_torn_tail(path)
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise disk_error(path, error) from error

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
            raise disk_error(self.path, error) from error
        if written != len(data):  # the disk filled inside the record: take the torn part back
            os.ftruncate(self._fd, before)
            raise disk_error(self.path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

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
    """An advisory `flock` that proves its holder lives; children never inherit it (close-on-exec).

    The file is for its owner only: whoever can open a file can lock it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def acquire(self) -> bool:
        """Take the lock without waiting; False if another process (or another FileLock) holds it.

        Raises:
            WorkspaceError: if the file cannot be made or opened.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise disk_error(self.path, error) from error
        _close_to_others(fd, os.fstat(fd))
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
        try:  # for reading, and shared: asking changes nothing, and two who ask do not meet
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False


FULL = (errno.ENOSPC, errno.EDQUOT)


def private_files() -> None:
    """Make every file and folder that this process and its children create readable by their owner only."""
    os.umask(0o077)


def _close_to_others(file: int | Path, status: os.stat_result) -> None:
    """Take the permissions of group and others from a file of ours (older labs created them with 0644)."""
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        with contextlib.suppress(OSError):  # a disk that is mounted read-only
            os.chmod(file, 0o600)  # noqa: PTH101 - a path or a descriptor


def _create_private(path: Path) -> None:
    """Create an empty file that only its owner can open, and so lock; an existing one is closed to others."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        _close_to_others(path, path.stat())  # by its path: closing a file drops sqlite's locks on it


def disk_error(path: Path, error: OSError) -> WorkspaceError:
    """What a disk says that does not take what is written, for people."""
    if error.errno in FULL:
        return WorkspaceError(
            f"The disk that holds {path} is full.",
            "Free some space and resume; what was written before is intact.",
        )
    if error.errno == errno.EROFS:
        return WorkspaceError(
            f"{path} cannot be written: its disk or folder is read-only.",
            "It can be read; to change something, make it writable or choose another with --workspace.",
        )
    return WorkspaceError(f"{path} could not be written ({error.strerror or error}).")


def _is_full(folder: Path) -> bool:
    """Whether a folder takes no more bytes: asked by writing some, since a quota is seen nowhere else."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 17))
            file.flush()
    except OSError as error:
        return error.errno in FULL
    return False
