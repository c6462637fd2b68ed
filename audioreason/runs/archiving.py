"""Archive, restore and delete runs, several at once; each run moves or goes in one step.

An archived run lies in `archive/run_id=ID/` as it was, and no list shows it. A run that is deleted is renamed
first and emptied then, so that a kill leaves no half of it; the next deletion removes what was left.
Knows what names a run; knows nothing about pages.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from audioreason.errors import RunError, WorkspaceError
from audioreason.runs.record import folders_of_runs, run_folder, unknown_run
from audioreason.wording import counted
from audioreason.workspace import FileLock, Workspace, disk_error

_DELETED = ".deleted-"
_LARGEST = 16 << 20  # bytes of a file that is searched for the names of runs
# tables of lab.sqlite whose rows belong to a run, and what a row is called
_TABLES = {"run_tag": "tag", "tagged": "tagged answer", "note": "note", "rubric_rating": "rubric rating"}


def archived_runs(workspace: Workspace) -> list[str]:
    """Ids of the archived runs, newest first."""
    return sorted((run_id for run_id, _ in folders_of_runs(workspace.archive)), reverse=True)


def archive_runs(workspace: Workspace, run_ids: Sequence[str]) -> None:
    """Move runs out of every list.

    Raises:
        RunError: if one is unknown, being written, or archived under the same id; then none is moved.
        WorkspaceError: if the disk refuses.
    """
    with ExitStack() as held:
        moves = []
        for run_id in dict.fromkeys(run_ids):
            folder = run_folder(workspace, run_id)
            if not folder.is_dir():
                raise unknown_run(workspace, run_id)
            target = workspace.archive / folder.name
            if target.exists():
                raise RunError(f"Another run {run_id} is archived already.", "Delete that one first.")
            held.callback(_lock(run_id, folder).release)
            moves.append((folder, target))
        _move(workspace.archive, moves)


def restore_runs(workspace: Workspace, run_ids: Sequence[str]) -> None:
    """Bring archived runs back into the lists.

    Raises:
        RunError: if one is not archived, or there is another of its id; then none is moved.
        WorkspaceError: if the disk refuses.
    """
    moves = []
    for run_id in dict.fromkeys(run_ids):
        folder = run_folder(workspace, run_id)
        source = workspace.archive / folder.name
        if not source.is_dir():
            raise RunError(f"The run {run_id} is not archived.", "See: audioreason runs --archived")
        if folder.exists():
            raise RunError(f"There is another run {run_id}.", "Archive or delete that one first.")
        moves.append((source, folder))
    _move(workspace.runs, moves)


def delete_runs(workspace: Workspace, run_ids: Sequence[str]) -> None:
    """Delete runs, archived or not, for good.

    Raises:
        RunError: if one is unknown or being written; then none is deleted.
        WorkspaceError: if the disk refuses.
    """
    with ExitStack() as held:
        moves = []
        for run_id in dict.fromkeys(run_ids):
            folder = run_folder(workspace, run_id)
            if not folder.is_dir():
                folder = workspace.archive / folder.name
            if not folder.is_dir():
                raise unknown_run(workspace, run_id)
            held.callback(_lock(run_id, folder).release)
            moves.append((folder, folder.with_name(f"{_DELETED}{run_id}-{secrets.token_hex(4)}")))
        _move(workspace.runs, moves)
    for parent in (workspace.runs, workspace.archive):
        for left in parent.glob(f"{_DELETED}*"):
            shutil.rmtree(left, ignore_errors=True)


def references(workspace: Workspace, run_ids: Sequence[str]) -> list[str]:
    """What refers to these runs, one sentence each: experiments, searches, other runs, tags, notes."""
    if not run_ids:
        return []
    found = [
        f"{kind} {name} refers to {', '.join(sorted(named))}."
        for kind, name, named in _naming(workspace, run_ids)
    ]
    for run_id, belonging in _annotations(workspace, run_ids).items():
        what = ", ".join(counted(number, _TABLES[table]) for table, number in belonging.items())
        found.append(f"{run_id} has {what} in lab.sqlite; they stay there.")
    return found


def _naming(workspace: Workspace, run_ids: Sequence[str]) -> Iterator[tuple[str, str, set[str]]]:
    """Kind and name of whatever names some of these runs in its files, and which it names."""
    wanted = re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, run_ids))})(?![\w.-])".encode())
    places = (
        ("ReST experiment", workspace.rest, "*.json*"),
        ("Prompt search", workspace.optimize, "*.json*"),
    )
    for kind, parent, pattern in places:
        for folder in sorted(parent.glob("*/")):
            named = {one for path in folder.rglob(pattern) for one in _named(path, wanted)}
            if named:
                yield kind, folder.name, named
    for run_id, folder in folders_of_runs(workspace.runs):
        if run_id not in run_ids and (named := _named(folder / "run.json", wanted)):
            yield "Run", run_id, named


def _named(path: Path, wanted: re.Pattern[bytes]) -> set[str]:
    with suppress(OSError):
        if path.is_file() and path.stat().st_size <= _LARGEST:
            return {one.decode() for one in wanted.findall(path.read_bytes())}
    return set()


def _annotations(workspace: Workspace, run_ids: Sequence[str]) -> dict[str, Counter[str]]:
    """How many rows of which table of lab.sqlite belong to each run."""
    found: dict[str, Counter[str]] = {}
    if not (workspace.root / "lab.sqlite").exists():
        return found
    with workspace.sqlite_reader() as database:
        for table in _TABLES:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                continue
            for run_id in run_ids:
                (count,) = database.execute(
                    f"SELECT count(*) FROM {table} WHERE run_id = ?",  # noqa: S608 - our own names
                    (run_id,),
                ).fetchone()
                if count:
                    found.setdefault(run_id, Counter())[table] = count
    return found


def _lock(run_id: str, folder: Path) -> FileLock:
    """The lock of a run, which nobody else holds."""
    lock = FileLock(folder / "lock")
    if not lock.acquire():
        raise RunError(f"The run {run_id} is being written.", "Stop its job first: audioreason jobs list")
    return lock


def _move(parent: Path, moves: Sequence[tuple[Path, Path]]) -> None:
    source = parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for source, target in moves:
            source.rename(target)
    except OSError as error:
        refused: WorkspaceError = disk_error(source, error)
        raise refused from error
