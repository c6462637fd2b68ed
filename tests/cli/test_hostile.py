"""Wrong names, damaged files and places that cannot be written: one sentence each, and nothing lost."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from audioreason.challenge import rate
from audioreason.errors import WorkspaceError
from audioreason.evaluate import evaluate
from audioreason.inference.endpoint import Sampling
from audioreason.items import Dataset
from audioreason.prompts import Prompt
from audioreason.runs import run_folder
from audioreason.workspace import JsonlWriter, Workspace
from tests.cli.conftest import Say, strict_json
from tests.conftest import TinyDataset
from tests.servers import FakeServer, Text
from tests.servers import Request as Arrived


@pytest.fixture
def asked(workspace: Workspace, tiny_dataset: TinyDataset) -> Dataset:
    """The runs `a` and `b` of two items of four, answered by a server that is gone again."""
    data = tiny_dataset(n=4, clips=False)
    prompt = Prompt(name="plain", system="Listen.", user="{{ question }}")
    with FakeServer(Text("two")) as server:
        for name in ("a", "b"):
            evaluate(
                workspace, data, prompt, server.endpoint, Sampling(samples=3), run_id=name, limit=2,
                allow_missing_audio=True,
            )  # fmt: skip
    return data


def test_names_that_a_run_does_not_have_are_no_empty_tables(say: Say, asked: Dataset) -> None:
    for option, name, there in (
        ("--outcome", "nonsense", "truncated"),
        ("--tag", "nonsense", "wrong count"),
        ("--group", "nonsense", "There"),
        ("--split", "nonsense", "There"),
    ):
        err = say("errors", "a", option, name, status=1)[1]
        assert f"'{name}'" in err and there in err
    say("errors", "a", "--outcome", "format broken")


def test_runs_are_listed_as_jobs_are(say: Say, asked: Dataset) -> None:
    assert say("runs", "list") == say("runs")
    assert say("runs", "show", "a") == say("show", "a")
    correct = strict_json(say("score", "a", "--json")[0])["strict"]["correct"]
    assert f" {correct:.6g} " in say("score", "a")[0]


def test_a_run_whose_predictions_are_damaged_is_not_compared_as_if_it_had_none(
    say: Say, asked: Dataset, workspace: Workspace
) -> None:
    folder = run_folder(workspace, "b")
    shutil.rmtree(folder / "derived")
    (folder / "predictions.parquet").write_bytes(b"PAR1")
    for command in (("compare", "a", "b"), ("errors", "b"), ("stability", "b")):
        err = say(*command, status=1)[1]
        assert str(folder) in err or "order" in err
    assert str(folder) in say("runs")[1]
    shutil.rmtree(folder)
    folder.mkdir()
    assert "run.json" in say("score", "b", status=1)[1]


def test_runs_in_a_place_that_cannot_be_written_are_read_all_the_same(
    say: Say, asked: Dataset, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(run_folder(workspace, "b") / "derived")
    real: Any = Path.open

    def read_only(path: Path, mode: str = "r", *more: Any, **options: Any) -> Any:
        if "w" in mode and workspace.runs in path.parents:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, mode, *more, **options)

    def refused(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "open", read_only)
    monkeypatch.setattr(Path, "unlink", refused)
    out = say("runs")[0]
    figures = [line.split()[1:] for line in out.splitlines()[1:]]
    assert len(figures) == 2, "also the run whose scores cannot be kept"
    for run in "ab":
        say("errors", run)
        say("score", run)


def test_a_file_that_is_deleted_while_it_is_written_is_noticed_at_once(tmp_path: Path) -> None:
    with JsonlWriter(tmp_path / "ü.jsonl") as writer:
        writer.append(b"{}")
        (tmp_path / "ü.jsonl").unlink()
        with pytest.raises(WorkspaceError, match="was deleted while"):
            writer.append(b"{}")


def test_a_training_file_stays_in_its_folder_and_options_are_named(
    say: Say, workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    tiny_dataset(n=1)
    for name in ("../../evil", "a/b", ""):
        assert f"{name!r} cannot be the name" in say("teach", "tiny", "--name", name, status=1)[1]
    assert not (workspace.root / "training").exists()
    assert "no training new" in say("train", "tiny", "--name", "new", "--resume", status=1)[1]
    assert "'../x' cannot be the name" in say("train", "tiny", "--name", "../x", status=1)[1]
    assert "--learning-rate" in say("train", "tiny", "--name", "x", "--learning-rate", "-1", status=2)[1]
    assert "There is no file pins.txt" in say("eval", "--dataset", "tiny", "--items", "pins.txt", status=1)[1]


def test_a_part_of_a_dataset_is_no_submission_and_a_table_no_list_of_predictions(
    say: Say, asked: Dataset, tmp_path: Path
) -> None:
    assert "2 of the 4 items" in say("submit", "write", "a", "--sample", "0", status=1)[1]
    (tmp_path / "table.csv").write_text("id,answer\n" * 100)
    err = say("submit", "check", tmp_path / "table.csv", "--dataset", "tiny", status=1)[1]
    assert "81 more" in err and err.count("not JSON") == 20
    say("export", "a", "--format", "mmar", "-o", "a.jsonl")
    say("import", "a.jsonl", "--dataset", "tiny", "--run-id", "again")
    taken = say("import", "a.jsonl", "--dataset", "tiny", "--run-id", "again", status=1)[1]
    assert "--run-id" in taken and "--resume" not in taken


def test_a_judge_that_rates_nothing_is_quoted(say: Say, workspace: Workspace) -> None:
    def answer(request: Arrived) -> Text:
        return Text("Ure, ure.") if "rubric" in str(request.body).lower() else Text("ANSWER: two")

    from audioreason.items import load_dataset

    data = load_dataset(workspace, "soundcheck")
    item = data.items[0]
    with FakeServer(lambda _: Text(item.answer)) as server:
        prompt = Prompt(name="plain", system="Listen.", user="{{ question }}")
        evaluate(workspace, data, prompt, server.endpoint, Sampling(), run_id="one", item_ids=[item.id])
    with FakeServer(answer) as server:
        judge, missing = rate(workspace, "one", server.endpoint)
    assert missing == 5
    err = say("rubrics", "show", "one", status=1)[1]
    assert "None of the 5 replies" in err and judge in err
    path = next((run_folder(workspace, "one") / "derived").glob("rubric-*.jsonl"))
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], b"{torn", *lines[1:], b""]))
    assert orjson.loads(lines[0])["judge"] == judge
    assert "not JSON" in say("rubrics", "show", "one", status=1)[1]


@pytest.mark.slow
def test_the_doctor_looks_on_where_the_workspace_cannot_be_used(say: Say) -> None:
    out = say("-w", "/dev/null/x", "doctor", status=1)[0]
    assert "/dev/null/x" in out and "python" in out


def test_a_job_about_what_is_not_there_is_refused_where_it_is_asked_for(
    say: Say, workspace: Workspace
) -> None:
    err = say("jobs", "submit", "evaluate", "--set", "prompts=nope", status=1)[1]
    assert "There is no prompt named nope." in err and "baseline" in err
    err = say("jobs", "submit", "train", "--set", "data=mine", status=1)[1]
    assert "There is no training file mine." in err
    assert list(workspace.jobs.glob("*")) == []
