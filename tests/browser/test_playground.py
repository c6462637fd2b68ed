"""The playground in a real browser: what is on screen is what is sent, and nothing that came is ever lost."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from audioreason.jobs.watch import list_jobs
from audioreason.runs import read_items, run_folder
from audioreason.runs.desk import pins, set_pin
from tests.browser.conftest import HEARD, RUN, Lab, open_playground, opened, run, trace
from tests.browser.world import HOSTILE
from tests.servers import Half, Request, Text


def finished(page: Page) -> None:
    """Wait until an answer is there and nothing streams any more: Run is back."""
    page.locator(".trace .section").first.wait_for(timeout=20_000)
    expect(page.get_by_role("button", name=RUN).first).to_be_enabled(timeout=30_000)


def test_run_sends_the_text_that_is_in_the_editor(page: Page, lab: Lab) -> None:
    open_playground(page, lab)
    expect(page.get_by_role("button", name=RUN).first).to_be_enabled(timeout=30_000)
    editor = page.get_by_role("textbox", name="User")
    editor.fill("{{ question }}\nOne of: {{ choices | join(', ') }}\nMind the knock.")
    editor.press("Control+Enter")  # at once, without leaving the editor
    expect(page.locator(".trace").first).to_contain_text("ANSWER")
    sent = lab.model.requests[-1]
    assert sent.text.endswith("One of: 2 times, 3 times, 4 times, 5 times\nMind the knock.")
    kinds = [part["type"] for part in sent.body["messages"][-1]["content"]]
    assert kinds == ["input_audio", "text"]


def test_sections_appear_while_they_are_written(page: Page, lab: Lab) -> None:
    lab.model.reply = Text(HEARD, chunks=30, pause=0.15)
    open_playground(page, lab)
    run(page)
    box = page.locator(".trace").first
    expect(box).to_contain_text("HEARD", timeout=15_000)
    assert "ANSWER" not in trace(page)  # the rest is still to come
    expect(box).to_contain_text("ANSWER", timeout=15_000)
    finished(page)
    expect(page.get_by_text("strict 1 · official 1 · read by its exact text")).to_be_visible()
    expect(page.get_by_text("first token")).to_be_visible()


def test_stop_ends_within_a_second_and_keeps_what_came(page: Page, lab: Lab) -> None:
    lab.model.reply = Text("<think>one two three</think>\nHEARD: " + "word " * 400, chunks=200, pause=0.1)
    open_playground(page, lab)
    run(page)
    expect(page.locator(".trace").first).to_contain_text("HEARD", timeout=15_000)
    page.get_by_role("button", name="Stop").click()
    start = time.monotonic()
    while lab.model.in_flight and time.monotonic() - start < 5:
        time.sleep(0.02)
    assert time.monotonic() - start < 1.5  # a second, and some for two busy cores
    expect(page.get_by_text("stopped", exact=True).first).to_be_visible(timeout=5_000)
    expect(page.locator(".trace").first).to_contain_text("word")
    page.reload(wait_until="domcontentloaded")
    expect(page.locator(".trace").first).to_contain_text("word", timeout=20_000)


def test_a_refresh_midway_comes_back_to_the_same_generation(page: Page, lab: Lab) -> None:
    before = len(lab.model.requests)
    lab.model.reply = Text(HEARD, chunks=40, pause=0.2)
    open_playground(page, lab)
    run(page)
    expect(page.locator(".trace").first).to_contain_text("HEARD", timeout=15_000)
    page.reload(wait_until="domcontentloaded")
    expect(page.locator(".trace").first).to_contain_text("HEARD", timeout=20_000)
    expect(page.locator(".trace").first).to_contain_text("ANSWER", timeout=20_000)
    assert len(lab.model.requests) == before + 1  # the reload looked; it did not ask again


def test_a_server_that_dies_midway_gives_one_sentence_and_the_partial_text(page: Page, lab: Lab) -> None:
    lab.model.reply = Half(
        chunks=4, content="HEARD: a doorbell rings and then nothing more is ever said here"
    )
    open_playground(page, lab)
    run(page)
    expect(page.get_by_text("The server failed")).to_be_visible(timeout=15_000)
    expect(page.locator(".trace").first).to_contain_text("doorbell")
    expect(page.locator(".trace").first).to_contain_text("stopped in the middle")
    finished(page)


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_questions_show_as_text(page: Page, lab: Lab, name: str) -> None:
    open_playground(page, lab, item=f"hostile-{name}", dataset="hostile")
    shown = page.locator(".asked").first.inner_text()
    expected = HOSTILE[name].replace("\0", "\ufffd")
    assert shown.split()[:8] == expected.split()[:8]
    assert_harmless(page)


def assert_harmless(page: Page) -> None:
    """No script ran, and no picture or link came out of text."""
    assert page.title() == "audioreason"
    assert page.locator(".question img, .trace img, .question script, .trace script").count() == 0
    assert page.locator("img[src*='127.0.0.1:9']").count() == 0
    assert page.locator("a[href^='javascript']").count() == 0


def test_hostile_answers_show_as_text(page: Page, lab: Lab) -> None:
    hostile = (
        "<think>"
        + HOSTILE["script"]
        + "</think>\nHEARD: "
        + HOSTILE["markdown"]
        + "\nANSWER: "
        + HOSTILE["script"]
    )
    lab.model.reply = Text(hostile, chunks=3)
    open_playground(page, lab)
    run(page)
    finished(page)
    shown = page.locator(".trace").first
    expect(shown).to_contain_text(HOSTILE["script"], use_inner_text=True)
    expect(shown).to_contain_text(HOSTILE["markdown"], use_inner_text=True)
    assert_harmless(page)


def test_an_answer_with_a_line_of_100_kb_keeps_the_page_in_shape(page: Page, lab: Lab) -> None:
    lab.model.reply = Text("HEARD: " + "a" * 100_000 + "\nANSWER: 2 times", chunks=20)
    open_playground(page, lab)
    run(page)
    finished(page)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 1440
    box = page.locator(".trace").first.bounding_box()
    assert box is not None
    assert box["height"] == pytest.approx(536, abs=2)


def test_an_error_in_a_template_names_its_line_and_blocks_nothing_else(page: Page, lab: Lab) -> None:
    open_playground(page, lab)
    editor = page.get_by_role("textbox", name="User")
    editor.fill("{{ question }}\n\n{{ chioces }}")
    editor.blur()
    problem = page.get_by_text("Line 3 of the user text uses an unknown variable")
    expect(problem).to_be_visible(timeout=15_000)
    expect(page.get_by_role("button", name=RUN).first).to_be_disabled(timeout=15_000)
    editor.fill("{{ question }}")
    editor.blur()
    expect(problem).to_have_count(0, timeout=15_000)
    expect(page.get_by_role("button", name=RUN).first).to_be_enabled(timeout=15_000)


def test_drafts_survive_a_reload(page: Page, lab: Lab) -> None:
    open_playground(page, lab, prompt="baseline")
    editor = page.get_by_role("textbox", name="User")
    editor.fill("{{ question }} Draft that must not be lost.")
    editor.blur()
    expect(page.get_by_role("combobox", name="Prompt")).to_have_value("baseline · edited")
    page.reload(wait_until="domcontentloaded")
    expect(page.get_by_role("textbox", name="User")).to_have_value(
        "{{ question }} Draft that must not be lost."
    )


def test_a_saved_prompt_is_found_after_a_reload_with_its_history(page: Page, lab: Lab) -> None:
    open_playground(page, lab, prompt="mipro-v1")
    editor = page.get_by_role("textbox", name="User")
    editor.fill("{{ question }} Saved words.")
    editor.blur()
    page.get_by_role("button", name="Save").first.click()
    page.get_by_role("textbox", name="Name").fill("my-prompt")
    page.get_by_role("textbox", name="Name").press("Enter")
    page.get_by_role("button", name="Save as new prompt").click()
    expect(page.get_by_text("Saved my-prompt")).to_be_visible()
    assert (lab.workspace.prompts / "my-prompt.md").read_text().rstrip().endswith("Saved words.")
    page.goto(lab.address("playground", prompt="my-prompt", dataset="bells", item="bells-00"))
    expect(page.get_by_role("textbox", name="User")).to_have_value("{{ question }} Saved words.")


def test_every_generation_is_kept_and_can_be_opened_again(page: Page, lab: Lab) -> None:
    lab.model.reply = Text("HEARD: a very particular sound\nANSWER: 3 times", chunks=2)
    open_playground(page, lab, item="bells-04")
    run(page)
    finished(page)
    address = page.url
    assert "g=" in address
    open_playground(page, lab, item="bells-05")
    page.goto(address, wait_until="domcontentloaded")
    expect(page.locator(".trace").first).to_contain_text("a very particular sound", timeout=20_000)
    expect(page.locator(".rows .current")).to_contain_text("3 times")


def test_two_variants_answer_side_by_side(page: Page, lab: Lab) -> None:
    def reply(request: Request) -> Text:
        good = "HEARD:" in request.text
        return Text(HEARD if good else "ANSWER: 4 times", chunks=2)

    lab.model.reply = reply
    page.goto(lab.address("playground", dataset="bells", item="bells-00", mode="Compare"))
    button = page.get_by_role("button", name="Run all")
    expect(button).to_be_enabled(timeout=30_000)
    button.click()
    expect(page.locator(".trace").nth(0)).to_contain_text("4 times", timeout=20_000)
    expect(page.locator(".trace").nth(1)).to_contain_text("Glass struck", timeout=20_000)
    expect(button).to_be_enabled(timeout=30_000)
    expect(page.locator(".bars .count")).to_have_text(["0", "0", "4", "0", "4", "0", "0", "0"])


def test_the_listening_test_sends_each_condition_and_says_what_it_means(page: Page, lab: Lab) -> None:
    before = len(lab.model.requests)
    lab.model.reply = Text("ANSWER: 2 times", chunks=1)  # deaf: the same whatever it is sent
    page.goto(lab.address("playground", dataset="bells", item="bells-00", mode="Listening test"))
    button = page.get_by_role("button", name="Run all")
    expect(button).to_be_enabled(timeout=30_000)
    button.click()
    expect(page.get_by_text("it need not have come from the sound")).to_be_visible(timeout=30_000)
    expect(button).to_be_enabled(timeout=30_000)
    sounds = set()
    for request in lab.model.requests[before:]:
        content = request.body["messages"][-1]["content"]
        parts = [content] if isinstance(content, str) else content
        data = [
            part["input_audio"]["data"]
            for part in parts
            if not isinstance(part, str) and "input_audio" in part
        ]
        sounds.add(hash(data[0]) if data else None)
    assert len(sounds) == 5
    assert None in sounds


@pytest.fixture(params=["light", "dark"])
def themed(request: pytest.FixtureRequest, browser: Browser, lab: Lab) -> Iterator[Page]:
    """A tab in each theme; its console must stay silent."""
    yield from opened(browser, request.param, lab.url)


@pytest.mark.parametrize("path", ["", "playground", "settings", "playground?mode=Compare"])
def test_every_page_opens_in_both_themes_without_an_error(themed: Page, lab: Lab, path: str) -> None:
    themed.goto(lab.address(path), wait_until="domcontentloaded")
    expect(themed.get_by_text("fake-listener").first).to_be_visible(timeout=30_000)
    expect(themed.locator(".stException, [data-testid=stException]")).to_have_count(0)
    assert themed.evaluate("document.documentElement.scrollWidth") <= 1440


def test_a_prompt_is_evaluated_as_a_job_with_its_accuracy(page: Page, lab: Lab) -> None:
    lab.model.reply = Text("ANSWER: 2 times", chunks=1)
    open_playground(page, lab, prompt="mipro-v2")
    page.get_by_role("button", name="Evaluate").click()
    page.get_by_role("combobox", name="Items").wait_for()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("mipro-v2 on bells")).to_be_visible(timeout=20_000)
    expect(page.get_by_text("finished after")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("items rated")).to_be_visible(timeout=20_000)
    page.goto(lab.address(""), wait_until="domcontentloaded")
    expect(page.locator(".stVegaLiteChart")).to_be_visible(timeout=30_000)


def test_a_prompt_is_evaluated_on_the_pinned_items_alone(page: Page, lab: Lab) -> None:
    lab.model.reply = Text("ANSWER: 2 times", chunks=1)
    for item in pins(lab.workspace, "bells"):  # another test's
        set_pin(lab.workspace, "bells", item, False)
    for item in ("bells-03", "bells-07"):
        set_pin(lab.workspace, "bells", item, True)
    open_playground(page, lab, prompt="baseline")
    page.get_by_role("button", name="Evaluate").click()
    page.get_by_role("combobox", name="Items").click()
    page.get_by_role("option", name="pinned items").click()
    expect(page.get_by_text("2 items of bells, as a job")).to_be_visible()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("finished after")).to_be_visible(timeout=60_000)
    folder = run_folder(lab.workspace, list_jobs(lab.workspace, children=False)[0].id)
    assert {item.id for item in read_items(folder)} == {"bells-03", "bells-07"}
    for item in ("bells-03", "bells-07"):
        set_pin(lab.workspace, "bells", item, False)


def test_an_own_clip_is_uploaded_asked_about_and_deleted(page: Page, lab: Lab) -> None:
    lab.model.reply = Text("ANSWER: a bell", chunks=1)
    open_playground(page, lab)
    page.get_by_role("button", name="Own clip").click()
    sound = (lab.workspace.datasets / "bells" / "audio" / "00.wav").read_bytes()
    page.locator("input[type=file]").first.set_input_files(
        {"name": "mine.wav", "mimeType": "audio/wav", "buffer": sound}
    )
    page.get_by_role("textbox", name="Question").fill("What rings?")
    choices = page.get_by_role("textbox", name="Choices, one a line")
    choices.fill("a bell\na dog")
    choices.blur()
    page.get_by_role("button", name="Keep it and ask").click()
    expect(page.locator(".asked").first).to_have_text("What rings?", timeout=20_000)
    kept = list((lab.workspace.datasets / "own" / "audio").iterdir())
    assert [path.read_bytes() for path in kept] == [sound]
    run(page)
    finished(page)
    expect(page.get_by_text("a bell", exact=True).first).to_be_visible()
    page.get_by_role("button", name="Own clip").click()
    page.get_by_role("button", name="Delete this clip").click()
    expect(page.locator(".asked").first).not_to_have_text("What rings?", timeout=20_000)
    assert list((lab.workspace.datasets / "own" / "audio").iterdir()) == []
    assert b"What rings?" not in b"".join(path.read_bytes() for path in lab.workspace.scratch.glob("*.jsonl"))


def test_random_puts_another_item_on_the_table(page: Page, lab: Lab) -> None:
    open_playground(page, lab)
    seen = set()
    for _ in range(6):
        page.get_by_role("button", name="Random").click()
        page.get_by_text("Any item").click()
        page.wait_for_timeout(1_200)
        seen.add(page.evaluate("new URLSearchParams(location.search).get('item')"))
    assert len(seen) > 1
    expect(page.locator(".stException, [data-testid=stException]")).to_have_count(0)


def test_a_link_to_a_dataset_that_is_gone_says_so_and_shows_another(page: Page, lab: Lab) -> None:
    page.goto(lab.address("playground", dataset="nowhere", item="bells-00"), wait_until="domcontentloaded")
    expect(page.get_by_text("There is no dataset nowhere; soundcheck is shown.")).to_be_visible()
    expect(page.get_by_text("has no item")).to_have_count(0)
    expect(page.locator(".question")).to_be_visible()
