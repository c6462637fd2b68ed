"""How predictions lie on disk: any text, a tail torn at any byte, a full disk."""

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

from audioreason.runs import Prediction, RunWriter, run_status
from audioreason.runs.storage import (
    decode_line,
    encode_line,
    merged_predictions,
    read_jsonl,
    write_predictions,
)
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.runs.conftest import answer, make_record, stored

ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=80)


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


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"\xff\xfe",
        b"[]",
        b'{"item_id": "a"}',
        b'{"item_id": 5, "sample": 0}',
        b'{"item_id": "a", "sample": true}',
        b'{"item_id": "a", "sample": 0, "content": 7}',
        b'{"item_id": "a", "sample": 0, "completion_tokens": "many"}',
        b'{"item_id": "a", "sample": 0, "completion_tokens": 99999999999}',
        b'{"item_id": "a", "sample": 0, "seconds": "long"}',
    ],
)
def test_a_damaged_line_is_no_prediction(line: bytes) -> None:
    assert decode_line(line) is None
    assert decode_line(b'{"item_id": "a", "sample": 0, "of a later version": [1]}') == Prediction("a")


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
