"""Launch and Jobs in a real browser: a job goes on without its page, and can be stopped and resumed."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator

import orjson
import pytest
from playwright.sync_api import Browser, Page, expect

from audioreason.inference.endpoint import Endpoint, remove_endpoint, save_endpoint
from audioreason.jobs.actions import delete, submit, wait_until_over
from audioreason.jobs.watch import job, list_jobs
from audioreason.runs.record import run_folder
from tests.browser.conftest import HEARD, Lab, opened
from tests.jobs.helpers import until
from tests.servers import Text, closed_port


@pytest.fixture(autouse=True)
def no_jobs_stay(lab: Lab) -> Iterator[None]:
    """Each test begins and ends without jobs."""
    yield
    for view in list_jobs(lab.workspace, children=False):
        delete(lab.workspace, view.id, stop_first=True)


def launch_bells(page: Page, lab: Lab) -> str:
    """Start an evaluation of the twelve bells from the page; returns the job's id."""
    page.goto(lab.address("launch"), wait_until="domcontentloaded")
    page.get_by_role("combobox", name="Dataset").click()
    page.get_by_role("option", name="bells", exact=True).click()
    expect(page.get_by_text("structured-reasoning on bells")).to_be_visible()
    expect(page.get_by_role("button", name="Start")).to_be_enabled()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/jobs?job=*")
    return page.url.partition("job=")[2]


def test_a_job_goes_on_when_its_page_is_closed(page: Page, lab: Lab, browser: Browser) -> None:
    lab.model.reply = Text(HEARD, after=1.5)
    job_id = launch_bells(page, lab)
    expect(page.get_by_text("of 12").first).to_be_visible(timeout=20_000)
    page.close()
    assert wait_until_over(lab.workspace, job_id, 60)
    for tab in opened(browser, "dark", lab.url):
        tab.goto(lab.address("jobs", job=job_id), wait_until="domcontentloaded")
        expect(tab.get_by_text("Finished after")).to_be_visible(timeout=20_000)
        expect(tab.get_by_text("12 answered")).to_be_visible()
        expect(tab.locator(".log")).to_contain_text("fake-listener")
    assert len(answered(lab, job_id)) == 12


def test_a_stopped_job_is_resumed_where_it_was(page: Page, lab: Lab) -> None:
    lab.model.reply = Text(HEARD, after=1.5)
    job_id = submit(lab.workspace, "evaluate", {"dataset": "bells", "concurrency": 1})
    page.goto(lab.address("jobs", job=job_id), wait_until="domcontentloaded")
    expect(page.get_by_text(re.compile(r"^[2-9] of 12")).first).to_be_visible(timeout=30_000)
    page.locator(".st-key-job_stop button").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible(timeout=30_000)
    before = job(lab.workspace, job_id).done
    assert 2 <= before < 12
    lab.model.reply = Text(HEARD)
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("Finished after")).to_be_visible(timeout=30_000)
    assert set(answered(lab, job_id).values()) == {1}
    assert len(answered(lab, job_id)) == 12


@pytest.mark.slow
def test_an_unknown_dataset_is_one_sentence_and_start_waits(page: Page, lab: Lab) -> None:
    page.goto(lab.address("launch"), wait_until="domcontentloaded")
    page.get_by_role("combobox", name="Preset").click()
    page.get_by_role("option", name="paper: structured reasoning on MMAR").click()
    expect(page.get_by_text("mmar").first).to_be_visible()
    expect(page.get_by_role("button", name="Start")).to_be_disabled()
    assert list_jobs(lab.workspace) == []


@pytest.mark.slow
def test_delete_says_first_what_goes(page: Page, lab: Lab) -> None:
    job_id = submit(lab.workspace, "evaluate", {"dataset": "bells", "limit": 2})
    assert wait_until_over(lab.workspace, job_id, 60)
    page.goto(lab.address("jobs", job=job_id), wait_until="domcontentloaded")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Runs, datasets and adapters that it made stay")).to_be_visible()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_text("No jobs yet.")).to_be_visible(timeout=20_000)
    assert list_jobs(lab.workspace) == []
    assert len(answered(lab, job_id)) == 2


@pytest.mark.slow
def test_duplicate_brings_the_settings_to_the_form(page: Page, lab: Lab) -> None:
    job_id = submit(lab.workspace, "evaluate", {"dataset": "bells", "limit": 3, "seeds": [4]})
    assert wait_until_over(lab.workspace, job_id, 60)
    page.goto(lab.address("jobs", job=job_id), wait_until="domcontentloaded")
    page.get_by_role("button", name="Duplicate and edit").click()
    expect(page.get_by_role("textbox", name="Seeds")).to_have_value("4")
    expect(page.get_by_text("structured-reasoning on bells seed 4")).to_be_visible()
    expect(page.get_by_text("--set limit=3")).to_be_visible()


def answered(lab: Lab, job_id: str) -> Counter[str]:
    """How many predictions each item of the job's run has."""
    folder = run_folder(lab.workspace, job_id)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if (folder / "predictions.parquet").exists():
            import pyarrow.parquet as pq

            return Counter(pq.read_table(folder / "predictions.parquet")["item_id"].to_pylist())
        time.sleep(0.1)
    lines = (folder / "predictions.jsonl").read_bytes().splitlines()
    return Counter(orjson.loads(line)["item_id"] for line in lines)


