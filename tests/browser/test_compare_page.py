"""The Compare page in a real browser: pick runs, open a cell, export what is shown, come back by a link."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from audioreason.inference.endpoint import Sampling
from audioreason.items import load_dataset
from audioreason.items.splits import split_of
from audioreason.review import Annotations
from audioreason.runs import (
    EndpointRef,
    Prediction,
    PromptRef,
    RunRecord,
    RunWriter,
    dataset_ref,
    run_folder,
    score_run,
)
from audioreason.runs.desk import opened
from audioreason.workspace import Workspace
from tests.browser.conftest import Lab

BEFORE, AFTER, ELSEWHERE = "20261101-0100-plain-aaa", "20261102-0100-careful-bbb", "20261103-0100-odd-ccc"
ENDPOINT = EndpointRef(name="fake", base_url="http://127.0.0.1:1/v1", model="fake-listener", transport="file")
WON, LOST = {0, 1, 2, 3, 4}, {5}  # places of items that only one of the two runs gets right
BOTH_WRONG = {6, 7}


@pytest.fixture(scope="module", autouse=True)
def runs(lab: Lab) -> Iterator[None]:
    """Two runs on the bells that differ on six items, and one on other items."""
    places = set(range(12))
    write(lab.workspace, BEFORE, "plain", "bells", places - WON - BOTH_WRONG, day=1)
    write(lab.workspace, AFTER, "careful", "bells", places - LOST - BOTH_WRONG, day=2)
    write(lab.workspace, ELSEWHERE, "odd", "hostile", {0, 1}, day=3)
    yield
    for run_id in (BEFORE, AFTER, ELSEWHERE):
        shutil.rmtree(run_folder(lab.workspace, run_id))


def write(
    workspace: Workspace, run_id: str, prompt: str, dataset: str, right: set[int], day: int, **changes: object
) -> None:
    """A finished run whose answers are right at these places of the dataset."""
    data = load_dataset(workspace, dataset)
    record = RunRecord(
        run_id=run_id,
        created=datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=day),
        kind="eval",
        dataset=dataset_ref(data),
        prompt=PromptRef(
            name=prompt,
            version=f"{day}123456789ab",
            system="Listen.",
            user="{{ question }}",
            sections=("HEARD", "ANSWER"),
        ),
        endpoint=ENDPOINT,
        sampling=Sampling(),
        n_items=len(data.items),
        **changes,
    )
    with RunWriter.create(workspace, record, data.items, split_of(data)) as writer:
        for place, item in enumerate(data.items):
            given = item.answer if place in right else next(c for c in item.choices if c != item.answer)
            text = f"HEARD: {prompt} heard this, a doorbell 0.50-2.00\nANSWER: {given}"
            writer.append(
                Prediction(
                    item.id,
                    content=text,
                    finish_reason="stop",
                    completion_tokens=10 * day,
                    tokens_estimated=run_id == AFTER,
                    seconds=0.5 * day,
                )
            )
        writer.finish()
    score_run(workspace, run_id)


def open_pair(page: Page, lab: Lab, **query: str) -> None:
    """Open the comparison of the two runs and wait for its verdict."""
    page.goto(lab.address("compare", runs=f"{BEFORE},{AFTER}", **query), wait_until="domcontentloaded")
    expect(page.locator(".st-key-compare_verdict")).to_contain_text("careful", timeout=60_000)


def test_runs_are_picked_and_a_cell_lands_on_its_items_in_the_explorer(page: Page, lab: Lab) -> None:
    page.goto(lab.address("compare"), wait_until="domcontentloaded")
    expect(page.get_by_text("No run is chosen yet")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Choose runs").click()
    page.get_by_placeholder("Search runs").fill("careful bells")
    expect(page.locator(".runlist .entry:visible")).to_have_count(1)
    page.get_by_role("checkbox", name=AFTER).click()
    expect(page.get_by_text("One run is chosen")).to_be_visible()
    page.get_by_placeholder("Search runs").fill("plain")
    page.get_by_role("checkbox", name=BEFORE).click()
    expect(
        page.get_by_role("button", name="won: 1 items")
    ).to_be_visible()  # what was chosen first is the baseline
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name=re.compile("2 runs"))).to_be_visible()
    page.get_by_role("combobox", name="Baseline").click()
    page.get_by_role("option", name="against plain").click()
    page.get_by_role("button", name="won: 5 items").click()
    page.wait_for_url(re.compile(r"/errors\?.*cell=won"))
    rows = page.locator(".sheet .row")
    expect(rows).to_have_count(5)
    shown = rows.evaluate_all("rows => rows.map((row) => row.dataset.item)")
    assert shown == [f"bells-{place:02d}" for place in sorted(WON)]
    expect(page.get_by_text("of 12 · won against plain")).to_be_visible()
    traces = page.locator(".trace")  # both runs', side by side
    expect(traces.nth(0)).to_contain_text("careful heard this")
    expect(traces.nth(1)).to_contain_text("plain heard this")
    link = page.url
    page.goto("about:blank")
    page.goto(link, wait_until="domcontentloaded")
    expect(rows).to_have_count(5)
    page.get_by_test_id("stPageLink").get_by_role("link").click()
    expect(page.locator(".st-key-compare_verdict")).to_contain_text("careful")


def test_a_list_beside_the_cells_shows_both_traces_in_place(page: Page, lab: Lab) -> None:
    open_pair(page, lab, baseline=BEFORE)
    page.get_by_role("radio", name="Won").click()
    items = page.locator(".st-key-compare_flips .row")
    expect(items).to_have_count(5)
    items.first.click()
    traces = page.locator(".trace")
    expect(traces.nth(0)).to_contain_text("plain heard this")
    expect(traces.nth(1)).to_contain_text("careful heard this")
    # one server counted each answer, the other one several at once
    expect(page.get_by_text(re.compile(r"^10 tokens · "))).to_be_visible()
    expect(page.get_by_text(re.compile(r"^about 20 tokens · "))).to_be_visible()
    seen = [re.search(r"bells-\d\d", page.locator(".st-key-compare_item_head").inner_text())]
    for _ in range(4):
        page.keyboard.press("j")
        place = len(seen) + 1
        expect(page.locator(".st-key-compare_item_head")).to_contain_text(f"{place} of 5")
        seen.append(re.search(r"bells-\d\d", page.locator(".st-key-compare_item_head").inner_text()))
    assert {found[0] for found in seen if found} == {f"bells-{place:02d}" for place in WON}


def test_a_runs_tag_finds_it_again(page: Page, lab: Lab) -> None:
    open_pair(page, lab)
    page.get_by_role("button", name=re.compile("2 runs")).click()
    field = page.get_by_role("combobox", name="Tags of careful")
    field.fill("paper")
    field.press("Enter")
    expect(page.locator(".runlist .entry .tag")).to_have_text("paper")
    assert Annotations(lab.workspace).run_tags() == {AFTER: ("paper",)}
    page.get_by_placeholder("Search runs").fill("paper")
    expect(page.locator(".runlist .entry:visible")).to_have_count(1)
    page.get_by_role("checkbox", name=AFTER).click()
    expect(page.get_by_text("One run is chosen")).to_be_visible()
    Annotations(lab.workspace).tag_run(AFTER, "paper", False)


def test_a_link_leads_back_to_the_same_comparison(page: Page, lab: Lab) -> None:
    open_pair(
        page, lab, baseline=AFTER, score="official", by="layer", cell="won", item="bells-05", cost="seconds"
    )
    expect(page.get_by_role("combobox", name="Baseline")).to_have_value("against careful")
    expect(page.get_by_role("radio", name="Official")).to_be_checked()
    expect(page.locator(".st-key-compare_item_head")).to_contain_text("won 1 of 1 · bells-05")
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("radio", name="Layer")).to_be_checked()
    expect(page.get_by_role("radio", name="Seconds")).to_be_checked()
    expect(page.get_by_role("radio", name="Won")).to_be_checked()


def test_the_export_holds_the_numbers_of_the_page(page: Page, lab: Lab, tmp_path: Path) -> None:
    open_pair(page, lab)
    verdict = page.locator(".st-key-compare_verdict").inner_text()
    shown = re.search(r"([+−]\d+\.\d) points, 95% CI ([+−]?\d+\.\d) to ([+−]?\d+\.\d)", verdict)
    assert shown is not None
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    download.value.save_as(tmp_path / "table.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    row = next(row for row in rows if row["run_id"] == AFTER)
    signed = [float(number.replace("−", "-")) for number in shown.groups()]
    exported = [100 * float(row[name]) for name in ("difference", "difference_low", "difference_high")]
    assert [round(value, 1) for value in exported] == signed
    assert exported[0] == pytest.approx(100 * (len(WON) - len(LOST)) / 12)
    with page.expect_download() as download:
        page.get_by_role("button", name="HTML report").click()
    download.value.save_as(tmp_path / "report.html")
    report = (tmp_path / "report.html").read_text()
    assert shown[1] in report
    assert "careful heard this" in report
    assert "data:audio" in report
    page.get_by_role("combobox", name="Chart").click()
    page.get_by_role("option", name="Leaderboard").click()
    expect(page.get_by_role("combobox", name="Chart")).to_have_value("Leaderboard")
    wanted, drawn = f"{shown[1]} [{shown[2]}, {shown[3]}]", ""
    for _ in range(20):  # the button gives the chart of before until the page has drawn this one
        with page.expect_download() as download:
            page.get_by_role("button", name="SVG").click()
        download.value.save_as(tmp_path / "chart.svg")
        drawn = (tmp_path / "chart.svg").read_text()
        if wanted in drawn:
            break
        page.wait_for_timeout(250)
    assert wanted in drawn


def test_what_hearing_adds_and_steadiness_show_where_twins_are(page: Page, lab: Lab) -> None:
    twins = [f"20261102-0200-careful-{name}" for name in ("silence", "order0", "order1")]
    write(lab.workspace, twins[0], "careful", "bells", {0, 1}, day=2, ablation="silence")
    for order, run_id in enumerate(twins[1:]):
        write(lab.workspace, run_id, "careful", "bells", {0, 1, 2 + order}, day=2, permutation=order)
    try:
        open_pair(page, lab)
        expect(page.get_by_text("Hearing the clips adds: +58.3 points over silence.")).to_be_visible()
        expect(page.get_by_text("of pairs of 2 orders of the choices")).to_be_visible()
        page.get_by_role("button", name="By subcategory").click()
        expect(page.get_by_role("combobox", name="Baseline")).to_have_value("against careful (silence)")
        expect(page.get_by_role("button", name="won: 7 items")).to_be_visible()
    finally:
        for run_id in twins:
            shutil.rmtree(run_folder(lab.workspace, run_id))


def test_marked_items_leave_every_figure_when_asked(page: Page, lab: Lab) -> None:
    notes = Annotations(lab.workspace)
    notes.mark("bells", "bells-00", "wrong")
    try:
        open_pair(page, lab)
        expect(page.get_by_role("button", name="won: 5 items")).to_be_visible()
        page.get_by_text("Without errata (1)").click()
        expect(page.get_by_role("button", name="won: 4 items")).to_be_visible()
        expect(page.locator(".st-key-compare_verdict")).to_contain_text("11 items")
    finally:
        notes.mark("bells", "bells-00", None)


def test_a_sealed_item_is_shown_only_when_asked_for_and_that_is_recorded(page: Page, lab: Lab) -> None:
    data = load_dataset(lab.workspace, "soundcheck")
    parts = split_of(data)
    sealed = next(k for k, item in enumerate(data.items) if parts[item.id] == "sealed")
    item_id, runs = data.items[sealed].id, ("20261104-0100-half-ddd", "20261105-0100-more-eee")
    write(lab.workspace, runs[0], "half", "soundcheck", set(range(100)) - {sealed}, day=4)
    write(lab.workspace, runs[1], "more", "soundcheck", set(range(100)), day=5)
    try:
        page.goto(lab.address("compare", runs=",".join(runs), item=item_id), wait_until="domcontentloaded")
        expect(page.get_by_text("This item is in the sealed half.")).to_be_visible(timeout=60_000)
        expect(page.get_by_text("Sealed too (1)")).to_be_visible()
        assert item_id not in opened(lab.workspace, "soundcheck")
        page.get_by_text("Sealed too (1)").click()
        expect(page.locator(".trace").first).to_contain_text("half heard this")
        assert item_id in opened(lab.workspace, "soundcheck")
    finally:
        for run_id in runs:
            shutil.rmtree(run_folder(lab.workspace, run_id))


def test_the_papers_table_stands_without_own_runs(page: Page, lab: Lab) -> None:
    page.goto(lab.address("compare", view="paper"), wait_until="domcontentloaded")
    expect(page.get_by_text("No run on MMAR with answers")).to_be_visible(timeout=60_000)
    expect(page.locator(".st-key-compare_changes .row")).to_have_count(3)
    expect(page.get_by_text("+13.1")).to_be_visible()


def test_what_cannot_be_compared_is_said_in_a_sentence(page: Page, lab: Lab) -> None:
    page.goto(lab.address("compare", runs=f"{BEFORE},nowhere"), wait_until="domcontentloaded")
    expect(page.get_by_text("There is no run nowhere in this workspace")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("One run is chosen")).to_be_visible()
    page.goto(lab.address("compare", runs=f"{BEFORE},{ELSEWHERE}"), wait_until="domcontentloaded")
    expect(page.get_by_text("share no answered item")).to_be_visible(timeout=60_000)
