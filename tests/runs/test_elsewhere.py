"""Logs of Inspect and lmms-eval become runs, and a run becomes an Inspect log that says the same.

`logs/inspect.*` were written by Inspect 0.3.285 itself; lmms-eval's lines have the fields of its 0.7.3.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audioreason.errors import RunError
from audioreason.items import Dataset
from audioreason.runs import export_run, import_predictions, load_record, read_items, run_folder
from audioreason.runs.derive import scored
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset

LOGS = Path(__file__).parent / "logs"


@pytest.fixture
def dataset(tiny_dataset: TinyDataset) -> Dataset:
    return tiny_dataset(n=4, clips=False)


@pytest.mark.parametrize("name", ["inspect.json", "inspect.eval"])
def test_an_inspect_log_becomes_a_run(workspace: Workspace, dataset: Dataset, name: str) -> None:
    outcome = import_predictions(workspace, LOGS / name, "tiny", "log")
    record = load_record(workspace, "log")
    assert (
        record.samples == 2 and record.endpoint is not None and record.endpoint.model == "openai/qwen3-omni"
    )
    assert outcome.missing == ("tiny-003",) and any("temperature" in remark for remark in outcome.remarks)
    rows = {(row.item_id, row.sample): row for row in scored(workspace, "log")}
    assert (
        rows["tiny-001", 0].strict and rows["tiny-001", 1].strict and rows["tiny-001", 0].thinking_chars > 0
    )
    assert rows["tiny-000", 0].strict and rows["tiny-000", 0].thinking_chars == len("One.")
    assert rows["tiny-000", 1].outcome == rows["tiny-002", 0].outcome == "server_error"


def test_a_letter_means_the_choice_that_stood_there_when_it_was_asked(
    workspace: Workspace, dataset: Dataset, tmp_path: Path
) -> None:
    log = json.loads((LOGS / "inspect.json").read_text())
    for sample in log["samples"]:
        if sample["id"] == "tiny-001":
            sample["choices"] = ["two", "one", "three", "four"]  # B is now "one", and the gold is "two"
    (tmp_path / "log.json").write_text(json.dumps(log))
    import_predictions(workspace, tmp_path / "log.json", "tiny", "log")
    rows = {(row.item_id, row.sample): row for row in scored(workspace, "log")}
    assert rows["tiny-001", 0].choice_text == "one" and not rows["tiny-001", 0].strict
    asked = {item.id: item for item in read_items(run_folder(workspace, "log"))}
    assert asked["tiny-001"].choices == ("two", "one", "three", "four")


def test_other_choices_than_the_datasets_are_refused(
    workspace: Workspace, dataset: Dataset, tmp_path: Path
) -> None:
    log = json.loads((LOGS / "inspect.json").read_text())
    log["samples"][0]["choices"] = ["1", "2", "3", "4"]
    (tmp_path / "log.json").write_text(json.dumps(log))
    with pytest.raises(RunError, match="asked tiny-000 with other choices"):
        import_predictions(workspace, tmp_path / "log.json", "tiny", "log")
    assert not run_folder(workspace, "log").exists()


def lmms_line(number: int, question: str, choices: list[str], reply: object) -> str:
    letters = "\n".join(f"{'ABCD'[n]}. {choice}" for n, choice in enumerate(choices))
    return json.dumps(
        {
            "doc_id": number,
            "target": "A",
            "filtered_resps": reply,
            "input": f"Listen.\n{question}\n{letters}\nAnswer:",
        }
    )


def test_lmms_eval_samples_are_matched_by_what_was_asked(
    workspace: Workspace, dataset: Dataset, tmp_path: Path
) -> None:
    file = tmp_path / "samples_mmar.jsonl"
    file.write_text(
        "\n".join(
            [
                lmms_line(1, "How many tones are in clip 0?", ["one", "two", "three", "four"], "A"),
                lmms_line(0, "How many tones are in clip 1?", ["four", "two", "three", "one"], ["B", "A"]),
                lmms_line(2, "Something else entirely?", ["one", "two", "three", "four"], "A"),
            ]
        )
    )
    outcome = import_predictions(workspace, file, "tiny", "lmms")
    assert outcome.unknown == ("document 2",)
    rows = {(row.item_id, row.sample): row for row in scored(workspace, "lmms")}
    assert rows["tiny-000", 0].strict
    assert rows["tiny-001", 0].choice_text == "two" and rows["tiny-001", 1].choice_text == "four"


def test_a_run_written_as_an_inspect_log_is_read_back_the_same(
    workspace: Workspace, dataset: Dataset, tmp_path: Path
) -> None:
    import_predictions(workspace, LOGS / "inspect.json", "tiny", "first")
    path = tmp_path / "out.json"
    assert export_run(workspace, "first", "inspect", path) == 6
    import_predictions(workspace, path, "tiny", "second")
    assert list(scored(workspace, "first")) == list(scored(workspace, "second"))
    log = json.loads(path.read_text())
    assert log["eval"]["model"] == "openai/qwen3-omni" and log["eval"]["config"]["epochs"] == 2
    assert {score["name"]: score["scored_samples"] for score in log["results"]["scores"]} == {
        "strict": 3,
        "official": 3,
    }


def test_a_damaged_archive_is_one_sentence(workspace: Workspace, dataset: Dataset, tmp_path: Path) -> None:
    whole = (LOGS / "inspect.eval").read_bytes()
    damaged = tmp_path / "log.eval"
    damaged.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match="cannot be unpacked"):
        import_predictions(workspace, damaged, "tiny", "log")
