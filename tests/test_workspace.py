"""Files are whole or absent; a torn line never costs the record before it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from audioreason.errors import WorkspaceError
from audioreason.workspace import truncate_torn_tail, write_atomic


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
