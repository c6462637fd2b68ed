"""Checksums in Parquet files: every changed byte is said, and files without one are read."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audioreason.cli.checks import verify_runs
from audioreason.errors import RunError
from audioreason.runs import Catalog, RunWriter, run_folder, score_report
from audioreason.runs.storage import read_parquet, read_seal, verify, write_rows
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.runs.conftest import MakeRun, answer, failure, mixed, right, stored

NUMBERS = pa.schema([("n", pa.int64())])


@pytest.mark.parametrize("rows", [0, 3, 300_000])
def test_a_sealed_file_is_plain_parquet_and_carries_its_note(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "x.parquet"
    write_rows(
        path, NUMBERS, ({"n": n * 7919 % 100_003} for n in range(rows)), lambda file: file.name.encode()
    )
    seal = read_seal(path)
    assert seal is not None and seal.intact and seal.note.startswith(b".x.parquet.")
    assert pq.read_table(path).num_rows == rows
    counted = duckdb.sql(f"SELECT count(*), coalesce(sum(n), 0) FROM '{path}'").fetchall()
    assert counted == [(rows, sum(n * 7919 % 100_003 for n in range(rows)))]


def test_every_flipped_bit_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_rows(path, NUMBERS, ({"n": n} for n in range(500)))
    whole = path.read_bytes()
    silent = []
    for bit in random.Random(3).sample(range(8 * len(whole)), 400):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            rows = [row["n"] for row in read_parquet(path)]
        except RunError:
            continue
        if rows != list(range(500)):
            silent.append(bit // 8)
    assert silent == []


def test_a_changed_byte_is_said_by_every_question(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=4)
    for name in ("run-a", "run-b"):
        make_run(data, mixed(data), name)
    path = run_folder(workspace, "run-a") / "predictions.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)
    catalog = Catalog(workspace)
    assert list(catalog.runs()["run_id"]) == ["run-b"]
    assert "has changed since it was written" in catalog.problems()[0]
    for ask in (
        lambda: catalog.accuracy_by("run-a", "layer"),
        lambda: catalog.item_predictions("run-a", "tiny-000"),
        lambda: score_report(workspace, "run-a"),
        lambda: RunWriter.resume(workspace, "run-a"),
    ):
        with pytest.raises(RunError, match="has changed since it was written"):
            ask()
    said = {check.name: check for check in verify_runs(workspace)}
    assert said["run run-a"].state == said["runs"].state == "fail"
    assert "2 runs read, 1 damaged" in said["runs"].sentence


def test_a_run_without_checksums_is_read_and_counted(
    workspace: Workspace, tiny_dataset: TinyDataset, make_run: MakeRun
) -> None:
    data = tiny_dataset(n=2)
    make_run(data, [failure("tiny-000"), answer("tiny-001", right(data, 1))])
    for path in run_folder(workspace, "run-a").rglob("*.parquet"):
        pq.write_table(pq.read_table(path), path)
        assert verify(path) is None
    assert Catalog(workspace).runs().iloc[0]["strict"] == 1.0
    (said,) = verify_runs(workspace)
    assert said.state == "ok" and "1 from before there were checksums" in said.sentence
    with RunWriter.resume(workspace, "run-a") as writer:
        writer.append(answer("tiny-000", right(data, 0)))
        writer.finish()
    assert verify(run_folder(workspace, "run-a") / "predictions.parquet") is not None
    assert [one.content for one in stored(workspace)] == [right(data, 0), right(data, 1)]
