"""Import and export: nothing is dropped in silence, and what leaves can come back."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from audioreason.errors import RunError
from audioreason.items import Item, import_folder, load_dataset, save_dataset
from audioreason.runs import (
    Catalog,
    RunWriter,
    export_run,
    import_predictions,
    load_record,
    run_status,
    score_report,
)
from audioreason.runs.record import run_folder
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.runs.conftest import MakeRun, answer, failure, make_record, right, wrong


def entry(item_id: str, text: str | None, thinking: str | None = "I listened.") -> dict[str, object]:
    return {"id": item_id, "answer_prediction": text, "thinking_prediction": thinking}


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_import_is_a_finished_scored_run(
    workspace: Workspace, tiny_dataset: TinyDataset, tmp_path: Path
) -> None:
    data = tiny_dataset(n=4)
    rows = [entry(item.id, right(data, i) if i else wrong(data, i)) for i, item in enumerate(data.items)]
    outcome = import_predictions(workspace, write_jsonl(tmp_path / "mine.jsonl", rows), "tiny", "mine")
    assert (outcome.run_id, outcome.imported) == ("mine", 4)
    assert outcome.remarks == ("4 predictions imported as mine.",)
    assert load_record(workspace, "mine").kind == "import"
    assert run_status(run_folder(workspace, "mine")) == "finished"
    report = score_report(workspace, "mine")
    assert (report["n"], report["answered"], report["strict"]["correct"]) == (4, 4, 3)
    frame = Catalog(workspace).runs()
    assert list(frame["run_id"]) == ["mine"]


def test_a_json_list_is_read_like_jsonl(
    workspace: Workspace, tiny_dataset: TinyDataset, tmp_path: Path
) -> None:
    data = tiny_dataset(n=2)
    path = tmp_path / "mine.json"
    path.write_text("\ufeff" + json.dumps([entry(item.id, "one") for item in data.items], indent=2))
    outcome = import_predictions(workspace, path, "tiny")
    assert outcome.imported == 2
    assert "import-mine" in outcome.run_id


def test_unknown_missing_and_duplicate_ids_are_named(
    workspace: Workspace, tiny_dataset: TinyDataset, tmp_path: Path
) -> None:
    data = tiny_dataset(n=3)
    rows = [
        entry("tiny-000", right(data, 0)),
        entry("elsewhere", "one"),
        entry("tiny-000", wrong(data, 0)),
        entry("tiny-002", None, None),
    ]
    outcome = import_predictions(workspace, write_jsonl(tmp_path / "x.jsonl", rows), "tiny", "x")
    assert outcome.unknown == ("elsewhere",)
    assert outcome.missing == ("tiny-001",)
    assert outcome.duplicates == ("tiny-000",)
    assert len(outcome.remarks) == 4
    assert any("elsewhere" in remark for remark in outcome.remarks)
    report = score_report(workspace, "x")
    assert (report["n"], report["strict"]["correct"]) == (2, 1), "the first of a duplicate counts"
    assert report["outcomes"] == {"correct": 1, "unresolved": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("[]", "the file is empty"),
        ('{"id": "other", "answer_prediction": "x"}\n', "the first is 'other'"),
        ('{"answer_prediction": "x"}\n', "line 1, has no id"),
        ('{"id": "tiny-000"}\n', "line 1, has no answer_prediction"),
        (
            '\n{"id": "tiny-000", "answer_prediction": 4}\n',
            "line 2, has a answer_prediction that is not text",
        ),
        ("{broken\n", "line 1, is not JSON"),
        ('[{"id": 3}]', "entry 1, has no answer_prediction. It has id"),
    ],
)
def test_a_file_that_is_not_of_the_form_imports_nothing(
    workspace: Workspace, tiny_dataset: TinyDataset, tmp_path: Path, text: str, words: str
) -> None:
    tiny_dataset(n=1)
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(RunError, match=words):
        import_predictions(workspace, path, "tiny", "bad")
    assert not run_folder(workspace, "bad").exists()
    with pytest.raises(RunError, match="cannot be read"):
        import_predictions(workspace, tmp_path / "absent.jsonl", "tiny")


def test_the_submission_form_survives_a_round_trip(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun, tmp_path: Path
) -> None:
    data = tiny_dataset(n=4)
    ids = [item.id for item in data.items]
    make_run(
        data,
        [
            answer(ids[0], f"<think>two tones\nperhaps</think>\nANSWER: {right(data, 0)}", reasoning=None),
            answer(ids[1], wrong(data, 1)),
            failure(ids[2]),
            answer(ids[3], f"(D) {right(data, 3)}"),
        ],
    )
    path = tmp_path / "out.jsonl"
    assert export_run(workspace, "run-a", "mmar", path) == 3, "a server's failure is not a submission"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == {
        "id": ids[0],
        "thinking_prediction": "two tones\nperhaps",
        "answer_prediction": right(data, 0),
    }
    import_predictions(workspace, path, "tiny", "again")
    before, after = score_report(workspace, "run-a"), score_report(workspace, "again")
    for score in ("strict", "official"):
        assert after[score]["correct"] == before[score]["correct"]


def test_csv_has_the_promised_columns_and_runs_no_formula(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun, tmp_path: Path
) -> None:
    data = tiny_dataset(n=2)
    nasty = ['=HYPERLINK("http://x")', "@SUM(1)", "+1", "-2", "\tx", "\rx"]
    items = [
        Item(id=f"={i}", question="?", choices=(text, "plain, \"quoted\"\nline"), answer=text)
        for i, text in enumerate(nasty)
    ]  # fmt: skip
    save_dataset(workspace.datasets / "tiny", data.info, items)
    data = load_dataset(workspace, "tiny")
    make_run(
        data, [answer(item.id, item.choices[i % 2], completion_tokens=-1) for i, item in enumerate(items)]
    )
    path = tmp_path / "out.csv"
    assert export_run(workspace, "run-a", "csv", path) == len(items)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:6] == ["item_id", "sample", "choice", "strict", "official", "outcome"]
    for row in rows:
        for cell in (row["item_id"], row["choice"], row["content"]):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert row["completion_tokens"] == "-1", "a number is not a formula"
    assert rows[0]["item_id"] == "'=0"
    assert rows[0]["strict"] == "true"
    assert rows[1]["choice"] == 'plain, "quoted"\nline'


def test_parquet_has_every_prediction_with_its_scores(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun, tmp_path: Path
) -> None:
    data = tiny_dataset(n=2)
    make_run(data, [answer(data.items[0].id, right(data, 0)), failure(data.items[1].id)])
    path = tmp_path / "out.parquet"
    assert export_run(workspace, "run-a", "parquet", path) == 2
    rows = pq.read_table(path).to_pylist()
    assert [(row["outcome"], row["strict"], row["error_kind"]) for row in rows] == [
        ("correct", True, None),
        ("server_error", None, "http_500"),
    ]
    with pytest.raises(RunError, match="no format 'xml'"):
        export_run(workspace, "run-a", "xml", path)


def test_a_stopped_run_exports_what_it_has(
    workspace: Workspace, tiny_dataset: TinyDataset, tmp_path: Path
) -> None:
    data = tiny_dataset(n=3)
    with RunWriter.create(workspace, make_record(data), data.items) as writer:
        writer.append(answer(data.items[1].id, "two"))
    assert export_run(workspace, "run-a", "csv", tmp_path / "out.csv") == 1


def test_every_real_trace_is_accounted_for(
    workspace: Workspace, mmar_meta: Path, mmar_traces: Path, tmp_path: Path
) -> None:
    from audioreason.items import import_mmar

    import_mmar(workspace, mmar_meta, name="mmar")
    outcome = import_predictions(workspace, mmar_traces, "mmar", "traces")
    ids = [json.loads(line)["id"] for line in mmar_traces.read_text().splitlines()]
    assert outcome.imported + len(outcome.unknown) + len(ids) - len(set(ids)) == 500
    assert outcome.imported + len(outcome.missing) == 1000
    report = score_report(workspace, "traces")
    assert report["n"] == report["answered"] == outcome.imported
    assert sum(report["outcomes"].values()) == outcome.imported
    assert 0.5 < report["strict"]["accuracy"] < 0.7
    for groups in report["by"].values():
        assert sum(group["n"] for group in groups.values()) == outcome.imported
        correct = sum(group["official"] * group["n"] for group in groups.values())
        assert correct == pytest.approx(report["official"]["correct"])
    assert export_run(workspace, "traces", "mmar", tmp_path / "back.jsonl") == outcome.imported


def test_ids_that_pandas_made_numbers_of_and_rows_in_lmms_samples_are_matched(
    workspace: Workspace, tmp_path: Path
) -> None:
    row = {"id": 1, "question": "Which?", "choices": ["bell", "drum"], "answer": "drum"}
    (tmp_path / "own.json").write_text(json.dumps([row]))
    import_folder(workspace, tmp_path / "own.json", "own")
    (tmp_path / "floats.csv").write_text("id,prediction\n1.0,drum\n")
    assert import_predictions(workspace, tmp_path / "floats.csv", "own", "floats").unknown == ()
    line = {"doc_id": 7, "doc": row, "target": "drum", "resps": [["drum"]], "filtered_resps": ["drum"]}
    outcome = import_predictions(workspace, write_jsonl(tmp_path / "x.jsonl", [line]), "own", "lmms")
    assert (outcome.imported, outcome.unknown) == (1, ())
