"""A messy table from the command line: summed remarks, breakdowns by its own columns, prompts with slips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audioreason.workspace import Workspace
from tests.cli.conftest import Say


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of 30 items with columns of its own, and rows that are none."""
    rows = [
        {
            "id": n,
            "question": "Which?",
            "choices": ["bell", "drum", "horn"],
            "answer": "drum",
            "place": "street" if n % 3 else "forest",
            "difficulty": "hard" if n % 2 else "easy",
        }
        for n in range(30)
    ]
    rows += [{"id": f"bad{n}", "question": "Which?", "choices": ["a", "b"], "answer": n} for n in range(5)]
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "table"


def test_remarks_are_summed_and_listed_on_request(say: Say, folder: Path) -> None:
    out, err = say("data", "import", "folder", folder, "--name", "t")
    assert len(out.splitlines()) < 8 and "--verbose" in err
    (row,) = [line for line in out.splitlines() if "not-an-item" in line]
    assert row.split()[2] == "5" and "answer_index" in row
    listed, _ = say("data", "import", "folder", folder, "--name", "t", "--verbose")
    assert sum("not-an-item" in line for line in listed.splitlines()) == 5
    again, _ = say("data", "check", "t")
    assert again == out, "what was left out is told later too, and is no fault of the items that are there"


def test_errors_are_broken_down_by_any_column(say: Say, folder: Path, tmp_path: Path) -> None:
    say("data", "import", "folder", folder, "--name", "t")
    answers = {str(n): "drum" if n % 3 == 0 or n == 1 else "bell" for n in range(30)}
    (tmp_path / "p.json").write_text(json.dumps(answers, indent=1))
    say("import", tmp_path / "p.json", "--dataset", "t", "--run-id", "r")
    for options, groups in (
        (("place",), ["forest", "street"]),
        (("place", "--worst-first"), ["street", "forest"]),
        (("difficulty",), ["easy", "hard"]),
        (("choices",), ["3"]),
    ):
        table = json.loads(say("errors", "r", "--by", *options, "--json")[0])
        assert [row["group"] for row in table] == groups and sum(row["n"] for row in table) == 30
    found = json.loads(
        say("errors", "r", "--by", "place", "--group", "street", "--outcome", "wrong", "--json")[0]
    )
    assert found["total"] == 19
    _, refused = say("errors", "r", "--by", "nothing", status=1)
    assert "its data also have place" in refused
    _, refused = say("errors", "r", "--by", "place", "--group", "sea", "--outcome", "wrong", status=1)
    assert "forest, street" in refused


def test_a_prompt_that_asks_nothing_is_named(say: Say, workspace: Workspace) -> None:
    workspace.prompts.mkdir(parents=True, exist_ok=True)
    text = (
        "---\ntitle: t\n---\nListen.\n=== user ===\nQuestion: {question}\n{{ choices }} {{ subcategory }}\n"
    )
    (workspace.prompts / "slip.md").write_text(text)
    for arguments in (("prompts", "render", "slip"), ("prompts", "list"), ("prompts", "show", "slip")):
        _, err = say(*arguments)
        assert "Line 1 of the user text: {question} is sent as it stands" in err
        assert "the question is not asked" in err and "each item's subcategory" in err
