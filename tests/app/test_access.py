"""What stands in front of the lab, with a small application behind it; `tests/browser` has the real one."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from app.access import Access, cookie_name, cookie_value

TOKEN = "the-right-token-0123456789"
LAB = "http://127.0.0.1:8501"
STREAM = "ws://127.0.0.1:8501/_stcore/stream"
COOKIE = f"audioreason_8501={cookie_value(TOKEN)}"
PAGE = {"accept": "text/html,application/xhtml+xml"}


async def _page(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"inside {request.url.path}")


async def _stream(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("inside")
    await websocket.close()


def client(token: str | None = TOKEN) -> TestClient:
    app = Starlette(routes=[WebSocketRoute("/_stcore/stream", _stream), Route("/{path:path}", _page)])
    return TestClient(Access(app, token), base_url=LAB, follow_redirects=False)


def test_without_the_token_there_is_a_form_for_people_and_a_sentence_for_programs() -> None:
    asked = client().get("/errors?run=a", headers=PAGE)
    assert asked.status_code == 401 and '<form method="post">' in asked.text
    assert "script" not in asked.text and asked.headers["cache-control"] == "no-store"
    program = client().get("/api/jobs")
    assert (program.status_code, program.headers["www-authenticate"]) == (401, "Bearer")
    assert "inside" not in asked.text + program.text


def test_an_address_that_no_file_can_have_is_not_found() -> None:
    async def static(request: Request) -> FileResponse:
        return FileResponse(Path(__file__).parent.resolve() / request.path_params["path"])

    app = Starlette(routes=[Route("/{path:path}", static)], middleware=[Middleware(Access, token=TOKEN)])
    headers = {"authorization": f"Bearer {TOKEN}"}
    lab = TestClient(app, base_url=LAB)
    assert lab.get("/test_access.py", headers=headers).status_code == 200
    for path in ("a" * 300, "a/" * 3000):
        found = lab.get(f"/{path}", headers=headers)
        assert (found.status_code, found.headers["x-frame-options"]) == (404, "DENY")


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": TOKEN},
        {"cookie": f"audioreason_8501={TOKEN}"},  # the cookie is not the token
        {"cookie": f"audioreason_8501={cookie_value('another')}"},
        {"cookie": f"audioreason_9000={cookie_value(TOKEN)}"},  # of another lab of this host
        {"cookie": "audioreason_8501="},
        {"authorization": "Bearer "},
        {"authorization": "Bearer \xff"},
    ],
)
def test_what_only_looks_like_the_token_is_refused(headers: dict[str, str]) -> None:
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    assert client().get("/", headers=raw).status_code == 401  # type: ignore[arg-type]
    with pytest.raises(WebSocketDenialResponse) as denied, client().websocket_connect(
        STREAM, headers={**headers, "authorization": headers.get("authorization", "").strip("\xff")}
    ):  # fmt: skip
        pass
    assert denied.value.status_code == 401


@pytest.mark.parametrize("headers", [{"authorization": f"Bearer {TOKEN}"}, {"cookie": COOKIE}])
def test_token_or_cookie_open_pages_and_websockets(headers: dict[str, str]) -> None:
    assert client().get("/errors", headers=headers).text == "inside /errors"
    with client().websocket_connect(STREAM, headers=headers) as socket:
        assert socket.receive_text() == "inside"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:8501"},
        {"host": "[::1"},
        {"host": "0.0.0.0:8501"},
        {"host": "user@127.0.0.1:8501"},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:8502"},
        {"origin": "null"},
        {
            "host": "evil.example:8501",
            "origin": "http://evil.example:8501",
        },  # a name that was rebound to here
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    ],
)
@pytest.mark.parametrize("token", [TOKEN, None])
def test_other_sites_are_refused_even_with_the_cookie(headers: dict[str, str], token: str | None) -> None:
    headers = {"cookie": COOKIE, **headers}
    assert client(token).get("/", headers=headers).status_code == 403
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        client(token).websocket_connect(STREAM, headers=headers),
    ):
        pass
    assert denied.value.status_code == 403


def test_the_link_gives_a_cookie_and_leads_to_the_address_without_the_token() -> None:
    browser = client()
    first = browser.get(f"/errors?run=a%20b&token={TOKEN}&view=", headers=PAGE)
    assert (first.status_code, first.headers["location"]) == (303, "./errors?run=a+b&view=")
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert first.headers["referrer-policy"] == "no-referrer" and "inside" not in first.text
    assert browser.get("/errors").text == "inside /errors"
    wrong = client().get("/?token=wrong", headers=PAGE)
    assert (wrong.status_code, wrong.headers["location"]) == (303, "./")
    assert "set-cookie" not in wrong.headers


@pytest.mark.parametrize(
    "path", ["//evil.example", "/%5Cevil.example", "//evil.example/%2e%2e", "/https:evil.example"]
)
def test_the_link_never_leads_to_another_host(path: str) -> None:
    from urllib.parse import urljoin, urlsplit

    found = client().get(f"{LAB}{path}?token={TOKEN}", headers=PAGE)
    assert found.status_code == 303
    assert urlsplit(urljoin(f"{LAB}{path}", found.headers["location"])).netloc == "127.0.0.1:8501"


def test_a_link_that_was_followed_from_another_site_goes_on_from_a_page_of_the_lab() -> None:
    headers = {
        **PAGE,
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    found = client().get(f"/?token={TOKEN}", headers=headers)
    assert found.status_code == 200 and 'content="0; url=./"' in found.text and "set-cookie" in found.headers
    without = client().get("/errors", headers=headers)  # a browser keeps its strict cookie back
    assert without.status_code == 401 and 'http-equiv="refresh" content="0"' in without.text


def test_the_form_takes_the_token_and_nothing_else() -> None:
    browser = client()
    wrong = browser.post("/errors?run=a", data={"token": "wrong"})
    assert wrong.status_code == 401 and "Incorrect token." in wrong.text
    assert "wrong" not in wrong.text.replace('class="wrong"', "").replace("p.wrong", "").replace(
        "--wrong", ""
    )
    long = browser.post("/", data={"token": "x" * 100_000})
    assert long.status_code == 401
    assert browser.post("/errors", json={"token": TOKEN}).status_code == 401
    right = browser.post("/errors?run=a", data={"token": f" {TOKEN} "})
    assert (right.status_code, right.headers["location"]) == (303, "./errors?run=a")
    assert browser.get("/errors").text == "inside /errors"


def test_the_file_that_is_opened_sends_the_token_and_no_other_page_can() -> None:
    from_file = {"origin": "null", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    browser = client()
    found = browser.post("/", data={"token": TOKEN}, headers=from_file)
    assert found.status_code == 200 and 'content="0; url=./"' in found.text
    assert browser.get("/").text == "inside /"
    assert client().post("/", data={"token": "wrong"}, headers=from_file).status_code == 403
    assert client(None).post("/", data={"token": ""}, headers=from_file).status_code == 403
    foreign = from_file | {"origin": "http://evil.example"}
    assert client().post("/", data={"token": TOKEN}, headers=foreign).status_code == 403


def test_every_answer_forbids_framing_sniffing_and_foreign_sources() -> None:
    for answer in (
        client().get("/", headers={"cookie": COOKIE}),
        client().get("/", headers=PAGE),
        client().get("/", headers={"host": "evil.example"}),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy and "http" not in policy and "*" not in policy
        assert "script-src 'unsafe-inline'" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"


def test_an_open_lab_asks_for_nothing() -> None:
    assert client(None).get("/errors").text == "inside /errors"
    with client(None).websocket_connect(STREAM) as socket:
        assert socket.receive_text() == "inside"


def test_two_labs_of_one_host_have_cookies_of_their_own() -> None:
    assert cookie_name("127.0.0.1:8501") != cookie_name("127.0.0.1:8502")
    assert cookie_name("[::1]:8501") == "audioreason_8501" and cookie_name("localhost") == "audioreason_lab"
