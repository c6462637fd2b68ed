"""The catalog: every question has the right answer, while runs come, grow, change, break and go."""

from __future__ import annotations

import json

import pytest

from audioreason.errors import RunError
from audioreason.items import Item, load_dataset, save_dataset
from audioreason.runs import (
    Catalog,
    Filter,
    RunWriter,
    records,
    run_folder,
    score_report,
)
from audioreason.stats import wilson
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.runs.conftest import MakeRun, answer, make_record, mixed, right, wrong


def test_the_leaderboard_agrees_with_the_report(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=8, kind="benchmark")
    make_run(data, mixed(data))
    make_run(data, [answer(item.id, item.answer) for item in data.items], "run-b", seed=3)
    catalog = Catalog(workspace)
    for split in (None, "explore", "sealed"):
        frame = catalog.runs(split).set_index("run_id")
        report = score_report(workspace, "run-a", split)
        row = frame.loc["run-a"]
        assert (row["n"], row["answered"], row["errors"]) == (
            report["n"],
            report["answered"],
            report["errors"],
        )
        assert row["strict"] == pytest.approx(report["strict"]["accuracy"])
        assert row["official"] == pytest.approx(report["official"]["accuracy"])
        assert [row["strict_low"], row["strict_high"]] == pytest.approx(report["strict"]["ci95"])
    row = catalog.runs().set_index("run_id").loc["run-b"]
    assert (row["status"], row["prompt"], row["model"], row["dataset"], row["seed"]) == (
        "finished",
        "baseline",
        "fake-model",
        "tiny",
        3,
    )
    assert row["completion_tokens"] == 9
    assert row["seconds"] == pytest.approx(0.25)
    first, second = records(catalog.runs())
    assert (first["run_id"], first["ablation"], first["n"]) == ("run-b", None, 8)
    assert json.loads(json.dumps(second))["split"] is None


def test_an_empty_workspace_has_an_empty_leaderboard(workspace: Workspace) -> None:
    catalog = Catalog(workspace)
    assert catalog.runs().empty
    assert {"run_id", "strict_low", "official_high"} <= set(catalog.runs().columns)
    assert catalog.predictions().total == 0
    assert catalog.playground().empty
    assert catalog.problems() == []
    with pytest.raises(RunError, match="There is no run 'x'"):
        catalog.accuracy_by("x", "layer")


def test_accuracy_by_group(workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun) -> None:
    data = tiny_dataset(n=9)
    make_run(data, mixed(data))
    frame = Catalog(workspace).accuracy_by("run-a", "category").set_index("group")
    report = score_report(workspace, "run-a")["by"]["category"]
    assert {name: row["n"] for name, row in report.items()} == frame["n"].to_dict()
    assert {name: row["strict"] for name, row in report.items()} == pytest.approx(frame["strict"].to_dict())
    assert frame.loc["Cultural Layer", "errors"] == 1
    assert frame.loc["Cultural Layer", "strict_low"] == pytest.approx(wilson(2, 2)[0])
    with pytest.raises(RunError, match="cannot be grouped by 'x; DROP"):
        Catalog(workspace).accuracy_by("run-a", "x; DROP TABLE runs")


def test_outcomes_by_group(workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun) -> None:
    data = tiny_dataset(n=6)
    make_run(data, mixed(data))
    frame = Catalog(workspace).outcomes_by("run-a", "layer")
    found = {(row.group, row.outcome): row.n for row in frame.itertuples()}
    assert found == {
        ("Signal Layer", "correct"): 1,
        ("Signal Layer", "unresolved"): 1,
        ("Semantic Layer", "wrong"): 1,
        ("Semantic Layer", "correct"): 1,
        ("Cultural Layer", "server_error"): 1,
        ("Cultural Layer", "correct"): 1,
    }


def test_a_page_filters_sorts_and_counts(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=8)
    make_run(data, mixed(data))
    make_run(data, mixed(data), "run-b")
    catalog = Catalog(workspace)

    def ids(where: Filter, **how: object) -> list[tuple[str, str]]:
        page = catalog.predictions(where, **how)  # type: ignore[arg-type]
        return list(zip(page.rows["run_id"], page.rows["item_id"], strict=True))

    assert catalog.predictions().total == 16
    assert ids(Filter(runs=("run-a",), outcome=("wrong", "unresolved"))) == [
        ("run-a", "tiny-001"),
        ("run-a", "tiny-003"),
    ]
    assert ids(Filter(runs=("run-a",), strict=False, layer=("Signal Layer",))) == [("run-a", "tiny-003")]
    assert ids(Filter(subcategory=("Counting",), modality=("sound",), language=("en",), runs=("run-b",))) == [
        ("run-b", "tiny-000"),
        ("run-b", "tiny-003"),
        ("run-b", "tiny-006"),
    ]
    assert ids(Filter(choice=2, runs=("run-a",))) == [("run-a", "tiny-006")]
    assert ids(Filter(gold=3, runs=("run-a",))) == [("run-a", "tiny-003"), ("run-a", "tiny-007")]
    assert ids(Filter(items=("tiny-005",))) == [("run-a", "tiny-005"), ("run-b", "tiny-005")]
    assert ids(Filter(runs=("run-a",)), sort="tokens", descending=True, limit=1) == [("run-a", "tiny-001")]
    assert ids(Filter(runs=("run-a",)), limit=2, offset=3) == [("run-a", "tiny-003"), ("run-a", "tiny-004")]
    row = catalog.predictions(Filter(runs=("run-a",), items=("tiny-001",))).rows.iloc[0]
    assert row["choice_text"] == wrong(data, 1)
    assert row["answer"] == right(data, 1)
    assert list(row["choices"]) == list(data.items[1].choices)
    with pytest.raises(RunError, match="cannot be sorted by"):
        catalog.predictions(sort="p.item_no; --")


