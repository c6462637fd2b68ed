"""Home's dialog for runs, in a real browser: archive, restore, and delete with a confirmation."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Page, expect

from audioreason.items import load_dataset
from audioreason.runs import archived_runs, delete_runs, import_predictions, run_folder
from tests.browser.conftest import Lab


def test_runs_are_archived_restored_and_deleted_after_a_confirmation(
    page: Page, lab: Lab, tmp_path: Path
) -> None:
    items = load_dataset(lab.workspace, "bells").items
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps([{"id": item.id, "answer_prediction": item.answer} for item in items]))
    names = ["managed-kept", "managed-left"]
    for name in names:
        import_predictions(lab.workspace, answers, "bells", name)
    try:
        page.goto(lab.address(""), wait_until="domcontentloaded")
        page.get_by_role("button", name="Manage runs").click()
        dialog = page.get_by_role("dialog")
        find = dialog.get_by_role("textbox", name="Find a run")
        find.fill("managed-left")
        find.press("Enter")
        act(page, "Archive")
        assert archived_runs(lab.workspace) == ["managed-left"]
        dialog.get_by_role("radio", name="Archived").click()
        act(page, "Restore")
        assert archived_runs(lab.workspace) == []
        dialog.get_by_role("radio", name="Listed").click()
        select(page)
        dialog.get_by_role("button", name="Delete 1 run", exact=True).click()
        expect(dialog.get_by_text("This cannot be undone.")).to_be_visible()
        dialog.get_by_role("button", name="Cancel").click()
        expect(dialog.get_by_text("This cannot be undone.")).to_have_count(0)
        assert run_folder(lab.workspace, "managed-left").is_dir()
        act(page, "Delete", selected=True)
        assert not run_folder(lab.workspace, "managed-left").exists()
        assert run_folder(lab.workspace, "managed-kept").is_dir()
    finally:
        delete_runs(lab.workspace, [name for name in names if run_folder(lab.workspace, name).exists()])


def select(page: Page) -> None:
    """Select the first row; the table is a canvas, so by its place."""
    table = page.get_by_role("dialog").get_by_test_id("stDataFrame")
    expect(table.locator("tbody tr")).to_have_count(1)
    table.locator(".dvn-scroller").click(position={"x": 16, "y": 50})
    expect(page.get_by_role("dialog").get_by_text("selected")).to_be_visible()


def act(page: Page, what: str, selected: bool = False) -> None:
    """Select the row that is listed, press a button and confirm it."""
    dialog = page.get_by_role("dialog")
    if not selected:
        select(page)
    dialog.get_by_role("button", name=f"{what} 1 run", exact=True).click()
    dialog.get_by_role("button", name=f"{what} 1 run now").click()
    expect(dialog.get_by_text("Select runs in the first column.")).to_be_visible()
