"""What is added to the first HTML, and that nothing else is touched."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from app.opening import Opening

_PAGE = f"<html><head><title>x</title></head><body>{'long ' * 500}</body></html>"


def _client(folder: Path) -> TestClient:
    page = folder / "page.html"
    page.write_text(_PAGE)

    async def html(request: Request) -> Response:
        return FileResponse(page)

    async def text(request: Request) -> Response:
        return PlainTextResponse("<head> in a text " * 200)

    routes = [Route("/", html), Route("/text", text)]
    # as in Streamlit's own server, answers are packed further in
    return TestClient(Starlette(routes=routes, middleware=[Middleware(Opening), Middleware(GZipMiddleware)]))


def test_a_page_says_where_the_server_is_also_to_a_browser_that_takes_packed_answers(tmp_path: Path) -> None:
    answer = _client(tmp_path).get("/", headers={"Accept": "text/html,*/*", "Accept-Encoding": "gzip"})
    assert "<head><script>window.__streamlit = {BACKEND_BASE_URL" in answer.text
    assert answer.text.endswith("</body></html>")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "etag" not in answer.headers  # it would say that a page from before is still right


def test_what_is_no_page_passes_as_it_is(tmp_path: Path) -> None:
    client = _client(tmp_path)
    answer = client.get("/text", headers={"Accept": "text/html"})
    assert answer.text == "<head> in a text " * 200
    asked_by_script = client.get("/", headers={"Accept": "*/*"})
    assert asked_by_script.text == _PAGE
    assert asked_by_script.headers["content-encoding"] == "gzip"