@pytest.mark.parametrize("finished", [True, False])
def test_text_is_found_in_answers_reasoning_and_questions_whatever_its_case(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun, finished: bool
) -> None:
    data = tiny_dataset(n=6)
    if finished:
        make_run(data, mixed(data))
    else:
        with RunWriter.create(workspace, make_record(data), data.items) as writer:
            for prediction in mixed(data):
                writer.append(prediction)
        with (run_folder(workspace, "run-a") / "predictions.jsonl").open("ab") as file:
            file.write(b'{"item_id": "tiny-000", "torn')
    catalog = Catalog(workspace)

    def found(text: str, *runs: str) -> list[str]:
        return list(catalog.predictions(Filter(runs=runs, text=text)).rows["item_id"])

    assert found("ZEBRA") == ["tiny-003"]
    assert found("stripes, SURELY", "run-a") == ["tiny-003"]
    assert found("in clip 5") == ["tiny-005"]
    assert found("100%_'; DROP") == []


def test_one_prediction_comes_with_its_text_item_and_score(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=4)
    make_run(data, mixed(data))
    catalog = Catalog(workspace)
    detail = catalog.one_prediction("run-a", "tiny-003")
    assert detail.prediction.content == "I hear a zebra bark."
    assert detail.item == data["tiny-003"]
    assert detail.scored.outcome == "unresolved"
    with pytest.raises(RunError, match="no prediction for sample 1 of 'tiny-003'"):
        catalog.one_prediction("run-a", "tiny-003", sample=1)
    rows = catalog.item_predictions("run-a", "tiny-002")
    assert [(row["outcome"], row["error_kind"], row["choice_text"]) for row in rows] == [
        ("server_error", "http_500", None)
    ]
    with pytest.raises(RunError, match="no prediction for 'nope'"):
        catalog.item_predictions("run-a", "nope")


def test_the_same_item_in_every_run(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=2)
    make_run(data, [answer(item.id, item.answer) for item in data.items])
    changed = [item.model_copy(update={"question": item.question + "?"}) for item in data.items[:1]]
    save_dataset(data.root, data.info, [*changed, data.items[1]])
    later = load_dataset(workspace, "tiny")
    record_time = make_record(data).created.replace(year=2027)
    make_run(later, [answer(item.id, "one") for item in later.items], "run-b", created=record_time)
    frame = Catalog(workspace).item_in_runs("tiny", "tiny-000")
    assert list(frame["run_id"]) == ["run-b", "run-a"]
    assert list(frame["same_question"]) == [True, False]
    assert list(frame["choice_text"]) == ["one", "one"]


def test_pairs_are_the_items_both_answered(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=6)
    make_run(data, mixed(data))
    make_run(data, [answer(item.id, item.answer) for item in data.items], "run-b")
    pairs = Catalog(workspace).paired("run-a", "run-b")
    assert list(pairs.table["item_id"]) == ["tiny-000", "tiny-001", "tiny-003", "tiny-004", "tiny-005"]
    assert list(pairs.table["strict_a"]) == [1, 0, 0, 1, 1]
    assert list(pairs.table["strict_b"]) == [1, 1, 1, 1, 1]
    assert pairs.same_dataset
    assert pairs.unanswered == 1
    assert (
        pairs.note == "Compared on the 5 items that both answered: 1 item without an answer in one of them."
    )


def test_pairs_of_two_versions_of_a_dataset_leave_out_what_changed_and_say_so(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=5)
    make_run(data, [answer(item.id, item.answer) for item in data.items])
    items = [*data.items[1:], Item(id="new", question="?", choices=("a", "b"), answer="a")]
    items[0] = items[0].model_copy(update={"answer": "three"})
    items[1] = items[1].model_copy(update={"choices": tuple(reversed(items[1].choices))})  # same question
    save_dataset(data.root, data.info, items)
    later = load_dataset(workspace, "tiny")
    make_run(later, [answer(item.id, item.answer) for item in later.items], "run-b")
    pairs = Catalog(workspace).paired("run-a", "run-b")
    assert list(pairs.table["item_id"]) == ["tiny-002", "tiny-003", "tiny-004"]
    assert (pairs.only_a, pairs.only_b, pairs.changed, pairs.same_dataset) == (1, 1, 1, False)
    assert "two versions of tiny" in pairs.note
    assert "1 item only in run-a" in pairs.note


def test_samples_are_averaged_per_item(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=2)
    rows = [
        answer(item.id, right(data, i) if i or sample == 0 else wrong(data, i), sample)
        for i, item in enumerate(data.items)
        for sample in range(4)
    ]
    make_run(data, rows, samples=4)
    catalog = Catalog(workspace)
    row = catalog.runs().iloc[0]
    assert (row["n"], row["samples"], row["strict"]) == (2, 4, pytest.approx(0.625))
    assert list(catalog.paired("run-a", "run-a").table["strict_a"]) == [0.25, 1.0]
    assert catalog.predictions().total == 8
    assert len(catalog.item_predictions("run-a", data.items[0].id)) == 4
