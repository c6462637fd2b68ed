"""Tokens that a server counted for several predictions together: said so, and older files read as before."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from audioreason.cli.running import show
from audioreason.items import Dataset
from audioreason.runs import Catalog, Prediction, export_run, import_predictions, run_folder
from audioreason.runs.storage import decode_line, encode_line
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.runs.conftest import MakeRun, answer, stored


def shares(data: Dataset) -> list[Prediction]:
    return [answer(item.id, "x", tokens_estimated=n == 0) for n, item in enumerate(data.items)]


def test_an_estimate_is_flagged_wherever_it_is_one_predictions_own(
    workspace: Workspace,
    tiny_dataset: TinyDataset,
    make_run: MakeRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tiny_dataset(n=2, clips=False)
    make_run(data, shares(data))
    assert [one.tokens_estimated for one in stored(workspace)] == [True, False]
    monkeypatch.setenv("AUDIOREASON_WORKSPACE", str(workspace.root))
    for item, words in zip(data.items, ("about 9 tokens", ", 9 tokens"), strict=True):
        show("run-a", item.id)
        assert words in capsys.readouterr().out
    export_run(workspace, "run-a", "csv", tmp_path / "run.csv")
    with (tmp_path / "run.csv").open() as file:
        assert [row["tokens_estimated"] for row in csv.DictReader(file)] == ["true", "false"]
    export_run(workspace, "run-a", "inspect", tmp_path / "run.json")
    import_predictions(workspace, tmp_path / "run.json", "tiny", "back")
    assert [one.tokens_estimated for one in stored(workspace, "back")] == [True, False]


def test_files_from_before_it_was_recorded_are_read(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun, tmp_path: Path
) -> None:
    data = tiny_dataset(n=2, clips=False)
    make_run(data, shares(data))
    path = run_folder(workspace, "run-a") / "predictions.parquet"
    pq.write_table(pq.read_table(path).drop_columns("tokens_estimated"), path)
    old = stored(workspace)
    assert [(one.content, one.completion_tokens, one.tokens_estimated) for one in old] == [
        ("x", 9, False)
    ] * 2
    (row,) = Catalog(workspace).item_predictions("run-a", data.items[0].id)
    assert (row["content"], row["completion_tokens"], row["tokens_estimated"]) == ("x", 9, False)
    assert export_run(workspace, "run-a", "parquet", tmp_path / "run.parquet") == 2
    line = json.loads(encode_line(old[0]))
    del line["tokens_estimated"]
    assert decode_line(json.dumps(line).encode()) == old[0]
