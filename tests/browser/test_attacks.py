"""What other users of the machine and pages of other sites can do with a lab: nothing, in a real browser."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from app.access import cookie_name, cookie_value
from audioreason.inference.endpoint import load_endpoints, remove_endpoint
from audioreason.jobs import actions
from audioreason.jobs.watch import job
from audioreason.workspace import Workspace
from tests.browser.conftest import ARGUMENTS, CHROMIUM, HEARD, TOKEN, Lab, sign_in
from tests.servers import FakeServer, Text, closed_port

EVERYWHERE = (
    "", "playground", "errors", "compare", "launch", "jobs", "rest", "optimize", "data", "challenge",
    "settings", "api/machine", "api/jobs", "api/jobs/x", "api/audio/bells/bells-00",
    "api/spectrogram/bells/bells-00.png", "_stcore/health", "_stcore/host-config",
    "_stcore/script-health-check", "_stcore/metrics", "_stcore/upload_file", "_stcore/agent/openapi.json",
    "_stcore/allowed-message-origins", "_stcore/bidi-components/x/y", "media/x.png",
    "component/x/index.html", "app/static/logo.svg", "static/js/index.js", "favicon.png", "index.html",
    "oauth2callback", "auth/login", "auth/logout", "nothing", "..%2f..%2fetc%2fpasswd",
)  # fmt: skip


def status_of(url: str, method: str = "GET", **headers: str) -> int:
    request = urllib.request.Request(
        url, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def websocket_status(lab: Lab, **headers: str) -> int:
    """The status of the handshake; 101 if the websocket opened."""
    host = urlsplit(lab.url).netloc
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with connect(f"ws://{host}/_stcore/stream", additional_headers=given, proxy=None):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_every_address_wants_the_token(lab: Lab, method: str) -> None:
    assert {status_of(f"{lab.url}/{path}", method) for path in EVERYWHERE} == {401}


def test_every_address_is_refused_to_other_sites_even_with_the_cookie(lab: Lab) -> None:
    host = urlsplit(lab.url).netloc
    cookie = f"{cookie_name(host)}={cookie_value(TOKEN)}"
    assert status_of(lab.url, Cookie=cookie) == 200
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
    ):
        assert {status_of(f"{lab.url}/{path}", Cookie=cookie, **headers) for path in EVERYWHERE} == {403}


def test_the_websocket_wants_token_and_origin(lab: Lab) -> None:
    host = urlsplit(lab.url).netloc
    cookie = f"{cookie_name(host)}={cookie_value(TOKEN)}"
    assert websocket_status(lab) == 401
    assert websocket_status(lab, Cookie=f"{cookie_name(host)}=wrong") == 401
    assert websocket_status(lab, Cookie=cookie) == 101
    assert websocket_status(lab, Cookie=cookie, Origin=lab.url) == 101
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "http://localhost"):
        assert websocket_status(lab, Cookie=cookie, Origin=origin) == 403


@contextmanager
def tab(browser: Browser, lab: Lab | None = None, **options: object) -> Iterator[tuple[BrowserContext, Page]]:
    """A tab of a profile of its own; signed in if `lab` is given."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)  # type: ignore[arg-type]
    if lab is not None:
        sign_in(context, lab.url)
    try:
        yield context, context.new_page()
    finally:
        context.close()


def test_the_form_works_without_javascript(browser: Browser, lab: Lab) -> None:
    with tab(browser, java_script_enabled=False) as (context, page):
        page.goto(lab.address("errors"))
        expect(page.get_by_role("heading", name="Enter the token of this lab")).to_be_visible()
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("Incorrect token.")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Open the lab").click()
        page.wait_for_url(re.compile(r"/errors$"))
        assert "Streamlit" in page.content()
        (cookie,) = [one for one in context.cookies() if one["name"].startswith("audioreason")]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert TOKEN not in cookie["value"]


def test_the_link_leaves_no_token_in_address_history_or_referer(browser: Browser, lab: Lab) -> None:
    with tab(browser) as (context, page):
        sent: list[str] = []
        page.on("request", lambda request: sent.append(f"{request.url} {request.headers.get('referer', '')}"))
        page.goto(f"{lab.url}/?token={TOKEN}", wait_until="domcontentloaded")
        page.locator(".light").wait_for()
        assert page.url == f"{lab.url}/"
        history = context.new_cdp_session(page).send("Page.getNavigationHistory")
        assert TOKEN not in str([(entry["url"], entry["title"]) for entry in history["entries"]])
        assert [TOKEN in line for line in sent] == [True] + [False] * (len(sent) - 1)
        assert page.evaluate("document.cookie").find("audioreason") == -1


class _Site:
    """Another site on a port of this machine: one page with a script, and what was asked of it."""

    def __init__(self, html: str) -> None:
        site = self
        self.asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(f"{self.path} {self.headers.get('Authorization', '')}")
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(html.encode())

            do_POST = do_GET

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> _Site:
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()


