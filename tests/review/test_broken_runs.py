"""The explorer over runs that are being written, were killed, changed or deleted: figures, or words."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from audioreason.errors import RunError
from audioreason.items import Dataset
from audioreason.items.splits import split_of
from audioreason.review import Annotations, explorer
from audioreason.runs import Catalog, Filter, Prediction, RunRecord, RunWriter, dataset_ref, run_folder
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset

KILLED = """
import os, sys
from audioreason.items import load_dataset
from audioreason.runs import Prediction, RunRecord, RunWriter, dataset_ref
from audioreason.workspace import Workspace
workspace = Workspace.open(sys.argv[1])
data = load_dataset(workspace, "tiny")
record = RunRecord.model_validate({"run_id": "r", "created": "2026-11-23T01:00:00Z", "kind": "eval",
    "dataset": dataset_ref(data), "sampling": {"samples": 1}, "n_items": len(data.items)})
writer = RunWriter.create(workspace, record, data.items)
for item in data.items[:5]:
    writer.append(Prediction(item.id, 0, content="ANSWER: one", finish_reason="stop"))
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def data(tiny_dataset: TinyDataset) -> Dataset:
    return tiny_dataset(n=8, clips=False)


def start(workspace: Workspace, data: Dataset) -> RunWriter:
    record = RunRecord.model_validate(
        {
            "run_id": "r",
            "created": "2026-11-23T01:00:00Z",
            "kind": "eval",
            "dataset": dataset_ref(data),
            "sampling": {"samples": 1},
            "n_items": len(data.items),
        }
    )
    return RunWriter.create(workspace, record, data.items, split_of(data))


def everything(catalog: Catalog, workspace: Workspace) -> explorer.Overview:
    """Ask every question; the figures are returned."""
    catalog.refresh()
    explorer.find(catalog, Filter(runs=("r",), outcome=("wrong",), agreement=(0.5, None), text="one"))
    explorer.confusions(catalog, "r")
    explorer.biases(catalog, "r")
    explorer.agreement(catalog, "r")
    explorer.tag_table(catalog, Annotations(workspace), "r")
    return explorer.overview(catalog, "r")


def test_figures_grow_with_a_run_that_is_written(workspace: Workspace, data: Dataset) -> None:
    catalog = Catalog(workspace)
    with start(workspace, data) as writer:
        found = everything(catalog, workspace)  # nothing has come yet
        assert (found.strict.n, found.strict.value, found.groups) == (0, None, ())
        for count, item in enumerate(data.items[:3], 1):
            writer.append(Prediction(item.id, 0, content="ANSWER: one", finish_reason="stop"))
            assert everything(catalog, workspace).strict.n == count


def test_a_killed_writer_leaves_what_was_there(workspace: Workspace, data: Dataset) -> None:
    assert data.items
    assert subprocess.run([sys.executable, "-c", KILLED, str(workspace.root)], check=False).returncode == -9
    live = run_folder(workspace, "r") / "predictions.jsonl"
    live.write_bytes(live.read_bytes() + b'{"item_id": "tiny-005", "sam')  # torn by the kill
    assert everything(Catalog(workspace), workspace).strict.n == 5


def test_answers_outlive_their_dataset_and_its_changes(
    workspace: Workspace, data: Dataset, tiny_dataset: TinyDataset
) -> None:
    with start(workspace, data) as writer:
        for item in data.items:
            writer.append(Prediction(item.id, 0, content="ANSWER: one", finish_reason="stop"))
        writer.finish()
    before = everything(Catalog(workspace), workspace)
    tiny_dataset(n=3, clips=False)  # another version takes its place
    assert everything(Catalog(workspace), workspace) == before
    shutil.rmtree(data.root)
    assert everything(Catalog(workspace), workspace) == before


def test_a_run_deleted_under_the_explorer_is_one_sentence(workspace: Workspace, data: Dataset) -> None:
    with start(workspace, data) as writer:
        writer.append(Prediction("tiny-000", 0, content="ANSWER: one", finish_reason="stop"))
    catalog = Catalog(workspace)
    assert everything(catalog, workspace).strict.n == 1
    Annotations(workspace).set_tag("r", "tiny-000", 0, "guessed", True)
    shutil.rmtree(run_folder(workspace, "r"))
    catalog.refresh()
    with pytest.raises(RunError, match="There is no run 'r'"):
        explorer.overview(catalog, "r")
    assert Annotations(workspace).tags_of("r")  # what was said about it is kept


@pytest.mark.parametrize("file", ["run.json", "items.parquet"])
def test_a_half_written_run_is_named_and_keeps_no_other_out(
    workspace: Workspace, data: Dataset, file: str
) -> None:
    with start(workspace, data) as writer:
        writer.append(Prediction("tiny-000", 0, content="ANSWER: one", finish_reason="stop"))
    folder = run_folder(workspace, "r")
    broken = run_folder(workspace, "half")
    shutil.copytree(folder, broken)
    (broken / file).write_bytes((broken / file).read_bytes()[:40])
    catalog = Catalog(workspace)
    assert everything(catalog, workspace).strict.n == 1
    assert any("half" in problem for problem in catalog.problems())
    with pytest.raises(RunError) as caught:
        explorer.overview(catalog, "half")
    assert "half" in str(caught.value)
