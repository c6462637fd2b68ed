"""Predictions in, scores and files out, through the program; MMAR's own where they are present."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from audioreason.answers import official_match
from audioreason.workspace import Workspace
from tests.cli.conftest import Program, strict_json
from tests.conftest import TinyDataset

PROMISED = ["item_id", "sample", "choice", "strict", "official", "outcome"]


def predictions(path: Path, answers: dict[str, str]) -> Path:
    rows = [
        {"id": key, "answer_prediction": text, "thinking_prediction": "hm"} for key, text in answers.items()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _seconds_of_children() -> float:
    """CPU time of the programs that have ended, which other work on the machine does not change."""
    times = os.times()
    return times.children_user + times.children_system


def test_the_report_has_what_was_promised_with_accuracy_as_a_fraction(
    program: Program, tiny_dataset: TinyDataset, tmp_path: Path
) -> None:
    data = tiny_dataset(n=4)
    answers = {item.id: "one" for item in data.items[:3]}
    program("import", predictions(tmp_path / "p.jsonl", answers), "--dataset", "tiny", "--run-id", "theirs")
    report = strict_json(program("score", "theirs", "--json").stdout)
    assert (report["run"], report["n"], report["answered"]) == ("theirs", 3, 3)
    for side in ("strict", "official"):
        assert report[side]["correct"] == 1
        assert report[side]["accuracy"] == pytest.approx(1 / 3)
        low, high = report[side]["ci95"]
        assert 0 < low < 1 / 3 < high < 1
    assert set(report["by"]) == {"category", "subcategory", "modality", "language"}
    assert report["by"]["modality"]["sound"] == {
        "n": 3, "strict": pytest.approx(1 / 3), "official": pytest.approx(1 / 3)
    }  # fmt: skip
    assert report["disagreements"] == []


def test_a_run_goes_out_in_every_format_and_comes_in_again(
    program: Program, tiny_dataset: TinyDataset, tmp_path: Path
) -> None:
    data = tiny_dataset(n=4)
    answers = {item.id: item.answer for item in data.items} | {data.items[3].id: "a banana"}
    program("import", predictions(tmp_path / "p.jsonl", answers), "--dataset", "tiny", "--run-id", "a")
    for form in ("csv", "parquet", "mmar"):
        done = program("export", "a", "--format", form, "-o", tmp_path / "out" / f"a.{form}", "--json")
        assert strict_json(done.stdout)["predictions"] == 4
    with (tmp_path / "out" / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:6] == PROMISED
    assert [row["strict"] for row in rows] == ["true", "true", "true", "false"]
    assert pq.read_table(tmp_path / "out" / "a.parquet").column_names[:6] == PROMISED
    program("import", tmp_path / "out" / "a.mmar", "--dataset", "tiny", "--run-id", "b")
    first, second = (strict_json(program("score", run, "--json").stdout) for run in "ab")
    assert {**first, "run": ""} == {**second, "run": ""}


def test_what_a_model_wrote_cannot_drive_the_terminal(
    program: Program, tiny_dataset: TinyDataset, tmp_path: Path
) -> None:
    data = tiny_dataset(n=1)
    file = predictions(tmp_path / "p.jsonl", {data.items[0].id: "one\x1b]0;owned\x07 [bold]kept[/bold]"})
    program("import", file, "--dataset", "tiny", "--run-id", "evil")
    shown = program("show", "evil", data.items[0].id).stdout
    assert "\x1b" not in shown and "\x07" not in shown
    assert "[bold]kept[/bold]" in shown


def test_500_real_traces_score_as_the_published_rule_says_in_under_three_seconds(
    program: Program, workspace: Workspace, mmar_meta: Path, mmar_traces: Path, tmp_path: Path
) -> None:
    program("data", "import", "mmar", "--meta", mmar_meta)
    began = _seconds_of_children()
    done = program("import", mmar_traces, "--dataset", "mmar", "--run-id", "traces", "--json")
    assert _seconds_of_children() - began < 3
    report = strict_json(done.stdout)
    traces = [json.loads(line) for line in mmar_traces.read_text(encoding="utf-8").splitlines()]
    meta = {row["id"]: row for row in map(json.loads, mmar_meta.read_text(encoding="utf-8").splitlines())}
    assert report["n"] == report["answered"] == len(traces) == 500
    assert sum(report["outcomes"].values()) == 500
    expected = sum(
        official_match(row["answer_prediction"], meta[row["id"]]["answer"], meta[row["id"]]["choices"])
        for row in traces
    )
    assert report["official"]["correct"] == expected
    for groups in report["by"].values():
        assert sum(group["n"] for group in groups.values()) == 500

    program("export", "traces", "--format", "mmar", "-o", tmp_path / "out.jsonl")
    program("import", tmp_path / "out.jsonl", "--dataset", "mmar", "--run-id", "again")
    again = strict_json(program("score", "again", "--json").stdout)
    assert again["official"] == report["official"]
    splits = strict_json(program("data", "split", "mmar", "--json").stdout)
    assert {name: len(ids) for name, ids in splits.items()} == {"explore": 500, "sealed": 500}
    halves = [
        strict_json(program("score", "traces", "--split", name, "--json").stdout)["n"]
        for name in ("explore", "sealed")
    ]
    assert sum(halves) == 500
