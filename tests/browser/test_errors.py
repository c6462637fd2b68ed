"""The Error explorer in a real browser: from a figure to a failure, heard, read, tagged by key, undone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from playwright.sync_api import Browser, Page, expect

from audioreason.items import DatasetInfo, load_dataset, save_dataset
from audioreason.items.splits import split_of
from audioreason.review import Annotations
from audioreason.runs import RunWriter, import_predictions, run_folder
from audioreason.runs.desk import opened as opened_items
from audioreason.runs.desk import pins
from tests.browser.conftest import Lab, opened
from tests.browser.world import HOSTILE
from tests.jobs.helpers import until
from tests.runs.conftest import answer, make_record

WRONG = (0, 1, 4, 5)  # items that the run answers wrongly; it states no choice for item 2
RUN = "errors-a"
OTHER = "errors-b"


def answers(lab: Lab, run_id: str, wrong: tuple[int, ...]) -> None:
    """A finished run on the twelve bells."""
    items = load_dataset(lab.workspace, "bells").items
    lines = []
    for k, item in enumerate(items):
        answer = item.choices[((item.gold or 0) + 1) % 4] if k in wrong else item.answer
        thinking = f"{run_id} hears glass at 2.60. " + ("So it is three of them. " * 5 if k == 1 else "")
        text = "I could not say." if k == 2 else answer
        lines.append({"id": item.id, "answer_prediction": text, "thinking_prediction": thinking})
    file = lab.workspace.root / f"{run_id}.jsonl"
    file.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    import_predictions(lab.workspace, file, "bells", run_id)


@pytest.fixture(autouse=True)
def runs(lab: Lab) -> Iterator[Annotations]:
    """Two runs, and nothing that another test wrote about them."""
    for run_id, wrong in ((RUN, WRONG), (OTHER, (1, 2, 3))):
        if not run_folder(lab.workspace, run_id).exists():
            answers(lab, run_id, wrong)
    book = Annotations(lab.workspace)
    for (item, sample), tags in book.tags_of(RUN).items():
        for tag in tags:
            book.set_tag(RUN, item, sample, tag, False)
    for item in book.errata("bells"):
        book.mark("bells", item, None)
    yield book


def open_triage(page: Page, lab: Lab, **query: str) -> None:
    """Open Triage and wait until a prediction is open."""
    where = {"run": RUN, "view": "Triage"} | query
    page.goto(lab.address("errors", **where), wait_until="domcontentloaded")
    page.locator(".tagbar .tags button").first.wait_for()
    expect(page.locator(".sheet .row.current")).to_have_count(1)


def opened_item(page: Page) -> str:
    """Id of the open item, as the bar says it."""
    return page.locator(".bar .id").inner_text()


def query(page: Page) -> dict[str, list[str]]:
    """What the address says."""
    return parse_qs(urlsplit(page.url).query)


def test_a_cell_leads_to_its_failures_and_a_key_to_the_next(page: Page, lab: Lab) -> None:
    page.goto(lab.address("errors", run=RUN), wait_until="domcontentloaded")
    expect(page.get_by_text("58.3%").first).to_be_visible()  # 7 of 12
    page.get_by_role("button", name="Counting and Statistics, wrong choice: 2 of 6").click()
    expect(page.locator(".sheet .row")).to_have_count(2)
    assert query(page)["sub"] == ["Counting and Statistics"]
    assert query(page)["outcome"] == ["wrong"]
    expect(page.locator(".bar .place")).to_have_text("1 of 2")
    expect(page.locator(".question .given")).to_contain_text("given")
    page.keyboard.press("j")
    expect(page.locator(".bar .id")).to_have_text("bells-04")
    expect(page.locator(".sheet .row.current")).to_have_attribute("data-item", "bells-04")
    expect(page.locator(".trace").first).to_contain_text("hears glass at 2.60")
    page.keyboard.press("k")
    expect(page.locator(".bar .id")).to_have_text("bells-00")


def test_outcome_and_search_narrow_the_list(page: Page, lab: Lab) -> None:
    open_triage(page, lab)
    expect(page.locator(".sheet .row")).to_have_count(12)
    page.get_by_role("button", name="no choice 1").click()
    expect(page.locator(".sheet .row")).to_have_count(1)
    expect(page.locator(".bar .id")).to_have_text("bells-02")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".sheet .row")).to_have_count(12)
    search = page.get_by_role("textbox", name="Search")
    search.fill("three of them")
    search.press("Enter")
    expect(page.locator(".sheet .row")).to_have_count(1)
    expect(page.locator(".trace .looped").first).to_be_visible()
    page.get_by_role("button", name="Pin 1").click()
    expect(page.get_by_text("1 item pinned")).to_be_visible()
    assert "bells-01" in pins(lab.workspace, "bells")


def test_space_plays_and_autoplay_plays_the_next(page: Page, lab: Lab) -> None:
    open_triage(page, lab)
    page.locator(".player").first.wait_for()
    page.keyboard.press(" ")
    page.wait_for_function(playing("bells/bells-00"))
    page.locator(".bar .autoplay").click()
    page.keyboard.press("j")
    page.wait_for_function(playing("bells/bells-01"))
    page.wait_for_function(
        "() => window.__audioreasonPlayers?.clips.get('bells/bells-00')?.audio.paused !== false"
    )
    expect(page.locator(".bar .id")).to_have_text("bells-01")


def playing(clip: str) -> str:
    """JavaScript that is true while a clip plays."""
    return f"() => window.__audioreasonPlayers?.clips.get('{clip}')?.audio.paused === false"


def test_keys_tag_note_and_undo_and_all_of_it_is_on_disk(page: Page, lab: Lab, runs: Annotations) -> None:
    open_triage(page, lab)
    first, second = (tag.name for tag in runs.tags()[:2])
    page.keyboard.press("1")
    page.keyboard.press("2")  # faster than the page answers: none may be lost
    expect(page.locator(".tagbar .said")).to_contain_text("undoes it")
    expect(page.locator(".tags [aria-pressed=true]")).to_have_count(2)
    expect(page.locator(".sheet .row.tagged")).to_have_count(1)
    assert set(runs.tags_of(RUN)["bells-00", 0]) == {first, second}
    page.keyboard.press("u")
    expect(page.locator(".tagbar .said")).to_contain_text("Undone")
    expect(page.locator(".tags [aria-pressed=true]")).to_have_count(1)
    assert runs.tags_of(RUN)["bells-00", 0] == (first,)
    page.keyboard.press("n")
    page.keyboard.type("j u 1: knocks were counted")  # keys are letters while somebody writes
    page.keyboard.press("Enter")
    expect(page.locator(".tagbar .said")).to_contain_text("Note kept")
    assert runs.note(RUN, "bells-00", 0) == "j u 1: knocks were counted"
    assert opened_item(page) == "bells-00"
    page.reload(wait_until="domcontentloaded")
    expect(page.locator(".tagbar .foot .note")).to_have_value("j u 1: knocks were counted")
    expect(page.locator(".tags [aria-pressed=true]")).to_have_count(1)
    open_triage(page, lab, tag="-")
    expect(page.get_by_text("of 12 · not tagged")).to_be_visible()
    expect(page.locator(".sheet .row")).to_have_count(11)
    assert opened_item(page) == "bells-01"


def test_an_erratum_changes_the_figure(page: Page, lab: Lab, runs: Annotations) -> None:
    open_triage(page, lab)
    expect(page.get_by_text("58.3%").first).to_be_visible()
    page.locator(".marks button", has_text="ambiguous").click()
    switch = page.get_by_text("Without errata (1)")
    expect(switch).to_be_visible()
    expect(page.get_by_text("58.3%").first).to_be_visible()  # marking alone changes nothing
    assert runs.errata("bells")["bells-00"].kind == "ambiguous"
    why = page.get_by_role("textbox", name="Why the item is marked")
    why.fill("two of them ring")
    why.press("Enter")
    until(lambda: runs.errata("bells")["bells-00"].note == "two of them ring")
    expect(why).to_have_value("two of them ring")
    switch.click()
    expect(page.get_by_text("63.6%").first).to_be_visible()  # 7 of 11
    expect(page.locator(".sheet .row")).to_have_count(11)


def test_a_link_leads_to_the_same_item_filters_and_view(page: Page, lab: Lab) -> None:
    open_triage(page, lab, sub="Temporal+Analysis", outcome="wrong", item="bells-05")
    expect(page.locator(".bar .id")).to_have_text("bells-05")
    expect(page.locator(".bar .place")).to_have_text("2 of 2")
    page.locator(".rows .row", has_text=OTHER).click()
    expect(page.locator(".trace")).to_have_count(2)
    link = page.url
    page.goto("about:blank")
    page.goto(link, wait_until="domcontentloaded")
    expect(page.locator(".bar .id")).to_have_text("bells-05")
    expect(page.locator(".trace")).to_have_count(2)
    expect(page.locator(".sheet .row")).to_have_count(2)


def test_open_in_playground_leads_to_the_item(page: Page, lab: Lab) -> None:
    open_triage(page, lab, item="bells-04")
    page.get_by_role("button", name="Open in playground").click()
    page.wait_for_url(re.compile(r"/playground\?.*item=bells-04"))
    expect(page.locator(".asked").first).to_contain_text("glass struck")


def test_runs_that_cannot_be_shown_say_why_in_a_sentence(page: Page, lab: Lab) -> None:
    page.goto(lab.address("errors", run="never-there"), wait_until="domcontentloaded")
    expect(page.get_by_text("There is no run 'never-there' in")).to_be_visible()
    shutil.rmtree(run_folder(lab.workspace, "errors-gone"), ignore_errors=True)  # of a try before
    answers(lab, "errors-gone", (0,))
    page.goto(lab.address("errors", run="errors-gone"), wait_until="domcontentloaded")
    expect(page.get_by_text("83.3%").first).to_be_visible()
    shutil.rmtree(run_folder(lab.workspace, "errors-gone"))
    page.get_by_text("Triage", exact=True).click()
    expect(page.get_by_text("There is no run 'errors-gone'")).to_be_visible()


@pytest.mark.slow
def test_a_changed_dataset_is_said_and_its_missing_clips_too(page: Page, lab: Lab) -> None:
    folder = lab.workspace.datasets / "small"
    items = [
        item.model_copy(update={"audio_path": None}) for item in load_dataset(lab.workspace, "bells").items
    ]
    save_dataset(folder, DatasetInfo(name="small"), items)
    file = lab.workspace.root / "small.jsonl"
    file.write_bytes(orjson.dumps([{"id": items[0].id, "answer_prediction": "2 times"}]))
    import_predictions(lab.workspace, file, "small", "errors-small")
    save_dataset(folder, DatasetInfo(name="small"), items[1:])
    page.goto(lab.address("errors", run="errors-small", view="Triage"), wait_until="domcontentloaded")
    expect(page.get_by_text("has changed since this run")).to_be_visible()
    expect(page.get_by_text("This item is no longer in the dataset")).to_be_visible()
    shutil.rmtree(folder)
    page.reload(wait_until="domcontentloaded")
    expect(page.get_by_text("cannot be read any more")).to_be_visible()


@pytest.mark.slow
def test_the_sealed_half_opens_only_by_a_recorded_act(page: Page, lab: Lab) -> None:
    folder = lab.workspace.datasets / "bench"
    items = [
        item.model_copy(update={"audio_path": None}) for item in load_dataset(lab.workspace, "bells").items
    ]
    save_dataset(folder, DatasetInfo(name="bench", kind="benchmark"), items)
    file = lab.workspace.root / "bench.jsonl"
    file.write_bytes(orjson.dumps([{"id": item.id, "answer_prediction": "2 times"} for item in items]))
    import_predictions(lab.workspace, file, "bench", "errors-bench")
    page.goto(lab.address("errors", run="errors-bench", part="sealed"), wait_until="domcontentloaded")
    expect(page.get_by_text("is closed")).to_be_visible()
    expect(page.locator(".grid")).to_have_count(0)
    assert not opened_items(lab.workspace, "bench")
    page.get_by_role("button", name="sealed items").click()
    expect(page.locator(".grid").first).to_be_visible()
    assert opened_items(lab.workspace, "bench")


@pytest.mark.slow
def test_two_tabs_and_a_run_that_is_written_and_killed_stay_in_step(
    page: Page, lab: Lab, browser: Browser, runs: Annotations
) -> None:
    data = load_dataset(lab.workspace, "bells")
    tag = runs.tags()[0].name
    with RunWriter.create(
        lab.workspace, make_record(data, "errors-live"), data.items, split_of(data)
    ) as writer:
        for item in data.items[:3]:
            writer.append(answer(item.id, "ANSWER: 2 times"))
        open_triage(page, lab, run="errors-live")
        expect(page.get_by_text("still being written: 3 of 12 items so far")).to_be_visible()
        expect(page.locator(".sheet .row")).to_have_count(3)
        page.keyboard.press("1")
        expect(page.locator(".tagbar .said")).to_contain_text(tag)
        for other in opened(browser, "dark", lab.url):
            open_triage(other, lab, run="errors-live")
            expect(other.locator(".sheet .row.tagged")).to_have_count(1)
            other.keyboard.press("2")
            expect(other.locator(".tags [aria-pressed=true]")).to_have_count(2)
            for item in data.items[3:5]:
                writer.append(answer(item.id, "ANSWER: 3 times"))
            read_again_until(page, 5)
            expect(page.locator(".tags [aria-pressed=true]")).to_have_count(2)
            page.keyboard.press("j")
            expect(page.locator(".bar .place")).to_have_text("2 of 5")
    stopped = page.get_by_text(
        "was stopped: 5 of 12 items so far"
    )  # the writer is gone, and had not finished
    for _ in range(12):
        page.reload(wait_until="domcontentloaded")
        with suppress(AssertionError):  # what runs there are may be a second old
            expect(stopped).to_be_visible(timeout=5_000)
            break
    expect(stopped).to_be_visible()
    expect(page.locator(".sheet .row")).to_have_count(5)


def read_again_until(page: Page, count: int) -> None:
    """Ask for what was written meanwhile until the list has so many rows."""
    for _ in range(12):
        page.get_by_role("button", name="Read again").click()
        with suppress(AssertionError):
            expect(page.locator(".sheet .row")).to_have_count(count, timeout=2_500)
            return
    expect(page.locator(".sheet .row")).to_have_count(count)


@pytest.mark.slow
def test_hostile_questions_answers_tags_and_notes_show_as_text(
    page: Page, lab: Lab, runs: Annotations
) -> None:
    items = load_dataset(lab.workspace, "hostile").items
    file = lab.workspace.root / "hostile.jsonl"
    texts = [*HOSTILE.values()]
    lines = [
        {"id": item.id, "answer_prediction": text, "thinking_prediction": text}
        for item, text in zip(items, texts, strict=False)
    ]
    file.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    import_predictions(lab.workspace, file, "hostile", "errors-hostile")
    tag = HOSTILE["script"][:50]
    runs.set_tag("errors-hostile", items[0].id, 0, tag, True)
    runs.set_note("errors-hostile", items[0].id, 0, HOSTILE["markdown"])
    runs.mark("hostile", items[1].id, "wrong", HOSTILE["script"])
    open_triage(page, lab, run="errors-hostile")
    expect(page.locator(".tags button", has_text=tag)).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".trace").first).to_contain_text("<script>")
    for _ in items[1 : len(lines)]:
        page.keyboard.press("j")
    expect(page.locator(".bar .place")).to_have_text(f"{len(lines)} of {len(lines)}")
    assert_harmless(page)
    for view in ("Overview", "Confusions", "Tags"):
        page.get_by_text(view, exact=True).click()
        page.locator(".grid, .rows").first.wait_for()
        assert_harmless(page)
    runs.remove_tag(tag)
    runs.mark("hostile", items[1].id, None)


def assert_harmless(page: Page) -> None:
    """No script ran, and no picture or link came out of text."""
    assert page.title() == "audioreason"
    assert page.locator("img[src*='127.0.0.1:9'], a[href^='javascript'], .sheet img, .trace img").count() == 0
