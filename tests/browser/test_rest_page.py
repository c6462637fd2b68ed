"""The ReST page in a real browser: a link leads to a round, a rejected candidate is heard and says why."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from audioreason.rest.record import read_round, write_round
from tests.browser.conftest import Lab, clip_state
from tests.browser.rest_runs import EXPERIMENT, PROMPT, remove_experiment, write_experiment


@pytest.fixture(scope="module", autouse=True)
def experiment(lab: Lab) -> Iterator[None]:
    """One experiment of one round on the bells."""
    write_experiment(lab.workspace)
    yield
    remove_experiment(lab.workspace)


def test_rounds_stand_side_by_side_and_the_head_of_one_leads_to_its_zones(page: Page, lab: Lab) -> None:
    page.goto(lab.address("rest", rest=EXPERIMENT, round="0"), wait_until="domcontentloaded")
    ledger = page.locator(".ledger")
    expect(ledger).to_contain_text("66,448", timeout=60_000)  # as published
    expect(ledger.get_by_role("row").filter(has_text=re.compile("^Candidates"))).to_contain_text("96")
    expect(ledger.get_by_role("row").filter(has_text="by guessing alone")).to_contain_text("%")
    accuracy = ledger.get_by_role("row").filter(has_text=PROMPT)
    expect(accuracy).to_contain_text("66.7%")  # 8 of 12 for the base
    expect(accuracy).to_contain_text("75.0%")  # 9 of 12 after the round
    expect(page.get_by_text("every difference may be noise")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="fake-listener")).to_be_visible()  # no rerun is to come
    ledger.get_by_role("columnheader", name=re.compile("Round 1")).click()
    expect(page).to_have_url(re.compile("round=1"))
    lost = ledger.get_by_role("row").filter(has_text="Lost, of what the base knows")
    expect(lost).to_contain_text("12.5%")  # bells-04, of the 8 that the base knows
    page.get_by_role("radio", name="Forgetting").click()
    expect(page.get_by_text(re.compile("Lost: 1"))).to_be_visible()
    expect(page.get_by_text(re.compile("Newly learned: 2"))).to_be_visible()
    expect(page.locator(".grid .compared").first).to_be_visible()  # what the base itself changes
    page.get_by_role("button", name="Open it in the error explorer").click()
    expect(page).to_have_url(re.compile("errors.*cell=lost"))
    expect(page.get_by_text("bells-04").first).to_be_visible()
    page.go_back()
    page.get_by_role("radio", name="Zones").click()
    expect(page.locator(".columns .count").first).to_be_visible()
    expect(page.locator(".strips .guess").first).to_be_visible()
    page.get_by_role("radio", name="Training").click()
    expect(page.locator(".stVegaLiteChart").first).to_be_visible()
    expect(page.get_by_text("held out at the end")).to_be_visible()


def test_a_rejected_candidate_is_heard_and_says_why_it_was_rejected(page: Page, lab: Lab) -> None:
    address = lab.address("rest", rest=EXPERIMENT, round="1", view="Candidates", kept="rejected")
    page.goto(address, wait_until="domcontentloaded")
    verdict = page.locator(".st-key-rest_verdict")
    expect(verdict).to_contain_text("Rejected", timeout=60_000)
    rows = page.locator(".st-key-rest_list .row")
    rows.filter(has_text="bells-07").first.click()
    expect(page).to_have_url(re.compile("item=bells-07"))
    expect(verdict).to_contain_text("7 of 8 right")
    reason = page.locator(".st-key-rest_list .row.current .cell").last
    expect(reason).to_have_text("zone is not learned from")  # beside the column that names it
    expect(verdict).to_contain_text("Rejected: the zone almost mastered is not learned from")
    page.get_by_role("button", name="Narrow").click()
    page.locator(".st-key-rest_zone input").click()
    page.get_by_role("option", name="almost mastered").click()
    expect(page).to_have_url(re.compile("zone=almost_mastered"))
    expect(page.locator(".st-key-rest_reason input")).to_be_visible()  # still open for another choice
    page.keyboard.press("Escape")
    page.locator(".st-key-rest_clear button").click()
    expect(page).not_to_have_url(re.compile("zone=|kept="))
    expect(rows.filter(has_text="bells-00").first).to_be_visible()  # all of them, from the first one on
    page.get_by_role("radio", name=re.compile("^Rejected")).click()
    rows.filter(has_text="bells-07").first.click()
    expect(verdict).to_contain_text("7 of 8 right")
    expect(page.locator(".trace").first).to_contain_text("doorbell")
    page.get_by_role("button", name="Play", exact=True).first.click()
    page.wait_for_function(
        "() => window.__audioreasonPlayers?.clips.get('bells/bells-07')?.audio.currentTime > 0"
    )
    assert clip_state(page, "bells/bells-07")["paused"] is False


def test_an_interrupted_experiment_says_where_it_stopped_and_how_it_goes_on(page: Page, lab: Lab) -> None:
    known = read_round(lab.workspace, EXPERIMENT, 1)
    assert known is not None
    halfway = known.model_copy(update={"phase": "filter", "over": False, "adapter": ""})
    write_round(lab.workspace, EXPERIMENT, halfway)
    try:
        page.goto(lab.address("rest", rest=EXPERIMENT, view="Training"), wait_until="domcontentloaded")
        expect(page.get_by_text("Stopped in round 1, at train.")).to_be_visible(timeout=60_000)
        expect(page.get_by_text(f"audioreason rest run {EXPERIMENT} --resume")).to_be_visible()
        expect(page.get_by_text("nothing trained yet")).to_be_visible()
    finally:
        write_round(lab.workspace, EXPERIMENT, known)
    expect(page.get_by_text("Stopped in round 1")).to_have_count(0, timeout=30_000)  # nobody reloaded


def test_an_experiment_that_is_gone_is_said_in_a_sentence(page: Page, lab: Lab) -> None:
    page.goto(lab.address("rest", rest="nowhere"), wait_until="domcontentloaded")
    expect(page.get_by_text("There is no experiment nowhere")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("button", name=re.compile("nowhere"))).to_be_visible()


def test_an_empty_page_shows_what_begins_and_leads_to_the_next_one(page: Page, lab: Lab) -> None:
    remove_experiment(lab.workspace)
    try:
        page.goto(lab.address("rest"), wait_until="domcontentloaded")
        expect(page.get_by_text("No self-training experiment yet.")).to_be_visible(timeout=60_000)
    finally:
        write_experiment(lab.workspace)
    expect(page.locator(".ledger")).to_contain_text("66,448", timeout=30_000)  # nobody reloaded
    page.get_by_role("button", name="Launch the next, edited").click()
    expect(page).to_have_url(re.compile("launch"))
    command = page.locator("code").filter(has_text="jobs submit rest")
    expect(command).to_contain_text("--set dataset=bells --set rounds=1 --set samples=8", timeout=30_000)
