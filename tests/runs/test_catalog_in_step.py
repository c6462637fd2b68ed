"""The catalog keeps in step with the disk: runs that live, change, break and go."""

from __future__ import annotations

import os
import shutil
import threading

import pytest

from audioreason.answers import SCORER_VERSION
from audioreason.errors import RunError
from audioreason.runs import (
    Catalog,
    Filter,
    RunWriter,
    loading,
    run_folder,
    score_run,
)
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.runs.conftest import MakeRun, answer, failure, make_record


def test_a_live_run_is_followed_record_by_record(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset(n=4)
    catalog = Catalog(workspace)
    catalog.refresh()

    def row() -> tuple[object, ...]:
        catalog.refresh()
        found = catalog.runs().iloc[0]
        return found["status"], found["recorded"], found["answered"], found["strict"]

    with RunWriter.create(workspace, make_record(data), data.items) as writer:
        assert row()[:3] == ("running", 0, 0)
        writer.append(answer("tiny-000", "one"))
        assert row() == ("running", 1, 1, 1.0)
        writer.append(failure("tiny-001"))
        writer.append(answer("tiny-002", "one"))
        assert row() == ("running", 3, 2, 0.5)
        writer.append(answer("tiny-001", "two"))  # supersedes the error
        assert row() == ("running", 3, 3, pytest.approx(2 / 3))
        assert catalog.predictions().total == 3
        assert catalog.one_prediction("run-a", "tiny-001").prediction.content == "two"
    assert row()[0] == "stopped"
    with RunWriter.resume(workspace, "run-a") as writer:
        writer.append(answer("tiny-003", "four"))
        writer.finish()
    assert row() == ("finished", 4, 4, 0.75)
    assert catalog.one_prediction("run-a", "tiny-001").prediction.content == "two"


def test_errors_retried_in_a_finished_run_show_at_once(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=2)
    make_run(data, [failure("tiny-000"), answer("tiny-001", "two")])
    catalog = Catalog(workspace)
    assert catalog.runs().iloc[0]["errors"] == 1
    with RunWriter.resume(workspace, "run-a") as writer:
        writer.append(answer("tiny-000", "one"))
        catalog.refresh()
        row = catalog.runs().iloc[0]
        assert (row["status"], row["errors"], row["strict"]) == ("running", 0, 1.0)
        assert catalog.one_prediction("run-a", "tiny-000").prediction.content == "one"
        assert catalog.one_prediction("run-a", "tiny-001").prediction.content == "two"
        writer.finish()
    catalog.refresh()
    row = catalog.runs().iloc[0]
    assert (row["status"], row["errors"], row["strict"]) == ("finished", 0, 1.0)


def test_runs_that_come_and_go_are_noticed(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=1)
    catalog = Catalog(workspace)
    assert catalog.runs().empty
    make_run(data, [answer("tiny-000", "one")])
    catalog.refresh()
    assert list(catalog.runs()["run_id"]) == ["run-a"]
    shutil.rmtree(run_folder(workspace, "run-a"))
    catalog.refresh()
    assert catalog.runs().empty
    assert catalog.predictions().total == 0


BREAKAGES = {
    "run.json half": ("run.json", b'{"run_id": "run-b", "cre', "is not a run's record"),
    "run.json gone": ("run.json", None, "cannot be read"),
    "items half": ("items.parquet", b"PAR1....", "run-b"),
    "items gone": ("items.parquet", None, "run-b"),
    "predictions half": ("predictions.parquet", b"PAR1....", "run-b"),
    "predictions empty": ("predictions.parquet", b"", "run-b"),
    "scores half": ("derived/scores@{version}.parquet", b"PAR1....", "run-b"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_run_is_named_and_breaks_no_other(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun, name: str
) -> None:
    data = tiny_dataset(n=2)
    for run_id in ("run-a", "run-b", "run-c"):
        make_run(data, [answer(item.id, item.answer) for item in data.items], run_id)
    file, content, words = BREAKAGES[name]
    path = run_folder(workspace, "run-b") / file.format(version=SCORER_VERSION)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    catalog = Catalog(workspace)
    frame = catalog.runs().set_index("run_id")
    assert {"run-a", "run-c"} <= set(frame.index)
    assert frame.loc["run-a", "strict"] == frame.loc["run-c", "strict"] == 1.0
    (problem,) = catalog.problems()
    assert words in problem
    assert "run-b" in problem
    assert catalog.problems() == [problem], "it is said again on every look"


def test_a_broken_run_that_is_repaired_comes_back(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=1)
    make_run(data, [answer("tiny-000", "one")])
    path = run_folder(workspace, "run-a") / "predictions.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    catalog = Catalog(workspace)
    assert len(catalog.problems()) == 1
    path.write_bytes(whole)
    catalog.refresh()
    assert catalog.problems() == []
    assert catalog.runs().iloc[0]["strict"] == 1.0


def test_a_folder_under_another_name_says_how_to_mend_it(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=1)
    make_run(data, [answer("tiny-000", "one")])
    shutil.copytree(run_folder(workspace, "run-a"), run_folder(workspace, "run-copy"))
    catalog = Catalog(workspace)
    (problem,) = catalog.problems()
    assert "Rename the folder to run_id=run-a" in problem
    with pytest.raises(RunError, match="Rename the folder"):
        catalog.accuracy_by("run-copy", "layer")


def test_unscored_runs_wait_for_a_budget_and_say_so(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_dataset(n=1)
    make_run(data, [answer("tiny-000", "one")])
    shutil.rmtree(run_folder(workspace, "run-a") / "derived")
    hurried = Catalog(workspace, scoring_budget=0.0)
    assert hurried.runs().iloc[0]["recorded"] == 0
    assert "audioreason score run-a" in hurried.problems()[0]
    score_run(workspace, "run-a")
    hurried.refresh()
    assert hurried.runs().iloc[0]["strict"] == 1.0
    assert hurried.problems() == []
    # scores by an earlier version of the scorer serve until this one has been
    (old,) = (run_folder(workspace, "run-a") / "derived").iterdir()
    old.rename(old.with_name("scores@0.parquet"))
    hurried.refresh()
    row = hurried.runs().iloc[0]
    assert (row["scorer"], row["strict"]) == ("0", 1.0)
    make_run(data, [answer("tiny-000", "one")], "run-b")
    hurried.refresh()
    assert "two versions of the scorer" in hurried.paired("run-a", "run-b").note
    patient = Catalog(workspace)
    assert set(patient.runs()["scorer"]) == {SCORER_VERSION}
    assert patient.problems() == []


def test_a_hurried_look_follows_a_long_live_run_in_steps(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset(n=200, clips=False)
    with RunWriter.create(workspace, make_record(data), data.items) as writer:
        for item in data.items:
            writer.append(answer(item.id, item.answer))
        catalog = Catalog(workspace, scoring_budget=0.0)
        seen = []
        for _ in range(6):
            catalog.refresh()
            seen.append(int(catalog.runs().iloc[0]["recorded"]))
    assert 0 < seen[0] < 200
    assert seen == sorted(seen)
    assert seen[-1] == 200


def test_unreadable_lines_of_a_live_run_are_counted(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset(n=2)
    with RunWriter.create(workspace, make_record(data), data.items) as writer:
        writer.append(answer("tiny-000", "one"))
        writer._live.append(b"garbage")
        writer.append(answer("tiny-001", "two"))
    catalog = Catalog(workspace)
    assert catalog.runs().iloc[0]["recorded"] == 2
    assert "1 lines of" in catalog.problems()[0]


def test_nothing_is_read_again_when_nothing_changed(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_dataset(n=1)
    make_run(data, [answer("tiny-000", "one")])
    catalog = Catalog(workspace)
    catalog.refresh()

    def never(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(loading, "read_record", never)
    catalog.refresh()
    os.utime(run_folder(workspace, "run-a") / "run.json", (1, 1))
    with pytest.raises(AssertionError, match="read again"):
        catalog.refresh()


def test_many_threads_may_ask_while_a_run_is_written(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset(n=120, clips=False)
    catalog = Catalog(workspace)
    failures: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        try:
            while not stop.is_set():
                catalog.refresh()
                frame = catalog.runs()
                if len(frame):
                    assert frame.iloc[0]["recorded"] <= 120
                    catalog.accuracy_by("run-a", "layer")
                    for row in catalog.predictions(Filter(outcome=("correct",)), limit=3).rows.itertuples():
                        assert catalog.one_prediction("run-a", str(row.item_id)).scored.strict
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    with RunWriter.create(workspace, make_record(data), data.items) as writer:
        for item in data.items:
            writer.append(answer(item.id, item.answer))
        writer.finish()
    score_run(workspace, "run-a")
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    catalog.refresh()
    assert catalog.runs().iloc[0]["strict"] == 1.0
