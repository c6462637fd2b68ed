"""The catalog: every question has the right answer, while runs come, grow, change, break and go."""

from __future__ import annotations

import json
import os
import shutil
import threading

import pytest

from audioreason.errors import RunError
from audioreason.items import Dataset, Item, load_dataset, save_dataset
from audioreason.runs import (
    Catalog,
    Filter,
    Prediction,
    RunWriter,
    loading,
    records,
    run_folder,
    score_report,
    score_run,
)
from audioreason.stats import wilson
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.runs.conftest import MakeRun, answer, failure, make_record, right, wrong


def mixed(data: Dataset) -> list[Prediction]:
    """Right, wrong, error, unresolved, then all right."""
    predictions = [answer(item.id, item.answer) for item in data.items]
    predictions[1] = answer(data.items[1].id, wrong(data, 1), completion_tokens=90)
    predictions[2] = failure(data.items[2].id)
    predictions[3] = answer(data.items[3].id, "I hear a zebra bark.", reasoning="Stripes, surely.")
    return predictions


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


# --- runs that live, change, break and go ---


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
    from audioreason.answers import SCORER_VERSION

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
    patient = Catalog(workspace)
    assert patient.runs().iloc[0]["scorer"] != "0"
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
