"""Annotations are on disk at once, whoever writes them, and each step can be taken back by who took it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from audioreason.errors import RunError
from audioreason.review import STARTER_TAGS, Annotations
from audioreason.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "w")


def test_the_starter_set_is_there_and_its_first_nine_have_keys(workspace: Workspace) -> None:
    tags = Annotations(workspace).tags()
    assert tuple(tag.name for tag in tags) == STARTER_TAGS
    assert [tag.key for tag in tags[:10]] == [1, 2, 3, 4, 5, 6, 7, 8, 9, None]


def test_tags_notes_and_errata_are_read_by_another_handle_at_once(workspace: Workspace) -> None:
    book, other = Annotations(workspace), Annotations(workspace)
    before = other.version()
    book.set_tag("r", "i", 0, "wrong count", True)
    book.set_tag("r", "i", 0, "missed an event", True)
    book.set_note("r", "i", 0, "a bell")
    book.mark("d", "i", "ambiguous", "two bells")
    assert other.version() > before
    assert other.tags_of("r") == {("i", 0): ("missed an event", "wrong count")}  # in the order of the list
    assert other.note("r", "i", 0) == "a bell"
    assert other.errata("d")["i"].kind == "ambiguous"
    assert other.errata("d")["i"].note == "two bells"
    assert {tag.name: tag.count for tag in other.tags()}["wrong count"] == 1


def test_undo_takes_back_own_steps_one_by_one(workspace: Workspace) -> None:
    book = Annotations(workspace)
    book.set_tag("r", "i", 0, "wrong count", True)
    book.set_note("r", "i", 0, "first")
    book.set_note("r", "i", 0, "second")
    book.mark("d", "i", "wrong")
    assert "marked i wrong" in (book.undo() or "")
    assert book.errata("d") == {}
    book.undo()
    assert book.note("r", "i", 0) == "first"
    book.undo()
    assert book.note("r", "i", 0) == ""
    version = book.version()
    book.undo()
    assert book.tags_of("r") == {}
    assert book.version() > version  # whoever cached by version reads again
    assert book.undo() is None


def test_undo_leaves_what_others_did(workspace: Workspace) -> None:
    mine, yours = Annotations(workspace, "mine"), Annotations(workspace, "yours")
    mine.set_tag("r", "i", 0, "wrong count", True)
    yours.set_tag("r", "i", 0, "guessed", True)
    mine.undo()
    assert mine.undo() is None
    assert mine.tags_of("r") == {("i", 0): ("guessed",)}


def test_a_step_that_changes_nothing_is_no_step(workspace: Workspace) -> None:
    book = Annotations(workspace)
    book.set_note("r", "i", 0, "kept")
    book.set_tag("r", "i", 0, "guessed", False)
    book.mark("d", "i", None)
    assert book.undo() == "changed the note on i"


def test_removing_a_tag_takes_it_from_every_prediction_and_undo_gives_all_back(workspace: Workspace) -> None:
    book = Annotations(workspace)
    book.add_tag("my own")
    for sample in range(3):
        book.set_tag("r", "i", sample, "my own", True)
    book.remove_tag("my own")
    assert book.tags_of("r") == {}
    assert "my own" not in [tag.name for tag in book.tags()]
    book.undo()
    assert set(book.tags_of("r")) == {("i", 0), ("i", 1), ("i", 2)}
    assert book.tags()[-1].name == "my own"


def test_a_new_tag_joins_the_list(workspace: Workspace) -> None:
    book = Annotations(workspace)
    book.set_tag("r", "i", 0, "clipping", True)
    assert book.tags()[-1].name == "clipping"
    book.undo()  # one step
    assert book.tags_of("r") == {}
    assert book.tags()[-1].name != "clipping"


@pytest.mark.parametrize("name", ["", "   ", "x" * 61])
def test_an_impossible_tag_is_one_sentence(workspace: Workspace, name: str) -> None:
    with pytest.raises(RunError, match="characters"):
        Annotations(workspace).add_tag(name)


def test_two_processes_tag_at_once_and_nothing_is_lost(workspace: Workspace) -> None:
    script = """