def test_the_log_is_filtered_by_level_and_by_words(page: Page, lab: Lab) -> None:
    nowhere = f"http://127.0.0.1:{closed_port()}/v1"
    job_id = submit(
        lab.workspace, "evaluate", {"dataset": "bells", "endpoints": [nowhere], "server_wait_seconds": 0}
    )
    assert wait_until_over(lab.workspace, job_id, 60)
    page.goto(lab.address("jobs", job=job_id), wait_until="domcontentloaded")
    log = page.locator(".log")
    expect(log).to_contain_text("attempt 1")
    expect(page.get_by_text("Failed after")).to_be_visible()
    page.get_by_role("button", name="Errors", exact=True).click()
    expect(log).not_to_contain_text("attempt 1")
    expect(log.locator(".ERROR").first).to_be_visible()
    page.get_by_role("searchbox", name="Find in log").fill("no line has these words")
    expect(page.get_by_text("No line is like that.")).to_be_visible()
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("searchbox", name="Find in log").fill("ATTEMPT 1")
    expect(log.locator("div")).to_have_count(1)


def test_watching_a_job_runs_no_script_and_moves_nothing(page: Page, lab: Lab) -> None:
    lab.model.reply = Text(HEARD, after=1.5)
    job_id = submit(lab.workspace, "evaluate", {"dataset": "bells", "concurrency": 1})
    page.goto(lab.address("jobs", job=job_id), wait_until="domcontentloaded")
    expect(page.get_by_text(re.compile(r"^\d+ of 12")).first).to_be_visible()
    find = page.get_by_role("searchbox", name="Find in log")
    find.fill("gen")
    card = page.locator(".rail .card").element_handle()
    place = page.locator(".live .line").bounding_box()
    assert card is not None
    expect(page.get_by_text(re.compile(r"^[3-9] of 12")).first).to_be_visible()  # polls may skip a number
    assert card.evaluate("node => node.isConnected")
    assert page.locator(".live .line").bounding_box() == place
    expect(find).to_have_value("gen")
    page.locator(".rail .stop").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible(timeout=30_000)


def test_a_matrix_leads_to_its_parts_and_a_part_to_its_run(page: Page, lab: Lab) -> None:
    prompts = ["baseline", "mipro-v1"]
    job_id = submit(lab.workspace, "evaluate", {"dataset": "bells", "prompts": prompts, "limit": 3})
    assert wait_until_over(lab.workspace, job_id, 60)
    page.goto(lab.address("jobs", job=job_id), wait_until="domcontentloaded")
    page.locator(".parts").get_by_role("button", name="mipro-v1 on bells").click()
    expect(page.get_by_text("Finished after")).to_be_visible()
    expect(page.get_by_role("button", name="All of the matrix")).to_be_visible()
    page.get_by_role("button", name="Open run").click()
    page.wait_for_url("**/errors?run=*")
    expect(page.get_by_text("mipro-v1").first).to_be_visible()


def test_resume_is_offered_where_it_can_help_alone(page: Page, lab: Lab) -> None:
    save_endpoint(lab.workspace, Endpoint(name="nobody", base_url=f"http://127.0.0.1:{closed_port()}/v1"))
    job_id = submit(
        lab.workspace, "evaluate", {"dataset": "bells", "endpoints": ["nobody"], "server_wait_seconds": 0}
    )
    assert wait_until_over(lab.workspace, job_id, 60)
    page.goto(lab.address("jobs", job=job_id), wait_until="domcontentloaded")
    expect(page.get_by_role("button", name="Resume")).to_be_enabled()
    remove_endpoint(lab.workspace, "nobody")
    page.reload(wait_until="domcontentloaded")
    expect(page.get_by_role("button", name="Resume")).to_be_disabled()
    told = page.get_by_text("There is no endpoint named nobody.")

    def told_where_the_pointer_rests() -> bool:  # the page may still draw the button anew under it
        page.mouse.move(0, 0)
        page.locator(".st-key-job_resume").hover()
        page.wait_for_timeout(500)
        return told.is_visible()

    until(told_where_the_pointer_rests)


@pytest.mark.slow
def test_a_run_on_home_opens_with_a_click_and_home_stays_home_after(page: Page, lab: Lab) -> None:
    job_id = submit(lab.workspace, "evaluate", {"dataset": "bells", "limit": 2})
    assert wait_until_over(lab.workspace, job_id, 60)
    page.goto(lab.address("", dataset="bells"), wait_until="domcontentloaded")
    chart = page.locator(".stVegaLiteChart canvas, .stVegaLiteChart svg").first
    chart.click(position={"x": 400, "y": 17})
    page.wait_for_url(f"**/errors?run={job_id}")
    page.get_by_role("link", name="Home").click()
    expect(chart).to_be_visible()
    expect(page.get_by_text("Latest runs")).to_be_visible()
    assert "/errors" not in page.url
