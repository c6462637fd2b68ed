"""Drafts, saved prompts, pins and opened sealed items: kept between processes, each under its own name."""

import pytest

from audioreason.errors import PromptError
from audioreason.prompts import Prompt, load_prompt
from audioreason.runs.desk import (
    drop_draft,
    load_draft,
    note_opened,
    opened,
    pins,
    save_draft,
    save_prompt,
    set_pin,
    versions,
)
from audioreason.workspace import Workspace


def test_a_draft_is_found_by_another_process_and_can_be_dropped(workspace: Workspace) -> None:
    save_draft(workspace, "prompt/a", {"user": "one"})
    save_draft(workspace, "prompt/a", {"user": "two\0 \u202e"})
    again = Workspace.open(workspace.root)
    assert load_draft(again, "prompt/a") == {"user": "two\0 \u202e"}
    assert load_draft(again, "prompt/b") is None
    drop_draft(again, "prompt/a")
    assert load_draft(workspace, "prompt/a") is None


def test_saving_a_prompt_writes_its_file_and_keeps_every_version(workspace: Workspace) -> None:
    first = Prompt(name="mine", user="{{ question }}")
    second = first.model_copy(update={"user": "{{ question }} Think."})
    save_prompt(workspace, first, "first")
    save_prompt(workspace, second, "shorter")
    assert load_prompt("mine", [workspace.prompts]).user == second.user
    saved = versions(workspace, "mine")
    assert [(one.version, one.note) for one in saved] == [
        (second.version, "shorter"),
        (first.version, "first"),
    ]
    assert saved[1].prompt.user == first.user


def test_saving_the_same_text_again_makes_no_second_version(workspace: Workspace) -> None:
    prompt = Prompt(name="mine", user="{{ question }}")
    save_prompt(workspace, prompt, "a")
    save_prompt(workspace, prompt, "b")
    assert [one.note for one in versions(workspace, "mine")] == ["b"]


def test_a_name_that_leads_out_of_the_folder_is_refused(workspace: Workspace) -> None:
    sneaky = Prompt(name="mine", user="x").model_copy(update={"name": "../mine"})
    with pytest.raises(PromptError, match="cannot be the name"):
        save_prompt(workspace, sneaky)
    assert not (workspace.root / "mine.md").exists()


def test_pins_and_opened_items_belong_to_their_dataset(workspace: Workspace) -> None:
    set_pin(workspace, "a", "1", True)
    set_pin(workspace, "a", "2", True)
    set_pin(workspace, "a", "1", False)
    note_opened(workspace, "a", "9")
    note_opened(workspace, "a", "9")
    assert pins(workspace, "a") == ("2",)
    assert pins(workspace, "b") == ()
    assert opened(workspace, "a") == {"9"}
    assert opened(workspace, "b") == frozenset()
