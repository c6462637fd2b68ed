"""The index of finished runs: it saves opening folders, and is believed only while they are unchanged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from audioreason.runs import Catalog, RunWriter, loading, records, run_folder, score_run
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.runs.conftest import MakeRun, answer, failure, make_record, mixed, right, wrong


def listed(workspace: Workspace) -> dict[str, dict[str, object]]:
    """What a process that starts now lists."""
    return {str(row["run_id"]): row for row in records(Catalog(workspace).runs())}


def test_a_second_process_opens_no_folder(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_dataset(n=6, kind="benchmark")
    for name in ("run-a", "run-b"):
        make_run(data, mixed(data), name)
    before = Catalog(workspace)
    frames = [before.runs(split) for split in (None, "explore", "sealed")]

    def never(*_: object) -> None:
        raise AssertionError("a folder was opened")

    for name in ("read_record", "read_totals", "verify"):
        monkeypatch.setattr(loading, name, never)
    again = Catalog(workspace)
    for split, frame in zip((None, "explore", "sealed"), frames, strict=True):
        assert again.runs(split).equals(frame)
    with pytest.raises(AssertionError, match="a folder was opened"):
        again.accuracy_by("run-a", "layer")


def test_a_run_that_was_continued_replaced_or_deleted_is_read_anew(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=2)
    make_run(data, [failure("tiny-000"), answer("tiny-001", right(data, 1))])
    make_run(data, [answer("tiny-000", right(data, 0)), answer("tiny-001", wrong(data, 1))], "run-b")
    assert (listed(workspace)["run-a"]["strict"], listed(workspace)["run-b"]["strict"]) == (1.0, 0.5)
    with RunWriter.resume(workspace, "run-a") as writer:
        writer.append(answer("tiny-000", wrong(data, 0)))
        writer.finish()
    shutil.rmtree(run_folder(workspace, "run-b"))
    make_run(data, [answer("tiny-000", wrong(data, 0)), answer("tiny-001", wrong(data, 1))], "run-b")
    found = listed(workspace)
    assert (found["run-a"]["strict"], found["run-a"]["errors"]) == (0.5, 0)
    assert found["run-b"]["strict"] == 0.0
    shutil.rmtree(run_folder(workspace, "run-b"))
    assert list(listed(workspace)) == ["run-a"]


def test_a_change_is_seen_though_the_clock_was_set_back(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=1)
    make_run(data, [answer("tiny-000", right(data, 0))])
    record = run_folder(workspace, "run-a") / "run.json"
    before = record.stat()
    assert listed(workspace)["run-a"]["prompt"] == "baseline"
    record.write_text(record.read_text().replace("baseline", "benzolin"))  # as long as before
    os.utime(record, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert listed(workspace)["run-a"]["prompt"] == "benzolin"


def test_a_workspace_that_was_moved_keeps_its_runs(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=1)
    make_run(data, [answer("tiny-000", right(data, 0))])
    listed(workspace)
    moved = Workspace(workspace.root.rename(workspace.root.with_name("moved")))
    catalog = Catalog(moved)
    assert catalog.one_prediction("run-a", "tiny-000").prediction.content == right(data, 0)


@pytest.mark.parametrize("damage", ["torn", "garbage", "flipped", "version", "gone", "a folder"])
def test_an_index_that_cannot_be_used_is_made_again(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun, damage: str
) -> None:
    data = tiny_dataset(n=1)
    make_run(data, [answer("tiny-000", right(data, 0))])
    first = listed(workspace)
    index = workspace.cache / "runs.json"
    whole = index.read_bytes()
    assert b"run-a" in whole
    index.unlink()
    match damage:
        case "torn":
            index.write_bytes(whole[: len(whole) // 2])
        case "garbage":
            index.write_bytes(b"\0" * 100)
        case "flipped":
            index.write_bytes(whole.replace(b"baseline", b"bassline"))
        case "version":
            index.write_bytes(whole[:65] + json.dumps({"version": "0", "runs": {}}).encode())
        case "a folder":
            index.mkdir()
    assert listed(workspace) == first
    if damage != "a folder":
        assert index.read_bytes() == whole


def test_runs_are_listed_by_one_process_while_another_finishes_them(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=1)
    catalog = Catalog(workspace)
    code = (
        "from audioreason.runs import Catalog; from audioreason.workspace import Workspace;"
        f"print(len(Catalog(Workspace.open({str(workspace.root)!r})).runs()))"
    )
    for count in range(1, 3):
        make_run(data, [answer("tiny-000", right(data, 0))], f"run-{count}")
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        catalog.refresh()
        assert int(other.stdout) == len(catalog.runs()) == count


def test_runs_of_before_are_listed_alike(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_dataset(n=6, kind="benchmark")
    make_run(data, mixed(data))
    kept = listed(workspace)
    (workspace.cache / "runs.json").unlink()
    monkeypatch.setattr(loading, "read_totals", lambda *_: [])  # as in a file of scores without a note
    assert listed(workspace) == kept
    assert score_run(workspace, "run-a").exists()


def test_a_live_run_is_never_indexed(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset(n=2)
    with RunWriter.create(workspace, make_record(data), data.items) as writer:
        writer.append(answer("tiny-000", right(data, 0)))
        assert listed(workspace)["run-a"]["recorded"] == 1
        writer.append(answer("tiny-001", right(data, 1)))
        assert listed(workspace)["run-a"]["recorded"] == 2
