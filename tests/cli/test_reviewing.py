"""Why a run fails, through the program: figures, lists, tags, errata."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audioreason.runs import import_predictions
from audioreason.workspace import Workspace
from tests.cli.conftest import Program, strict_json
from tests.conftest import TinyDataset


@pytest.fixture
def run(workspace: Workspace, tiny_dataset: TinyDataset, tmp_path: Path) -> str:
    """A run that says "one" to everything but the last item: items 0 and 4 of 8 are right."""
    data = tiny_dataset(n=8, clips=False)
    rows = [
        {"id": item.id, "answer_prediction": "one" if k < 7 else "hm?", "thinking_prediction": "hm"}
        for k, item in enumerate(data.items)
    ]
    file = tmp_path / "p.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return import_predictions(workspace, file, "tiny", "r").run_id


def test_figures_lists_and_confusions_agree(program: Program, run: str) -> None:
    table = strict_json(program("errors", run, "--json").stdout)
    assert sum(row["n"] for row in table) == 8
    assert sum(row["outcomes"].get("wrong", 0) for row in table) == 5
    listed = strict_json(program("errors", run, "--outcome", "wrong", "--limit", "2", "--json").stdout)
    assert (listed["total"], len(listed["predictions"])) == (5, 2)
    counting = strict_json(
        program("errors", run, "--outcome", "wrong", "--group", "Counting", "--json").stdout
    )
    inside = next(row for row in table if row["group"] == "Counting")
    assert counting["total"] == inside["outcomes"]["wrong"]
    pairs = strict_json(program("errors", run, "--confused", "--json").stdout)
    assert {(pair["gold"], pair["given"]): pair["n"] for pair in pairs} == {
        ("two", "one"): 2,
        ("three", "one"): 2,
        ("four", "one"): 1,
    }
    assert "Counting" in program("errors", run).stdout


def test_an_erratum_leaves_the_figures_and_undo_brings_it_back(program: Program, run: str) -> None:
    program("annotate", "erratum", "tiny", "tiny-001", "wrong", "--note", "two bells")
    assert _rated(program, "--without-errata") == 7
    layers = strict_json(program("errors", "r", "--by", "layer", "--without-errata", "--json").stdout)
    assert sum(row["n"] for row in layers) == sum(sum(row["outcomes"].values()) for row in layers) == 7
    assert _rated(program) == 8
    program("annotate", "undo")
    assert _rated(program, "--without-errata") == 8


def _rated(program: Program, *more: str) -> int:
    return sum(row["n"] for row in strict_json(program("errors", "r", "--json", *more).stdout))


def test_tags_given_here_are_listed_filtered_and_exported(program: Program, run: str, tmp_path: Path) -> None:
    program("annotate", "tag", run, "tiny-001", "wrong count")
    program("annotate", "note", run, "tiny-001", "it heard three")
    found = strict_json(program("errors", run, "--tag", "wrong count", "--json").stdout)
    assert [row["item_id"] for row in found["predictions"]] == ["tiny-001"]
    counts = {tag["name"]: tag["count"] for tag in strict_json(program("annotate", "list", "--json").stdout)}
    assert counts["wrong count"] == 1
    program("annotate", "export", "--format", "jsonl", "-o", tmp_path / "a.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["note", "tag"]


def test_a_mistake_is_one_sentence(program: Program, run: str) -> None:
    for arguments, words in (
        (("errors", "nope"), "There is no run 'nope'"),
        (("annotate", "tag", "r", "tiny-099", "guessed"), "has no prediction"),
        (("annotate", "erratum", "tiny", "tiny-099", "wrong"), "has no item"),
        (("errors", "r", "--outcome", "wrong", "--by", "family", "--group", "x"), "cannot be listed by"),
    ):
        assert words in program(*arguments, status=1).stderr


def test_a_run_without_heard_says_why_it_has_no_cues(program: Program, run: str) -> None:
    for arguments in (("--cues",), ("--cue", "contradicted")):
        refused = program("errors", run, *arguments, status=1)
        assert "HEARD" in refused.stderr


def test_runs_are_tagged_listed_by_tag_and_a_typo_is_no_tag(program: Program, run: str) -> None:
    assert program("runs", "tag", run, "paper").stderr.strip() == "r: paper"
    (row,) = strict_json(program("runs", "--tag", "paper", "--json").stdout)
    assert (row["run_id"], row["tags"]) == (run, ["paper"])
    assert "paper" in program("runs").stdout
    assert strict_json(program("runs", "--tag", "draft", "--json").stdout) == []
    assert "nowhere" in program("runs", "tag", "nowhere", "paper", status=1).stderr
    assert "has no tag 'draft'" in program("runs", "tag", run, "draft", "--remove", status=1).stderr
    program("runs", "tag", run, "paper", "--remove")
    assert strict_json(program("runs", "--tag", "paper", "--json").stdout) == []


def test_what_nobody_tagged_is_listed_without_the_tagged(program: Program, run: str) -> None:
    program("annotate", "tag", run, "tiny-001", "guessed")
    listed = strict_json(program("errors", run, "--untagged", "--outcome", "wrong", "--json").stdout)
    assert listed["total"] == 4  # of five wrong ones
    assert "tiny-001" not in {row["item_id"] for row in listed["predictions"]}
