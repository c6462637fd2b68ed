"""The Optimize page in a real browser: a search read trial by trial, one that grows, others broken."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from audioreason.optimize.record import Trial, optimization_folder
from audioreason.runs import run_folder
from tests.browser.conftest import Lab
from tests.browser.optimize_searches import NEW, SEARCH, candidates, write_search

RUNNING, BROKEN, PAPER = "20261102-running", "20261103-broken", "20261104-paper"


@pytest.fixture(scope="module")
def search(lab: Lab) -> Iterator[str]:
    """One search that has ended, with the runs of its test."""
    write_search(lab.workspace).close()
    yield SEARCH
    shutil.rmtree(optimization_folder(lab.workspace, SEARCH))
    for name in ("seed", "best"):
        shutil.rmtree(run_folder(lab.workspace, f"{SEARCH}-{name}"))


@pytest.fixture
def gone(lab: Lab) -> Iterator[None]:
    """Searches of one test, removed after it."""
    yield
    for name in (RUNNING, BROKEN, PAPER):
        shutil.rmtree(lab.workspace.optimize / name, ignore_errors=True)


def open_search(page: Page, lab: Lab, search: str, **query: str) -> None:
    """Open a search and wait for its table of candidates."""
    page.goto(lab.address("optimize", search=search, **query), wait_until="domcontentloaded")
    expect(candidates_table(page)).to_contain_text("Seed", timeout=60_000)


def candidates_table(page: Page) -> Locator:
    """The table of candidates."""
    return page.locator(".st-key-optimize_candidates")


def test_without_a_search_the_page_says_what_it_is_for_and_leads_to_launch(page: Page, lab: Lab) -> None:
    page.goto(lab.address("optimize"), wait_until="domcontentloaded")
    expect(page.get_by_text("No search for a better prompt yet.")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Set up the first one").click()
    page.wait_for_url(re.compile("/launch"))


def test_a_candidate_is_chosen_read_heard_and_traced_back_to_its_request(
    page: Page, lab: Lab, search: str
) -> None:
    page.goto(lab.address("optimize"), wait_until="domcontentloaded")  # the newest search opens by itself
    expect(candidates_table(page)).to_contain_text("5 · best", timeout=60_000)
    expect(page).to_have_url(re.compile(f"search={search}"))
    result = page.locator(".st-key-optimize_result")
    expect(result).to_contain_text(f"{NEW} from")  # the compare room's own words about the two test runs
    expect(result).to_contain_text("4 candidates were scored on the same 5 dev items")
    expect(page.get_by_text("39 of 600 requests (5 to the proposer)")).to_be_visible()

    made = candidates()
    marks = page.locator(".st-key-optimize_trials .hit_marks path")
    marks.nth(2).click()  # the third trial: candidate 1 on all of dev
    expect(page).to_have_url(re.compile(f"candidate={made[1].id}"))
    named = page.locator(".cell:first-child", has_text=re.compile("^3$"))
    candidates_table(page).locator(".row", has=named).click()
    expect(page).to_have_url(re.compile(f"candidate={made[3].id}"))
    head = page.locator(".st-key-optimize_head")
    expect(head).to_contain_text("Candidate 3")
    code = page.locator(".st-key-optimize_changes pre")
    expect(code).to_contain_text("+Ignore wooden knocks.")  # against its parent: only its own line is new
    expect(code).not_to_contain_text("+First write down")
    page.get_by_role("radio", name="against the seed").click()
    expect(code).to_contain_text("+First write down")

    page.get_by_role("radio", name="Items").click()
    expect(page.locator(".player").first).to_be_visible()
    traces = page.locator(".trace")
    expect(traces.nth(0)).to_contain_text("Prompt 0 had me listen")
    expect(traces.nth(1)).to_contain_text("Prompt 3 had me listen")

    page.get_by_role("radio", name="Requests").click()
    talk = page.locator(".trace").first
    expect(talk).to_contain_text("You write instructions for a model")
    expect(talk).to_contain_text("<b>Plain text only.</b>")  # as it was written, never as markup
    expect(talk).to_contain_text("Ignore wooden knocks.")

    link = page.url
    page.goto("about:blank")
    page.goto(link, wait_until="domcontentloaded")
    expect(head).to_contain_text("Candidate 3", timeout=60_000)
    expect(talk).to_contain_text("Ignore wooden knocks.")
    page.get_by_role("button", name="Save as prompt").click()
    page.get_by_role("button", name="In the playground").click()
    page.wait_for_url(re.compile(f"/playground.*prompt=structured-reasoning-{made[3].id}"))
    (lab.workspace.prompts / f"structured-reasoning-{made[3].id}.md").unlink()


@pytest.mark.usefixtures("gone")
def test_trials_appear_while_a_search_runs_and_its_end_is_said(page: Page, lab: Lab) -> None:
    recorder = write_search(lab.workspace, RUNNING, ended=False)
    made = candidates()
    try:
        open_search(page, lab, RUNNING)
        expect(page.get_by_text("running: trying candidates · 9 of about 12 trials")).to_be_visible()
        expect(page.get_by_text("The test has not been made")).to_be_visible()
        dev = tuple(f"bells-{place:02d}" for place in range(4, 9))
        recorder.append(Trial(10, made[4].id, "full", "dev", dev, 0.4, 1.0, 5.0, 77, 5, ""))
        expect(page.get_by_text("10 of about 12 trials")).to_be_visible()
        expect(candidates_table(page)).to_contain_text("40.0% (0.0 to 100.0)")  # without verdicts no narrower
    finally:
        recorder.close()
    expect(page.get_by_text("interrupted: its process ended")).to_be_visible()


@pytest.mark.slow  # five loads of the page
@pytest.mark.usefixtures("gone")
def test_torn_files_lost_items_and_the_papers_preset_are_said_in_words(page: Page, lab: Lab) -> None:
    write_search(lab.workspace, BROKEN).close()
    folder = lab.workspace.optimize / BROKEN
    with (folder / "trials.jsonl").open("ab") as file:
        file.write(b'{"n": 11, "candid')
    (folder / "splits.json").write_text('{"train": ["lost-1", "lost-2"], "dev": [], "test": []}')
    open_search(page, lab, BROKEN, candidate="nobody")
    expect(page.get_by_text("2 items of this search are not in it any more")).to_be_visible()
    expect(page.get_by_text("nobody is no candidate of this search; the best is shown.")).to_be_visible()
    for name in ("seed", "best"):
        shutil.rmtree(run_folder(lab.workspace, f"{BROKEN}-{name}"))
    page.reload(wait_until="domcontentloaded")
    expect(page.get_by_text("The verdict is the one that was written down.")).to_be_visible(timeout=60_000)

    write_search(lab.workspace, PAPER, ended=False, dealing="paper").close()
    open_search(page, lab, PAPER)
    expect(page.get_by_text("It is not a held-out figure.")).to_be_visible()

    page.goto(lab.address("optimize", search="nowhere"), wait_until="domcontentloaded")
    expect(page.get_by_text("There is no readable search nowhere.")).to_be_visible(timeout=60_000)
