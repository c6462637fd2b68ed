"""The writer: nothing recorded is lost, nothing is recorded twice, whatever dies and whenever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import strategies as st

from audioreason.errors import RunError
from audioreason.runs import RunWriter, new_run_id, run_folder, run_status
from audioreason.runs import writer as writer_module
from audioreason.runs.storage import (
    stored_keys,
    write_predictions,
)
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.runs.conftest import answer, failure, make_record, stored

ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=80)


def test_a_run_goes_from_pending_to_finished(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset(n=3)
    folder = run_folder(workspace, "run-a")
    with RunWriter.create(workspace, make_record(data), data.items) as writer:
        assert run_status(folder) == "running"
        assert writer.pending() == [("tiny-000", 0), ("tiny-001", 0), ("tiny-002", 0)]
        writer.append(answer("tiny-001", "two"))
        assert writer.pending() == [("tiny-000", 0), ("tiny-002", 0)]
        with pytest.raises(RunError, match="2 predictions are missing"):
            writer.finish()
    assert run_status(folder) == "stopped"
    with RunWriter.resume(workspace, "run-a") as writer:
        for item_id, sample in writer.pending():
            writer.append(answer(item_id, "one", sample))
        writer.finish()
    assert run_status(folder) == "finished"
    assert sorted(path.name for path in folder.iterdir()) == [
        "items.parquet",
        "lock",
        "predictions.parquet",
        "run.json",
    ]
    assert [prediction.item_id for prediction in stored(workspace)] == ["tiny-000", "tiny-001", "tiny-002"]


def test_errors_stay_pending_and_a_later_answer_supersedes_them(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset(n=2)
    with RunWriter.create(workspace, make_record(data), data.items) as writer:
        writer.append(failure("tiny-000"))
        writer.append(answer("tiny-001", "two"))
        writer.append(failure("tiny-001"))  # an error never replaces an answer
        assert writer.pending() == [("tiny-000", 0)]
        writer.finish()
    first = stored(workspace)
    assert [(p.item_id, p.error_kind, p.content) for p in first] == [
        ("tiny-000", "http_500", None),
        ("tiny-001", None, "two"),
    ]
    with RunWriter.resume(workspace, "run-a") as writer:  # a finished run with an error can be resumed
        assert run_status(writer.folder) == "running"
        assert writer.pending() == [("tiny-000", 0)]
        writer.append(failure("tiny-000"))
        writer.append(answer("tiny-000", "one", attempt=2))
        writer.finish()
    assert [(p.item_id, p.error_kind, p.content) for p in stored(workspace)] == [
        ("tiny-000", None, "one"),
        ("tiny-001", None, "two"),
    ]


def test_a_run_with_an_error_that_is_opened_and_left_stays_finished(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset(n=1)
    with RunWriter.create(workspace, make_record(data), data.items) as writer:
        writer.append(failure("tiny-000"))
        writer.finish()
    with RunWriter.resume(workspace, "run-a") as writer:
        assert writer.pending() == [("tiny-000", 0)]
    assert run_status(run_folder(workspace, "run-a")) == "finished"
    assert not (run_folder(workspace, "run-a") / "predictions.jsonl").exists()


def test_samples_are_pending_one_by_one(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset(n=2)
    with RunWriter.create(workspace, make_record(data, samples=3), data.items) as writer:
        writer.append(answer("tiny-000", "one", sample=1))
        assert writer.pending() == [
            ("tiny-000", 0),
            ("tiny-000", 2),
            ("tiny-001", 0),
            ("tiny-001", 1),
            ("tiny-001", 2),
        ]


def test_foreign_predictions_are_refused(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset(n=1)
    with RunWriter.create(workspace, make_record(data), data.items) as writer:
        with pytest.raises(RunError, match="no sample 0 of 'other'"):
            writer.append(answer("other", "one"))
        with pytest.raises(RunError, match="no sample 1 of 'tiny-000'"):
            writer.append(answer("tiny-000", "one", sample=1))


def test_two_writers_cannot_write_one_run(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset(n=1)
    with RunWriter.create(workspace, make_record(data), data.items) as writer:
        with pytest.raises(RunError, match="Another process is writing the run run-a"):
            RunWriter.resume(workspace, "run-a")
        with pytest.raises(RunError, match="There is a run run-a already"):
            RunWriter.create(workspace, make_record(data), data.items)
        writer.append(answer("tiny-000", "one"))
        writer.finish()
    RunWriter.resume(workspace, "run-a").close()


def test_a_second_process_cannot_write_either(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset(n=1)
    script = (
        "import sys; from audioreason.runs import RunWriter; from audioreason.workspace import Workspace\n"
        "RunWriter.resume(Workspace.open(sys.argv[1]), 'run-a')"
    )
    with RunWriter.create(workspace, make_record(data), data.items):
        found = subprocess.run(
            [sys.executable, "-c", script, workspace.root], capture_output=True, text=True, check=False
        )
    assert "Another process is writing the run run-a" in found.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 5}, "seed was 0 and is now 5"),
        ({"split": "dev"}, "split was full and is now dev"),
        ({"limit": 1}, "limit was unset and is now 1"),
        ({"samples": 2}, "samples was 1 and is now 2"),
    ],
)
def test_resume_names_what_differs(
    workspace: Workspace, tiny_dataset: TinyDataset, change: dict[str, object], words: str
) -> None:
    data = tiny_dataset(n=1)
    RunWriter.create(workspace, make_record(data), data.items).close()
    with pytest.raises(RunError, match=words):
        RunWriter.resume(workspace, "run-a", expected=make_record(data, **change))  # type: ignore[arg-type]


def test_resume_allows_another_port_and_refuses_another_model_prompt_or_dataset(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset(n=1)
    record = make_record(data)
    assert record.endpoint is not None
    assert record.prompt is not None
    RunWriter.create(workspace, record, data.items).close()
    moved = record.endpoint.model_copy(
        update={"base_url": "http://127.0.0.1:2/v1", "transport": "input_audio"}
    )
    RunWriter.resume(workspace, "run-a", expected=record.model_copy(update={"endpoint": moved})).close()
    for field, value in (
        ("endpoint", record.endpoint.model_copy(update={"model": "other"})),
        ("prompt", record.prompt.model_copy(update={"version": "ffffffffffff"})),
        ("dataset", record.dataset.model_copy(update={"hash": "000000000000"})),
    ):
        with pytest.raises(RunError, match=r"(model|prompt version|dataset hash) was .* and is now"):
            RunWriter.resume(workspace, "run-a", expected=record.model_copy(update={field: value}))


@pytest.mark.parametrize("bad", ["../x", "", ".hidden", "a/b", "x" * 121, "a\0b", "é"])
def test_an_id_that_is_no_folder_name_is_refused(
    workspace: Workspace, tiny_dataset: TinyDataset, bad: str
) -> None:
    data = tiny_dataset(n=1)
    with pytest.raises(RunError, match="cannot be the id of a run"):
        RunWriter.create(workspace, make_record(data, run_id=bad), data.items)


def test_new_ids_are_readable_sort_by_time_and_differ() -> None:
    ids = [new_run_id("Structured Reasoning!") for _ in range(40)]
    assert all(name[8] == "-" and "-structured-reasoning-" in name for name in ids)
    assert len(set(ids)) > 35


def test_creating_leaves_nothing_behind_when_it_fails(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset(n=2)
    with pytest.raises(RunError, match="share the id"):
        RunWriter.create(workspace, make_record(data), [data.items[0], data.items[0]])
    with pytest.raises(RunError, match="at least one item"):
        RunWriter.create(workspace, make_record(data), [])
    assert list(workspace.runs.glob("*")) == []


# --- death at any point of finishing ---


class Died(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


@pytest.mark.parametrize("point", ["before parquet", "half parquet", "after parquet", "before unlink"])
def test_a_crash_between_any_two_steps_of_finish_is_recoverable(
    workspace: Workspace, tiny_dataset: TinyDataset, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    data = tiny_dataset(n=3)
    predictions = [answer("tiny-000", "one"), failure("tiny-001"), answer("tiny-002", "two \0 ☃")]
    writer = RunWriter.create(workspace, make_record(data), data.items)
    for prediction in predictions:
        writer.append(prediction)
    folder = writer.folder

    def die(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        if point == "before parquet":
            patch.setattr(writer_module, "write_predictions", die)
        elif point == "half parquet":
            patch.setattr(Path, "replace", die)
            patch.setattr(Path, "unlink", die)  # a killed process cleans nothing up
        elif point == "after parquet":
            real = write_predictions

            def write_then_die(*args: object) -> None:
                real(*args)  # type: ignore[arg-type]
                raise Died

            patch.setattr(writer_module, "write_predictions", write_then_die)
        else:
            patch.setattr(Path, "unlink", die)
        with pytest.raises(Died):
            writer.finish()
    writer._lock.release()  # the kernel does this when a process dies

    assert stored_keys(folder) == {("tiny-000", 0): True, ("tiny-001", 0): False, ("tiny-002", 0): True}
    with RunWriter.resume(workspace, "run-a") as again:
        assert again.pending() == [("tiny-001", 0)]
        again.append(answer("tiny-001", "three"))
        again.finish()
    assert run_status(folder) == "finished"
    assert not list(folder.glob(".*")), "no half-written file is left"
    assert [(p.item_id, p.content) for p in stored(workspace)] == [
        ("tiny-000", "one"),
        ("tiny-001", "three"),
        ("tiny-002", "two \0 ☃"),
    ]


def test_finishing_again_drops_the_scores_of_the_old_predictions(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset(n=1)
    with RunWriter.create(workspace, make_record(data), data.items) as writer:
        writer.append(failure("tiny-000"))
        writer.finish()
    derived = writer.folder / "derived"
    derived.mkdir()
    (derived / "scores@1.parquet").write_bytes(b"old")
    (derived / "judge@1.parquet").write_bytes(b"costly")
    with RunWriter.resume(workspace, "run-a") as writer:
        writer.append(answer("tiny-000", "one"))
        writer.finish()
    assert [path.name for path in derived.iterdir()] == ["judge@1.parquet"]
