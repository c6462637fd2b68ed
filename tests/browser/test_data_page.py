"""The Data page: shelf, search, listening, problems, uses; sealed items stay closed."""

from __future__ import annotations

import json
import re
import shutil

from playwright.sync_api import Page, expect

from tests.browser.conftest import Lab


def test_browse_find_and_hear_an_item(lab: Lab, page: Page) -> None:
    page.goto(lab.address("data", dataset="bells"))
    table = page.locator(".rows").nth(1)
    expect(table.locator("button.row").first).to_be_visible()
    page.get_by_placeholder("Find in questions").fill("bells-03")
    page.get_by_placeholder("Find in questions").press("Enter")
    expect(page).to_have_url(re.compile("find=bells-03"))
    expect(table.locator("button.row")).to_have_count(1)
    page.get_by_placeholder("Find in questions").fill("")
    page.get_by_placeholder("Find in questions").press("Enter")
    table.locator("button.row").nth(4).click()
    expect(page).to_have_url(re.compile("item=bells-04"))
    page.get_by_role("button", name="Play").first.click()
    expect(page.get_by_role("button", name="Pause").first).to_be_visible()


def test_problems_and_make_up_lead_to_items(lab: Lab, page: Page) -> None:
    page.goto(lab.address("data", dataset="soundcheck", view="Make-up"))
    row = page.get_by_role("button", name=re.compile("^Temporal Analysis"))
    row.first.click()
    expect(page).to_have_url(re.compile("view=Items"))
    expect(page.get_by_role("button", name="Subcategory: Temporal Analysis")).to_be_visible()
    expect(page.get_by_text("sealed items are not shown")).to_be_visible()
    page.get_by_role("radio", name="Problems").click()
    expect(page.get_by_text(re.compile("Nothing is wrong|item")).first).to_be_visible()


def test_a_dataset_that_is_not_there_is_said_and_another_is_shown(lab: Lab, page: Page) -> None:
    page.goto(lab.address("data", dataset="nowhere"))
    expect(page.get_by_text("There is no dataset nowhere.")).to_be_visible()
    expect(page.locator(".rows").nth(1).locator("button.row").first).to_be_visible()


def test_free_form_questions_alone_are_shown_heard_and_led_to_their_choices(lab: Lab, page: Page) -> None:
    folder = lab.workspace.datasets / "open-ended"
    (folder / "audio").mkdir(parents=True)
    shutil.copy(lab.workspace.datasets / "bells" / "audio" / "00.wav", folder / "audio" / "00.wav")
    row = {"id": "open-0", "question": "What rings?", "answer": "A doorbell.", "audio_path": "audio/00.wav"}
    lines = [row, row | {"id": "open-1", "question": "What breaks?", "answer": "A glass."}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "free.jsonl").write_text(text + '{"id": "half-writ')
    try:
        page.goto(lab.address("data", dataset="open-ended"))
        expect(page.locator(".rows").first).to_contain_text("free-form")
        expect(page.get_by_text("free-form questions", exact=False)).to_be_visible()
        page.get_by_placeholder("Find in questions").fill("glass")
        page.get_by_placeholder("Find in questions").press("Enter")
        expect(page.locator(".rows").nth(1).locator("button.row")).to_have_count(1)
        expect(page.locator(".question")).to_contain_text("What breaks?")
        page.get_by_role("button", name="Play").first.click()
        expect(page.get_by_role("button", name="Pause").first).to_be_visible()
        page.get_by_role("button", name="Make choices").click()
        page.wait_for_url("**/launch*")
        expect(page.get_by_text("--set source=open-ended", exact=False)).to_be_visible()
    finally:
        shutil.rmtree(folder)
