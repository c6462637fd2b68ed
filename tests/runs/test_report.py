"""Scores from stored answers, and the report of one run."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from audioreason.errors import RunError
from audioreason.items import Item
from audioreason.runs import (
    Prediction,
    RunWriter,
    derive,
    import_predictions,
    run_folder,
    score_prediction,
    score_report,
    score_run,
    scored,
)
from audioreason.stats import wilson
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.runs.conftest import MakeRun, answer, failure, make_record, right, wrong


def test_a_report_counts_answers_errors_and_groups(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=6)
    ids = [item.id for item in data.items]
    make_run(
        data,
        [
            answer(ids[0], right(data, 0)),
            answer(ids[1], wrong(data, 1)),
            failure(ids[2]),
            answer(ids[3], f"ANSWER: {right(data, 3)}"),
            answer(ids[4], "I cannot say."),
            answer(ids[5], right(data, 5)),
        ],
    )
    report = score_report(workspace, "run-a")
    assert (report["run"], report["n"], report["answered"]) == ("run-a", 6, 5)
    assert (report["errors"], report["pending"], report["unrated"]) == (1, 0, 0)
    assert report["strict"] == {
        "correct": 3,
        "accuracy": 3 / 5,
        "ci95": list(wilson(3, 5)),
        "accuracy_all": 3 / 6,
    }
    assert report["official"]["correct"] == 3
    assert report["outcomes"]["server_error"] == 1
    assert report["by"]["category"] == {
        "Cultural Layer": {"n": 1, "strict": 1.0, "official": 1.0},  # item 2 was the server's fault
        "Semantic Layer": {"n": 2, "strict": 0.0, "official": 0.0},
        "Signal Layer": {"n": 2, "strict": 1.0, "official": 1.0},
    }
    assert report["by"]["language"] == {"en": {"n": 5, "strict": 3 / 5, "official": 3 / 5}}
    assert set(report["by"]) == {"category", "subcategory", "modality", "language"}
    assert report["disagreements"] == []


def test_disagreements_are_the_items_where_the_two_scores_differ(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=2)
    make_run(data, [answer(data.items[0].id, "B"), answer(data.items[1].id, "B")])
    report = score_report(workspace, "run-a")
    assert data.items[1].answer == "two"
    assert report["strict"]["correct"] == 1  # B is "two"
    assert report["official"]["correct"] == 0  # the letter has none of the answer's words
    assert report["disagreements"] == [data.items[1].id]


def test_several_samples_count_as_the_mean_of_their_item(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=2)
    first, second = (item.id for item in data.items)
    make_run(
        data,
        [
            answer(first, right(data, 0), 0),
            answer(first, wrong(data, 0), 1),
            failure(first, 2),
            answer(second, right(data, 1), 0),
            answer(second, right(data, 1), 1),
            answer(second, right(data, 1), 2),
        ],
        samples=3,
    )
    report = score_report(workspace, "run-a")
    assert (report["n"], report["answered"], report["samples"]) == (2, 2, 3)
    assert report["strict"]["correct"] == pytest.approx(1.5)
    assert report["strict"]["accuracy"] == pytest.approx(0.75)


def test_a_split_is_reported_alone_and_an_unknown_one_refused(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=8, kind="benchmark")
    make_run(data, [answer(item.id, item.answer) for item in data.items])
    halves = [score_report(workspace, "run-a", split=name)["n"] for name in ("explore", "sealed")]
    assert sum(halves) == 8
    assert 0 < halves[0] < 8
    assert score_report(workspace, "run-a", split="full")["n"] == 8
    with pytest.raises(RunError, match=r"no items of the split 'dev'.*explore, sealed"):
        score_report(workspace, "run-a", split="dev")


def test_a_stopped_run_is_scored_as_far_as_it_went(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset(n=4)
    with RunWriter.create(workspace, make_record(data), data.items) as writer:
        writer.append(answer(data.items[0].id, data.items[0].answer))
    report = score_report(workspace, "run-a")
    assert (report["n"], report["answered"], report["pending"], report["status"]) == (4, 1, 3, "stopped")
    assert report["strict"]["accuracy"] == 1.0
    assert report["strict"]["accuracy_all"] == 0.25
    with pytest.raises(RunError, match="is not finished"):
        score_run(workspace, "run-a")


def test_a_run_without_any_answer_has_no_accuracy(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=2)
    make_run(data, [failure(item.id) for item in data.items])
    report = score_report(workspace, "run-a")
    assert report["answered"] == 0
    assert report["strict"]["accuracy"] is None
    assert report["strict"]["accuracy_all"] == 0.0
    assert report["by"]["category"] == {}


def test_an_item_without_gold_is_in_no_accuracy() -> None:
    item = Item(id="a", question="?", choices=("x", "y"), answer="z")
    row = score_prediction(Prediction("a", content="x"), item)
    assert (row.choice, row.strict, row.official) == (0, None, None)


def test_scores_are_kept_until_the_scorer_changes(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_dataset(n=2)
    make_run(data, [answer(item.id, "one") for item in data.items])
    first = score_run(workspace, "run-a")
    before = first.stat()
    assert score_run(workspace, "run-a").stat().st_ino == before.st_ino
    assert score_run(workspace, "run-a", force=True).stat().st_ino != before.st_ino
    monkeypatch.setattr(derive, "scores_path", lambda folder: folder / "derived" / "scores@next.parquet")
    again = score_run(workspace, "run-a")
    assert again.name == "scores@next.parquet"
    assert pq.read_table(again).equals(pq.read_table(first))


def test_predictions_that_change_while_they_are_scored_are_scored_again(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_dataset(n=1)
    make_run(data, [failure(data.items[0].id)])
    real = derive.write_rows
    finished_again = []

    def write_rows(*args: object) -> int:
        count = real(*args)  # type: ignore[arg-type]
        if not finished_again:
            finished_again.append(True)
            with RunWriter.resume(workspace, "run-a") as writer:
                writer.append(answer(data.items[0].id, right(data, 0)))
                writer.finish()
        return count

    monkeypatch.setattr(derive, "write_rows", write_rows)
    score_run(workspace, "run-a", force=True)
    assert [row.outcome for row in scored(workspace, "run-a")] == ["correct"]


def test_a_half_written_file_is_named(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=2)
    make_run(data, [answer(item.id, "one") for item in data.items])
    (run_folder(workspace, "run-a") / "predictions.parquet").write_bytes(b"PAR1 half")
    with pytest.raises(RunError, match=r"predictions\.parquet cannot be read"):
        score_run(workspace, "run-a", force=True)
    with pytest.raises(RunError, match="no run 'nope'"):
        score_report(workspace, "nope")


def test_a_thousand_predictions_score_quickly(
    workspace: Workspace, mmar_meta: Path, mmar_traces: Path
) -> None:
    from audioreason.items import import_mmar

    import_mmar(workspace, mmar_meta, name="mmar")
    import_predictions(workspace, mmar_traces, "mmar", "traces")
    start = time.perf_counter()
    score_run(workspace, "traces", force=True)
    assert time.perf_counter() - start < 5  # 500 take 0.1 s; only a runaway pattern would take this long