_REACH = """async (lab) => {
  const socket = (url) => new Promise((resolve) => {
    const opened = new WebSocket(url, ["streamlit"]);
    opened.onopen = () => resolve("open");
    opened.onerror = () => resolve("refused");
  });
  const page = async (path, options) => {
    try {
      const answer = await fetch(lab + path, options);
      return `${answer.type} ${answer.status} ${(await answer.text()).length}`;
    } catch { return "refused"; }
  };
  return [await socket(lab.replace("http", "ws") + "/_stcore/stream"),
    await page("/", {credentials: "include"}), await page("/api/jobs", {credentials: "include"}),
    await page("/", {credentials: "include", mode: "no-cors"})];
}"""


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "evil.test"])
def test_a_page_of_another_site_reaches_nothing_of_a_lab_that_is_signed_in(
    browser: Browser, lab: Lab, name: str
) -> None:
    with (
        _Site("<h1>another site</h1>") as site,
        resolving(browser) as chromium,
        tab(chromium, lab) as (_, page),
    ):
        page.goto(f"http://{name}:{site.port}/")
        found = page.evaluate(_REACH, lab.url)
        assert found[:3] == ["refused", "refused", "refused"]
        assert found[3] in ("refused", "opaque 0 0")


@contextmanager
def resolving(browser: Browser) -> Iterator[Browser]:
    """A browser for which evil.test is this machine, as after DNS rebinding."""
    arguments = [*ARGUMENTS, "--host-resolver-rules=MAP evil.test 127.0.0.1"]
    chromium = browser.browser_type.launch(executable_path=CHROMIUM, args=arguments)
    try:
        yield chromium
    finally:
        chromium.close()


def test_a_name_that_was_rebound_to_this_machine_opens_nothing(browser: Browser, lab: Lab) -> None:
    port = urlsplit(lab.url).port
    with resolving(browser) as chromium, tab(chromium, lab) as (_, page):
        answer = page.goto(f"http://evil.test:{port}/?token={TOKEN}")
        assert answer is not None and answer.status == 403
        assert page.evaluate(_REACH, f"http://evil.test:{port}")[0] == "refused"


def test_the_lab_cannot_be_framed(browser: Browser, lab: Lab) -> None:
    html = f'<iframe src="{lab.url}/launch" width="900" height="700"></iframe>'
    with _Site(html) as site, tab(browser, lab) as (_, page):
        page.goto(f"http://127.0.0.1:{site.port}/")
        page.wait_for_timeout(1500)
        (frame,) = page.frames[1:]
        assert lab.url not in frame.url  # an error page of the browser
        assert frame.locator(".stApp").count() == 0


def add(page: Page, lab: Lab, name: str, url: str, key: str) -> None:
    page.goto(lab.address("settings"), wait_until="domcontentloaded")
    page.get_by_text("Add an endpoint").click()
    page.get_by_role("textbox", name="Name", exact=True).fill(name)
    page.get_by_role("textbox", name="Address").fill(url)
    page.get_by_role("textbox", name="Key, by the name of its variable").fill(key)
    page.get_by_role("button", name="Add", exact=True).click()


@pytest.mark.parametrize("key", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY"])
def test_a_credential_of_another_service_is_not_sent_from_a_page(page: Page, lab: Lab, key: str) -> None:
    with FakeServer(Text(HEARD), models=("thief",)) as thief:
        add(page, lab, "thief", thief.base_url, key)
        expect(page.get_by_text("is a credential of another service")).to_be_visible()
        command = f"audioreason endpoints add thief {thief.base_url} --key-env {key}"
        expect(page.locator(".st-key-add .line code")).to_have_text(command)
        assert thief.requests == []
    assert "thief" not in [endpoint.name for endpoint in load_endpoints(lab.workspace)]


def test_a_key_is_sent_once_variable_and_address_were_confirmed(page: Page, lab: Lab) -> None:
    with FakeServer(Text(HEARD), models=("keyed",)) as server:
        add(page, lab, "keyed", server.base_url, "AUDIOREASON_TEST_SERVER_KEY")
        asked = page.get_by_text("Send the value of")
        expect(asked).to_have_text(
            f"Send the value of AUDIOREASON_TEST_SERVER_KEY to {server.base_url} with every request?"
        )
        assert "keyed" not in [endpoint.name for endpoint in load_endpoints(lab.workspace)]
        page.get_by_role("button", name="Send it").click()
        expect(page.locator(".st-key-try_keyed")).to_be_visible()
        (saved,) = [endpoint for endpoint in load_endpoints(lab.workspace) if endpoint.name == "keyed"]
        assert saved.key_confirmed and saved.key_for == f"AUDIOREASON_TEST_SERVER_KEY {server.base_url}"
        remove_endpoint(lab.workspace, "keyed")


@pytest.mark.slow
def test_sigterm_ends_the_lab_and_its_engine_and_no_job(browser: Browser, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "workspace")
    port = closed_port()
    process = psutil.Popen(
        [sys.executable, "-m", "audioreason", "lab", "--no-browser", "--port", str(port)],
        env=os.environ | {"AUDIOREASON_WORKSPACE": str(workspace.root), "AUDIOREASON_TOKEN": TOKEN},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def engines() -> list[psutil.Process]:
        return [
            one for one in process.children(recursive=True) if "audioreason.engines.server" in one.cmdline()
        ]

    def until(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.2)

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    server = ""
    try:
        until(listens)
        server = actions.submit(workspace, "serve", {"name": "pocket"})
        with tab(browser) as (context, page):
            sign_in(context, f"http://127.0.0.1:{port}")
            page.goto(f"http://127.0.0.1:{port}/", wait_until="domcontentloaded")
            until(engines)
            (engine,) = engines()
            process.send_signal(signal.SIGTERM)
            process.wait(40)
        assert not listens()
        _, alive = psutil.wait_procs([engine], 20)
        assert alive == []
        assert job(workspace, server).state == "running"
    finally:
        if process.poll() is None:
            process.kill()
        if server:
            actions.stop(workspace, server, now=True)
