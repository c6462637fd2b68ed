"""The writer: nothing recorded is lost, nothing is recorded twice, whatever dies and whenever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audioreason.errors import RunError
from audioreason.runs import Prediction, RunWriter, load_record, new_run_id, run_folder, run_status
from audioreason.runs import writer as writer_module
from audioreason.runs.storage import (
    decode_line,
    encode_line,
    merged_predictions,
    read_jsonl,
    stored_keys,
    write_predictions,
)
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.runs.conftest import answer, failure, make_record

ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=80)


def stored(workspace: Workspace, run_id: str = "run-a") -> list[Prediction]:
    """Everything a run holds, in the order of its items."""
    record = load_record(workspace, run_id)
    writer = RunWriter.resume(workspace, run_id)
    with writer:
        order = [(item.id, sample) for item in writer.items for sample in range(record.samples)]
    return list(merged_predictions(run_folder(workspace, run_id), order))


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


# --- text and torn tails ---


@given(content=st.none() | ANY_TEXT, reasoning=st.none() | ANY_TEXT, error=st.none() | ANY_TEXT)
def test_any_text_survives_a_line(content: str | None, reasoning: str | None, error: str | None) -> None:
    prediction = Prediction("id \0 ☃", 3, 2**31 - 1, content, reasoning, "stop", error, seconds=0.1)
    line = encode_line(prediction)
    assert b"\n" not in line
    assert decode_line(line + b"\n") == prediction


def test_a_lone_surrogate_becomes_a_replacement_character_and_a_pair_one_character() -> None:
    line = encode_line(Prediction("a", content="x\ud800y", reasoning="\ud83d\ude00"))
    found = decode_line(line)
    assert found is not None
    assert (found.content, found.reasoning) == ("x\ufffdy", "\U0001f600")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=6), data=st.data())
def test_a_tail_torn_at_any_byte_loses_at_most_that_record(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    data: st.DataObject,
    workspace: Workspace,
    tiny_dataset: TinyDataset,
) -> None:
    dataset = tiny_dataset(n=6, clips=False)
    run_id = tmp_path_factory.mktemp("torn").name
    writer = RunWriter.create(workspace, make_record(dataset, run_id), dataset.items)
    written = [answer(dataset.items[i].id, text) for i, text in enumerate(texts)]
    for prediction in written:
        writer.append(prediction)
    writer.close()
    live = writer.folder / "predictions.jsonl"
    raw = live.read_bytes()
    cut = data.draw(st.integers(0, len(raw)), label="cut")
    os.truncate(live, cut)
    whole = raw[:cut].count(b"\n")
    with RunWriter.resume(workspace, run_id) as again:
        assert len(again.pending()) == 6 - whole
        for item_id, sample in again.pending():
            again.append(answer(item_id, "late", sample))
        again.finish()
    found = stored(workspace, run_id)
    assert [p.item_id for p in found] == [item.id for item in dataset.items]
    assert [p.content for p in found] == texts[:whole] + ["late"] * (6 - whole)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(contents=st.lists(st.none() | ANY_TEXT, min_size=1, max_size=5))
def test_any_text_survives_finishing(tmp_path: Path, contents: list[str | None]) -> None:
    path = tmp_path / "predictions.parquet"
    written = [Prediction(f"item {i}", i, content=text, reasoning=text) for i, text in enumerate(contents)]
    write_predictions(path, written)
    assert list(merged_predictions(tmp_path, [])) == written


def test_a_line_that_is_not_a_prediction_is_reported_not_believed(tmp_path: Path) -> None:
    live = tmp_path / "predictions.jsonl"
    lines = [
        b'{"item_id": "a", "sample": 0}',
        b"not json",
        b"[1]",
        b'{"item_id": 5, "sample": 0}',
        b'{"item_id": "b", "sample": 0, "content": 7}',
        b'{"item_id": "c", "sample": 1, "new": 1}',
    ]
    live.write_bytes(b"\n".join(lines) + b"\n" + b'{"item_id": "torn"')
    found = [prediction and prediction.key for _, prediction in read_jsonl(live)]
    assert found == [("a", 0), None, None, None, None, ("c", 1)]


# --- a full disk ---


def test_a_full_disk_is_said_in_a_sentence_and_loses_nothing(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    tiny_dataset(n=8)
    script = textwrap.dedent(
        """
        import resource, sys
        from audioreason.items import load_dataset
        from audioreason.errors import WorkspaceError
        from audioreason.runs import RunWriter
        from audioreason.workspace import Workspace
        from tests.runs.conftest import answer, make_record
        workspace = Workspace.open(sys.argv[1])
        data = load_dataset(workspace, "tiny")
        writer = RunWriter.create(workspace, make_record(data), data.items)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
        try:
            for item in data.items:
                writer.append(answer(item.id, "x" * 1000))
            writer.finish()
        except WorkspaceError as error:
            print(error)
        """
    )

    def fill(run_limit: int) -> str:
        found = subprocess.run(
            [sys.executable, "-c", script, workspace.root, str(run_limit)],
            capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        return found.stdout

    said = fill(3500)
    assert "predictions.jsonl" in said
    assert "full" in said or "could not be written" in said
    with RunWriter.resume(workspace, "run-a") as writer:
        assert len(writer.pending()) == 6  # two records of 1.2 kB fit, the third was taken back
        for item_id, _ in writer.pending():
            writer.append(answer(item_id, "one"))
        writer.finish()
    assert [json.dumps(p.content)[:4] for p in stored(workspace)] == ['"xxx'] * 2 + ['"one'] * 6


def test_a_disk_that_fills_while_finishing_keeps_the_live_records(
    workspace: Workspace, tiny_dataset: TinyDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_dataset(n=2)
    writer = RunWriter.create(workspace, make_record(data), data.items)
    for item in data.items:
        writer.append(answer(item.id, "one"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Exception, match=r"disk that holds .*predictions\.parquet is full"):
            writer.finish()
    writer.close()
    assert not list(writer.folder.glob(".*"))
    assert run_status(writer.folder) == "stopped"
    with RunWriter.resume(workspace, "run-a") as again:
        assert again.pending() == []
        again.finish()
    assert run_status(writer.folder) == "finished"
