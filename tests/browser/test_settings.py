"""A workspace that was just made: what Home says, and how a model comes to it on the Settings page."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from audioreason.inference.endpoint import default_endpoint, load_endpoints, save_endpoint
from audioreason.workspace import Workspace
from tests.browser.conftest import HEARD, Lab, opened, start_lab
from tests.servers import FakeServer, Text, closed_port


@pytest.fixture(scope="module")
def new_lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab on an empty workspace, which knows one endpoint."""
    workspace = Workspace.open(tmp_path_factory.mktemp("new") / "workspace")
    with FakeServer(Text(HEARD), models=("fake-listener",)) as model:
        save_endpoint(workspace, model.endpoint)
        process, url = start_lab(workspace)
        try:
            yield Lab(url, workspace, model, process)
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def page(browser: Browser, new_lab: Lab) -> Iterator[Page]:
    """A fresh tab; errors in its console fail the test."""
    yield from opened(browser, "light", new_lab.url)


def add(page: Page, lab: Lab, name: str, url: str) -> None:
    """Add an endpoint on the Settings page."""
    page.goto(lab.address("settings"), wait_until="domcontentloaded")
    page.get_by_text("Add an endpoint").click()
    page.get_by_role("textbox", name="Name", exact=True).fill(name)
    page.get_by_role("textbox", name="Address").fill(url)
    page.get_by_role("button", name="Add", exact=True).click()


def press(page: Page, what: str, endpoint: str) -> None:
    page.locator(f".st-key-{what}_{endpoint} button").click()


def test_an_empty_workspace_says_what_to_do_first(page: Page, new_lab: Lab) -> None:
    page.goto(new_lab.address(), wait_until="domcontentloaded")
    expect(page.get_by_text("Nothing has been run in this workspace yet.")).to_be_visible()
    expect(page.get_by_text("audioreason eval --dataset soundcheck")).to_be_visible()
    expect(page.get_by_role("cell", name="soundcheck")).to_be_visible()  # there is something to ask about
    page.get_by_role("link", name="Ask the model one question").click()
    page.wait_for_url("**/playground*")
    expect(page.locator(".question").first).to_be_visible()


def test_jobs_of_an_empty_workspace_lead_to_launch(page: Page, new_lab: Lab) -> None:
    page.goto(new_lab.address("jobs"), wait_until="domcontentloaded")
    expect(page.get_by_text("No jobs yet.")).to_be_visible()
    page.get_by_role("link", name="Launch one").click()
    expect(page.get_by_text("audioreason jobs submit evaluate")).to_be_visible()


def test_an_endpoint_is_added_tried_and_chosen(page: Page, new_lab: Lab) -> None:
    with FakeServer(Text(HEARD), models=("second-listener",)) as second:
        add(page, new_lab, "second", second.base_url)
        expect(page.locator(".st-key-use_second")).to_be_visible()
        press(page, "try", "second")
        expect(page.get_by_text(re.compile(r"Server answers in \d+ ms"))).to_be_visible()
        expect(page.get_by_text("inside the request, as base64")).to_be_visible()
        expect(page.locator(".trace")).to_contain_text("Glass struck")
        assert any("audio" in str(body) for body in second.bodies)
        press(page, "use", "second")
        expect(page.locator(".light")).to_contain_text("second-listener")
        chosen = default_endpoint(new_lab.workspace)
        assert chosen is not None
        assert chosen.name == "second"
        press(page, "use", "fake")
        expect(page.locator(".light")).to_contain_text("fake-listener")
        press(page, "remove", "second")
        expect(page.locator(".st-key-try_second")).to_have_count(0)
    assert [endpoint.name for endpoint in load_endpoints(new_lab.workspace)] == ["fake"]


def test_where_nobody_answers_the_line_that_serves_the_model_is_there(page: Page, new_lab: Lab) -> None:
    add(page, new_lab, "nobody", f"http://127.0.0.1:{closed_port()}/v1")
    press(page, "try", "nobody")
    expect(page.get_by_text(re.compile(r"Server .*(refused|answer|reach)"))).to_be_visible()
    clips = new_lab.workspace.cache / "clips"
    expect(page.locator(".line code")).to_have_text(
        "vllm serve Qwen/Qwen3-Omni-30B-A3B-Thinking --host 127.0.0.1 --port 8000 --max-model-len 16384"
        ' --reasoning-parser qwen3 --limit-mm-per-prompt \'{"audio":1,"image":1,"video":1}\''
        f" --allowed-local-media-path {clips}"
    )
    press(page, "remove", "nobody")
    expect(page.locator(".st-key-try_nobody")).to_have_count(0)


@pytest.mark.slow
def test_an_address_that_cannot_be_one_is_refused_in_a_sentence(page: Page, new_lab: Lab) -> None:
    for url in ("", "ftp://127.0.0.1/v1", "http://two words/v1"):
        add(page, new_lab, "wrong", url)
        expect(page.locator(".stAlert")).to_contain_text("is not an http or https URL. Write it like http://")
    assert [endpoint.name for endpoint in load_endpoints(new_lab.workspace)] == ["fake"]
