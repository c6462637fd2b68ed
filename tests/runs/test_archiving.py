"""Archive, restore and delete: several at once, all or none, nothing half done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from audioreason.errors import RunError
from audioreason.review import Annotations
from audioreason.runs import (
    Catalog,
    RunWriter,
    archive_runs,
    archived_runs,
    archiving,
    delete_runs,
    load_record,
    references,
    restore_runs,
    run_folder,
)
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.runs.conftest import MakeRun, answer, make_record, right


@pytest.fixture
def three(workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun) -> Workspace:
    """A workspace with the runs run-a, run-b and run-c."""
    data = tiny_dataset(n=1)
    for name in ("run-a", "run-b", "run-c"):
        make_run(data, [answer("tiny-000", right(data, 0))], name)
    return workspace


def names(workspace: Workspace) -> set[str]:
    return set(Catalog(workspace).runs()["run_id"])


def test_archived_runs_are_in_no_list_and_come_back_as_they_were(three: Workspace) -> None:
    before = {path.name: path.read_bytes() for path in run_folder(three, "run-a").glob("*.*")}
    archive_runs(three, ["run-a", "run-b", "run-a"])
    assert (names(three), archived_runs(three)) == ({"run-c"}, ["run-b", "run-a"])
    with pytest.raises(RunError, match=r"run-a is archived.*runs restore run-a"):
        load_record(three, "run-a")
    with pytest.raises(RunError, match="is archived"):
        Catalog(three).accuracy_by("run-a", "layer")
    restore_runs(three, ["run-a", "run-b"])
    assert names(three) == {"run-a", "run-b", "run-c"}
    assert {path.name: path.read_bytes() for path in run_folder(three, "run-a").glob("*.*")} == before


def test_one_that_cannot_be_moved_keeps_all_where_they_are(
    three: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset(n=1)
    with RunWriter.create(three, make_record(data, "run-d"), data.items):
        for act in (archive_runs, delete_runs):
            with pytest.raises(RunError, match="run-d is being written"):
                act(three, ["run-a", "run-d"])
            with pytest.raises(RunError, match="There is no run 'run-x'"):
                act(three, ["run-a", "run-x"])
    assert names(three) == {"run-a", "run-b", "run-c", "run-d"}
    archive_runs(three, ["run-a"])
    with pytest.raises(RunError, match="run-a is archived"):
        RunWriter.create(three, make_record(data, "run-a"), data.items)
    with pytest.raises(RunError, match="run-b is not archived"):
        restore_runs(three, ["run-a", "run-b"])
    assert archived_runs(three) == ["run-a"]


def test_a_deletion_that_is_killed_leaves_no_half_of_a_run(
    three: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_runs(three, ["run-c"])

    class Killed(BaseException):
        pass

    def killed(path: Path, ignore_errors: bool) -> None:
        (path / "items.parquet").unlink()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(archiving.shutil, "rmtree", killed)
        with pytest.raises(Killed):
            delete_runs(three, ["run-a", "run-c"])
    catalog = Catalog(three)
    assert (set(catalog.runs()["run_id"]), catalog.problems(), archived_runs(three)) == ({"run-b"}, [], [])
    delete_runs(three, ["run-b"])
    assert not [*three.runs.iterdir(), *three.archive.iterdir()], "what was left is gone as well"
    assert shutil.rmtree is archiving.shutil.rmtree


def test_what_refers_to_a_run_is_said(three: Workspace) -> None:
    Annotations(three).tag_run("run-a", "paper", True)
    record = three.rest / "loop" / "round-1" / "round.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"evaluations": {"mmar": "run-a"}, "other": "run-abc"}))
    assert references(three, ["run-a", "run-ab", "run-b"]) == [
        "ReST experiment loop refers to run-a.",
        "run-a has 1 tag in lab.sqlite; they stay there.",
    ]
    assert references(three, ["run-b"]) == []