import sys
from audioreason.review import Annotations
from audioreason.workspace import Workspace
book = Annotations(Workspace.open(sys.argv[1]), sys.argv[2])
for k in range(40):
    book.set_tag("r", f"{sys.argv[2]}-{k}", 0, "guessed", True)
"""
    workers = [
        subprocess.Popen([sys.executable, "-c", script, str(workspace.root), name]) for name in ("a", "b")
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    book = Annotations(workspace)
    assert len(book.tags_of("r")) == 80
    assert book.undo() is None  # all of it is theirs


def test_runs_have_tags_of_their_own_with_undo(workspace: Workspace) -> None:
    book = Annotations(workspace)
    before = book.version()
    book.tag_run("r1", " paper  table ", True)
    book.tag_run("r1", "draft", True)
    book.tag_run("r2", "draft", True)
    assert Annotations(workspace).run_tags() == {"r1": ("draft", "paper table"), "r2": ("draft",)}
    assert book.version() > before
    book.tag_run("r1", "draft", False)
    assert "took “draft” from r1" in (book.undo() or "")
    assert book.run_tags()["r1"] == ("draft", "paper table")
    assert "run tag,,r1,,,paper table" in book.export("csv")
    assert tuple(tag.name for tag in book.tags()) == STARTER_TAGS  # predictions are not offered them
    with pytest.raises(RunError, match="characters"):
        book.tag_run("r1", "  ", True)


def test_a_lab_from_before_runs_had_tags_goes_on(workspace: Workspace) -> None:
    book = Annotations(workspace)
    book.remove_tag("guessed")
    with workspace.sqlite() as database:
        database.execute("DROP TABLE run_tag")
    book.tag_run("r", "paper", True)
    assert book.run_tags() == {"r": ("paper",)}
    assert "guessed" not in {tag.name for tag in book.tags()}


def test_exports_say_everything_and_no_cell_is_a_formula(workspace: Workspace) -> None:
    book = Annotations(workspace)
    book.set_note("r", "i", 1, '=HYPERLINK("x") | <b>\nnext')
    book.mark("d", "j", "wrong", "-1+1")
    rows = list(csv.DictReader(io.StringIO(book.export("csv"))))
    assert [row["kind"] for row in rows] == ["erratum", "note"]
    assert rows[0]["note"] == "'-1+1"
    assert rows[1]["value"].startswith("'=HYPERLINK")
    lines = [json.loads(line) for line in book.export("jsonl").splitlines()]
    assert lines[1]["value"].startswith("=HYPERLINK")  # programs get the text as it is
    assert lines[1]["sample"] == 1
    table = book.export("md").splitlines()
    assert len(table) == 4
    assert "\\| &lt;b>" in table[3]
    with pytest.raises(RunError, match="xls"):
        book.export("xls")


def test_undo_keeps_what_another_wrote_over_it(workspace: Workspace) -> None:
    mine, yours = Annotations(workspace, "mine"), Annotations(workspace, "yours")
    mine.set_note("r", "i", 0, "a bell")
    yours.set_note("r", "i", 0, "two bells, at 1 s and 4 s")
    assert "others changed" in (mine.undo() or "")
    assert mine.note("r", "i", 0) == "two bells, at 1 s and 4 s"
    yours.undo()
    assert mine.note("r", "i", 0) == "a bell"  # as it was before theirs
    mine.mark("d", "i", "wrong")
    yours.mark("d", "i", "ambiguous")
    yours.undo()
    mine.undo()  # theirs is taken back, so nothing is in the way
    assert mine.errata("d") == {}


def test_undo_keeps_a_new_tag_that_others_use_by_now(workspace: Workspace) -> None:
    mine, yours = Annotations(workspace, "mine"), Annotations(workspace, "yours")
    mine.set_tag("r", "i", 0, "clipping", True)
    yours.set_tag("r", "j", 0, "clipping", True)
    mine.undo()
    assert mine.tags_of("r") == {("j", 0): ("clipping",)}
    assert "clipping" in [tag.name for tag in mine.tags()]
