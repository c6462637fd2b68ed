"""The Challenge page: files to hand in, a rating started and shown, and answers rated by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from audioreason.challenge import check_submission, ratings_of
from audioreason.items import load_dataset
from audioreason.runs import Prediction
from tests.browser.conftest import Lab
from tests.challenge.helpers import answered_run, judged_run
from tests.jobs.helpers import until
from tests.servers import Text


@pytest.fixture(scope="module", autouse=True)
def run(lab: Lab) -> Iterator[None]:
    """Three right answers of four, with rubrics."""
    judged_run(lab.workspace, "judged-run")
    yield


def test_a_run_is_handed_in_rated_by_a_job_and_by_hand(page: Page, lab: Lab) -> None:
    lab.model.reply = Text('Plain reasons. {"points": [1, 1, 1, 1, 0]}')
    page.goto(lab.address("challenge", run="judged-run"), wait_until="domcontentloaded")
    expect(page.get_by_text("This run can be handed in")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Submission (zip)").click()
    checked = check_submission(download.value.path(), load_dataset(lab.workspace, "judged"))
    assert checked.valid and checked.official == 0.75
    page.get_by_role("button", name="Rate reasoning").click()
    expect(page.get_by_text("60.0%").first).to_be_visible(timeout=60_000)  # .8 of three of four
    page.get_by_role("radio", name="Answers").click()
    expect(page.locator(".st-key-challenge_answers .row")).to_have_count(3)
    expect(page.get_by_text("Plain reasons.").first).to_be_visible()
    page.get_by_role("radio", name="By hand").click()
    for number in (1, 2):
        expect(page.get_by_text("Plain reasons.")).to_have_count(0)  # blind
        page.locator("label").filter(has_text="Award 1 point for 0.").click()
        expect(page.get_by_text(re.compile(r"1 of 5 points"))).to_be_visible()
        page.get_by_role("button", name="Save and next").click()
        until(lambda n=number: len(ratings_of(lab.workspace, "judged-run", "hand")) == n, what="a rating")  # type: ignore[misc]
        expect(page.get_by_text(re.compile("1 of 5 points"))).to_have_count(0)
    page.get_by_role("radio", name="Score").click()
    expect(page.get_by_text(re.compile("without the judge's bias"))).to_be_visible()
    expect(page.get_by_text(re.compile("gives \\+60.0 points"))).to_be_visible()


def test_a_run_of_several_samples_asks_which_and_long_reasoning_is_shortened_on_request(
    page: Page, lab: Lab
) -> None:
    dataset = load_dataset(lab.workspace, "judged")
    replies = [f"<think>{'long ' * 3_000}</think>yes"] * 4
    others = [Prediction(item.id, sample=1, content="<think>Brief.</think>no") for item in dataset.items]
    answered_run(lab.workspace, dataset, replies, *others, run_id="two-samples", samples=2)
    page.goto(lab.address("challenge", run="two-samples"), wait_until="domcontentloaded")
    expect(page.get_by_text("2 samples of each item, and a submission holds one")).to_be_visible()
    expect(page.get_by_role("button", name="Submission (zip)")).to_have_count(0)
    page.get_by_placeholder("Choose a sample").click()
    page.get_by_role("option", name="Sample 0").click()
    expect(page.get_by_text(re.compile("10,000 characters or more"))).to_be_visible()
    page.get_by_text("Cut the middle out of reasoning").click()
    expect(page.get_by_text("This run can be handed in")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Submission (zip)").click()
    assert download.value.suggested_filename == "two-samples-submission-sample0.zip"
    checked = check_submission(download.value.path(), dataset)
    assert checked.valid and checked.official == 1.0
