"""The lab in a real browser: a server on a free port, its own workspace, a fake model that obeys.

A missing Chromium skips these tests with the reason; with CI set it fails them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, expect, sync_playwright

from app.access import cookie_name, cookie_value
from audioreason.inference.endpoint import save_endpoint
from audioreason.workspace import Workspace
from tests.browser.world import make_world
from tests.servers import FakeServer, Text, closed_port

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("AUDIOREASON_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

TOKEN = "a-token-for-the-tests-alone"
RUN = re.compile(r"^Run\b")  # "truncated" in a table contains it too

HEARD = """<think>A doorbell, then something like glass.</think>
HEARD: Doorbell, two falling notes 0.50-2.00. Glass struck at 2.60 and 3.60.
ANALYSIS: Glass after the doorbell: 2.60 and 3.60. That is two.
ANSWER: 2 times"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder drives a browser."""
    for item in items:
        if Path(item.fspath).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)


@dataclass
class Lab:
    """A running lab: where it is, what it works on, and the model it asks."""

    url: str
    workspace: Workspace
    model: FakeServer
    process: subprocess.Popen[bytes] = field(repr=False)

    def address(self, page: str = "", **query: str) -> str:
        """The address of a page."""
        text = "&".join(f"{key}={value}" for key, value in query.items())
        return f"{self.url}/{page}{'?' + text if text else ''}"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, one for all tests."""
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        except Error as error:
            reason = f"Chromium cannot be started at {CHROMIUM}: {str(error).splitlines()[0]}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One lab for all tests; each sets what the model says."""
    workspace = make_world(tmp_path_factory.mktemp("lab") / "workspace")
    with FakeServer(models=("fake-listener",)) as model:
        save_endpoint(workspace, model.endpoint)
        process, url = start_lab(workspace)
        try:
            yield Lab(url, workspace, model, process)
        finally:
            process.terminate()
            process.wait(20)


def start_lab(workspace: Workspace) -> tuple[subprocess.Popen[bytes], str]:
    """Start the lab's server on a free port, with the token of all tests, and wait until it answers."""
    return serve(["app/main.py"], {"AUDIOREASON_WORKSPACE": str(workspace.root), "AUDIOREASON_TOKEN": TOKEN})


def sign_in(context: BrowserContext, url: str) -> None:
    """Give a browser the cookie that the lab at `url` gives whoever knows its token."""
    name = cookie_name(urlsplit(url).netloc)
    context.add_cookies([{"name": name, "value": cookie_value(TOKEN), "url": url, "sameSite": "Strict"}])


def serve(script: list[str], environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], str]:
    """`streamlit run SCRIPT` on a free port; returns the process and its address once it answers."""
    port = closed_port()
    command = [sys.executable, "-m", "streamlit", "run", *script, "--server.address=127.0.0.1"]
    command += [f"--server.port={port}", "--server.headless=true", "--browser.gatherUsageStats=false"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2):
                return process, url
        except urllib.error.HTTPError:  # it wants the token
            return process, url
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, "the server ended while it was starting"
            time.sleep(0.2)
    process.kill()
    raise AssertionError("the server did not answer within 60 s")


@pytest.fixture
def page(browser: Browser, lab: Lab) -> Iterator[Page]:
    """A fresh tab of a fresh profile, light, 1440 x 900; errors in its console fail the test."""
    lab.model.reply = Text(HEARD, chunks=12, pause=0.02)
    forget_drafts(lab)
    yield from opened(browser, "light", lab.url)


expect.set_options(timeout=20_000)  # a busy machine reruns a page late; what never comes still fails


def forget_drafts(lab: Lab) -> None:
    """What one test typed is no business of the next."""
    with lab.workspace.sqlite() as database:
        known = {row["name"] for row in database.execute("SELECT name FROM sqlite_master")}
        if "draft" in known:
            database.execute("DELETE FROM draft")


def opened(browser: Browser, scheme: str, url: str) -> Iterator[Page]:
    """A tab that is signed in to the lab at `url` and watches its console."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    sign_in(context, url)
    tab = context.new_page()
    tab.set_default_timeout(30_000)
    problems: list[str] = []

    def said(message: ConsoleMessage) -> None:
        # Streamlit looks for its own base path with requests that answer 404 under a page's address
        where = (message.location or {}).get("url", "")
        if message.type == "error" and "/_stcore/" not in where:
            problems.append(f"{message.text} {where}")

    tab.on("console", said)
    tab.on("pageerror", lambda error: problems.append(str(error)))
    yield tab
    context.close()
    assert problems == []


def open_playground(
    page: Page, lab: Lab, item: str = "bells-00", dataset: str = "bells", **query: str
) -> None:
    """Open the playground on an item and wait until it can be used."""
    page.goto(lab.address("playground", dataset=dataset, item=item, **query), wait_until="domcontentloaded")
    page.locator(".question").first.wait_for()
    page.get_by_role("button", name=RUN).first.wait_for()


def run(page: Page) -> None:
    """Press Run once it is enabled."""
    button = page.get_by_role("button", name=RUN).first
    for _ in range(120):
        if button.is_enabled():
            break
        page.wait_for_timeout(100)
    button.click()


def trace(page: Page) -> str:
    """The text of the answer that is shown."""
    return page.locator(".trace").first.inner_text()


def clip_state(page: Page, clip: str = "bells/bells-00") -> dict[str, object]:
    """What the player of a clip is doing."""
    state: dict[str, object] = page.evaluate(
        """(id) => { const c = window.__audioreasonPlayers?.clips.get(id); return c ? {
            time: c.audio.currentTime, paused: c.audio.paused, loop: c.loop, form: c.form,
            rate: c.audio.playbackRate, pitch: c.audio.preservesPitch } : {}; }""",
        clip,
    )
    return state
