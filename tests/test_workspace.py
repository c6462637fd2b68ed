"""Files are whole or absent; a torn line never costs the record before it."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from audioreason.errors import WorkspaceError
from audioreason.workspace import (
    FileLock,
    JsonlWriter,
    Workspace,
    read_regular,
    truncate_torn_tail,
    write_atomic,
)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WorkspaceError, match="could not be written"):
        write_atomic(tmp_path / "file" / "new.json", "{}")


def test_a_full_disk_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "state.json"
    write_atomic(target, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkspaceError, match="is full"):
        write_atomic(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b""), (b"one\n", b"one\n"), (b"one\ntw", b"one\n"), (b"on", b""), (b"a" * 200_000, b"")],
)
def test_only_a_line_without_its_end_is_cut(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(before)
    assert truncate_torn_tail(path) == len(before) - len(after)
    assert path.read_bytes() == after


@pytest.mark.parametrize("damage", ["no database", "cut", "rubbish inside"])
def test_a_damaged_database_is_one_sentence_with_a_way_on_and_is_not_touched(
    tmp_path: Path, damage: str
) -> None:
    workspace = Workspace(tmp_path)
    with workspace.sqlite() as database:
        database.execute("CREATE TABLE kept (value TEXT)")
        database.executemany("INSERT INTO kept VALUES (?)", [("x" * 500,)] * 100)
    path = tmp_path / "lab.sqlite"
    good = path.read_bytes()
    damaged = {
        "no database": b"no database" * 400,
        "cut": good[: len(good) // 2],
        "rubbish inside": good[:4096] + bytes(range(256)) * ((len(good) - 4096) // 256),
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(WorkspaceError, match="is damaged") as caught, workspace.sqlite() as database:
        database.execute("INSERT INTO kept VALUES ('more')")
        database.execute("SELECT count(*), max(value) FROM kept").fetchone()
    assert "move the file" in caught.value.hint and str(path) in caught.value.message
    assert path.read_bytes() == damaged


def test_a_database_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "lab.sqlite").mkdir()
    with pytest.raises(WorkspaceError, match="could not be used"), Workspace(tmp_path).sqlite():
        pass


def test_files_and_locks_of_the_workspace_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        workspace = Workspace.open(tmp_path / "private")
        lock = FileLock(workspace.root / "lock")
        assert lock.acquire()
        write_atomic(workspace.root / "atomic.json", "{}")
        JsonlWriter(workspace.root / "lines.jsonl").close()
        with workspace.sqlite() as connection:
            connection.execute("CREATE TABLE t (x)")
            modes = {path.name: path.stat().st_mode & 0o777 for path in workspace.root.iterdir()}
    finally:
        os.umask(before)
    assert workspace.root.stat().st_mode & 0o777 == 0o700
    assert "lab.sqlite-wal" in modes
    assert set(modes.values()) == {0o600}, modes


def test_a_lock_and_a_database_of_an_older_lab_are_closed_to_others(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    with workspace.sqlite() as connection:
        connection.execute("CREATE TABLE t (x)")
    for name in ("lock", "lab.sqlite"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    lock = FileLock(tmp_path / "lock")
    assert lock.acquire()
    with workspace.sqlite() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("lock", "lab.sqlite")} == {0o600}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_can_neither_open_a_lock_nor_read_a_file(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "private")
    lock = FileLock(workspace.root / "lock")
    assert lock.acquire()
    lock.release()
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/") and "pytest" in str(folder):
            folder.chmod(0o755)
    attempt = (
        "import fcntl, os, sys\nos.setgid(65534); os.setuid(65534)\n"
        "try:\n  fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)\n"
        "except PermissionError:\n  sys.exit(13)"
    )
    assert subprocess.run([sys.executable, "-c", attempt, str(lock.path)], check=False).returncode == 13
    assert lock.acquire()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, mounted for this test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk can be mounted here ({error})")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("state", ["full", "read-only"])
@pytest.mark.parametrize("crashed", [False, True])
def test_a_database_is_read_where_nothing_can_be_written(disk: Path, state: str, crashed: bool) -> None:
    workspace = Workspace.open(disk / "workspace")
    path = workspace.root / "lab.sqlite"
    with workspace.sqlite() as database:
        database.execute("CREATE TABLE t (a)")
        database.execute("INSERT INTO t VALUES (1)")
    if crashed:  # its log is still there
        kept = sqlite3.connect(path)
        kept.execute("PRAGMA journal_mode=WAL")
        kept.execute("INSERT INTO t VALUES (2)")
        kept.commit()
        log = path.with_name("lab.sqlite-wal")
        files = {one: one.read_bytes() for one in (path, log)}
        kept.close()
        for one, content in files.items():
            one.write_bytes(content)
    if state == "full":
        with contextlib.suppress(OSError), (disk / "fill").open("wb", buffering=0) as file:
            while file.write(bytes(512)):
                pass
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    expected = [1, 2] if crashed else [1]
    with workspace.sqlite() as database:
        database.execute("CREATE TABLE IF NOT EXISTS t (a)")
        assert [row["a"] for row in database.execute("SELECT a FROM t")] == expected
    with workspace.sqlite_reader() as database:
        assert [row["a"] for row in database.execute("SELECT a FROM t")] == expected
    with pytest.raises(WorkspaceError, match=f"is {state}"), workspace.sqlite() as database:
        for _ in range(2000):  # a page that is there already has room for a few rows
            database.execute("INSERT INTO t VALUES (zeroblob(1000))")
    with pytest.raises(WorkspaceError, match=f"is {state}"):
        write_atomic(workspace.root / "x", b"x" * 5000)
    with workspace.sqlite_reader() as database:
        assert [row["a"] for row in database.execute("SELECT a FROM t")] == expected


def test_asking_whether_a_lock_is_held_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not FileLock.held(path)
    assert not path.exists()
    lock = FileLock(path)
    assert lock.acquire()
    assert FileLock.held(path)
    lock.release()
    assert not FileLock.held(path)


def test_a_device_under_the_name_of_a_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("zero", "pipe"):
        with pytest.raises(OSError, match="not a regular file"):
            read_regular(tmp_path / name)
