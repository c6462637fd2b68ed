"""Access control: requests need the token, must come from a page of the lab, and must name this machine.

One layer in front of every route, page, static file and websocket. The link that `audioreason lab` opens
carries the token once: the response sets a cookie and redirects to the same address without it. Where neither
is there, a form asks for the token. The cookie holds a value derived from the token, never the token.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import html
import ipaddress
import os
import re
import secrets
import sys
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.opening import HEAD_SCRIPT
from audioreason.workspace import LAB_TOKEN_VARIABLE

NO_TOKEN_VARIABLE = "AUDIOREASON_NO_TOKEN"  # noqa: S105 - a name

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LONGEST_FORM = 8192  # bytes
_PARAMETER = "token"


class Access:
    """ASGI middleware that lets nothing pass without the token; see the module.

    Args:
        app: what it stands in front of.
        token: the secret; None leaves the lab open, with the checks of Host and Origin only.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token
        self._cookie = "" if token is None else cookie_value(token)
        self._policy = _content_policy()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or open one websocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        response: Response | None = None
        if refused(scope):
            response = await self._from_file(scope, receive)
        elif self._token is not None:
            response = await self._without_token(scope, receive)
        if response is None:
            try:
                await self._app(scope, receive, self._with_headers(scope, send))
            except OSError as error:
                # Streamlit's own static files: an address that no file can have is none
                if error.errno != errno.ENAMETOOLONG or scope["type"] != "http":
                    raise
                response = PlainTextResponse("There is nothing under this address.", status_code=404)
            else:
                return
        if scope["type"] == "http":
            await response(scope, receive, self._with_headers(scope, send))
        elif "websocket.http.response" in scope.get("extensions", {}):
            await response(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": ""})

    async def _from_file(self, scope: Scope, receive: Receive) -> Response:
        """Refuse a request of another site; the file that `audioreason lab` opens may send the token."""
        connection = HTTPConnection(scope)
        file = scope.get("method") == "POST" and connection.headers.get("origin") == "null"
        if file and _is_form(connection.headers) and self._is_token(await _token_of_form(receive)):
            return self._move_on(connection, signed=True)
        return PlainTextResponse("This lab answers only its own pages.", status_code=403)

    async def _without_token(self, scope: Scope, receive: Receive) -> Response | None:
        """What is answered instead of the page; None if the request is signed in."""
        connection = HTTPConnection(scope)
        page = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if page and _PARAMETER in connection.query_params:
            return self._move_on(connection, signed=self._is_token(connection.query_params[_PARAMETER]))
        if self._signed_in(connection):
            return None
        if scope["type"] == "http" and scope["method"] == "POST" and _is_form(connection.headers):
            given = await _token_of_form(receive)
            return (
                self._move_on(connection, signed=True)
                if self._is_token(given)
                else _form(connection, wrong=True)
            )
        if page and "text/html" in connection.headers.get("accept", ""):
            return _form(connection)
        return PlainTextResponse(
            "This lab needs its token. Open the link that `audioreason lab` printed.",
            status_code=401,
            headers={"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"},
        )

    def _signed_in(self, connection: HTTPConnection) -> bool:
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(given.strip()):
            return True
        return _same(
            connection.cookies.get(cookie_name(connection.headers.get("host", "")), ""), self._cookie
        )

    def _is_token(self, given: str) -> bool:
        return _same(given, self._token or "")

    def _move_on(self, connection: HTTPConnection, signed: bool) -> Response:
        """To the same address without the token, with the cookie if it was right."""
        rest = [
            pair for pair in parse_qsl(connection.url.query, keep_blank_values=True) if pair[0] != _PARAMETER
        ]
        # relative: it holds behind a proxy that serves the lab under a folder, and leads to no other host
        address = f"./{quote(connection.url.path.rpartition('/')[2])}" + (
            f"?{urlencode(rest)}" if rest else ""
        )
        response: Response = Response(status_code=303, headers={"Location": address})
        if connection.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            # a strict cookie is not sent along a redirect that began on another site: reload from here
            response = HTMLResponse(_REFRESH.format(address=html.escape(address)))
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"
        if signed:
            response.set_cookie(
                cookie_name(connection.headers.get("host", "")), self._cookie, path="/", httponly=True,
                samesite="strict", secure=connection.url.scheme == "https",
            )  # fmt: skip
        return response

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        if scope["type"] != "http":
            return send

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", self._policy)
                headers.setdefault("Referrer-Policy", "same-origin")
                headers["X-Content-Type-Options"] = "nosniff"
                headers["X-Frame-Options"] = "DENY"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
            await send(message)

        return sent


def lab_token() -> str | None:
    """The token of this server: `AUDIOREASON_TOKEN`, else a random one, which is printed; None if it is open.

    `audioreason lab` sets one of the two variables; the rest is for who starts `streamlit run app/main.py`.
    """
    if token := os.environ.get(LAB_TOKEN_VARIABLE):
        return token
    if os.environ.get(NO_TOKEN_VARIABLE):
        if st.get_option("server.address") in _LOOPBACK:
            return None
        sys.stderr.write(f"{NO_TOKEN_VARIABLE} holds on 127.0.0.1 only: add --server.address=127.0.0.1.\n")
    token = secrets.token_urlsafe(32)
    sys.stderr.write(f"This lab needs a token. Add it to the address once: ?{_PARAMETER}={token}\n")
    os.environ[LAB_TOKEN_VARIABLE] = token
    return token


def cookie_name(host: str) -> str:
    """A name for each port: browsers keep cookies by host alone, and two labs may run on one machine."""
    return f"audioreason_{host.rpartition(':')[2] if re.search(r':[0-9]+$', host) else 'lab'}"


def cookie_value(token: str) -> str:
    """What the cookie of a signed-in browser holds: it tells nothing about the token."""
    return hmac.new(token.encode(), b"audioreason lab cookie", hashlib.sha256).hexdigest()


def refused(scope: Scope) -> bool:
    """Whether a request does not name this machine, or was sent by a page of another site.

    A browser that follows a link from elsewhere is not refused: it sends no cookie, so it gets the form.
    """
    headers = Headers(scope=scope)
    try:
        host = urlsplit(f"//{headers.get('host', '')}")
        origin = urlsplit(headers.get("origin", f"//{host.netloc}"))
        name = (host.hostname or "").rstrip(".")
    except ValueError:  # a bracket without its partner: nobody's address
        return True
    if not _is_allowed(name) or host.username is not None:
        return True
    if origin.netloc != host.netloc:
        return True
    followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return not followed and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")


def _is_allowed(name: str) -> bool:
    """Whether a Host is a name of this machine: loopback, or one that was given to the server."""
    if name in _LOOPBACK or name in (st.get_option("browser.serverAddress"), st.get_option("server.address")):
        return bool(name) and not _is_wildcard(name)
    for allowed in st.get_option("server.allowedHosts") or ():
        pattern = allowed.strip().lower().rstrip(".")
        if name == pattern or (pattern.startswith("*.") and name.endswith(pattern[1:])):
            return True
    return False


def _is_wildcard(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return False


def _same(given: str, right: str) -> bool:
    return bool(right) and hmac.compare_digest(given.encode(), right.encode())


def _is_form(headers: Headers) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/x-www-form-urlencoded"


async def _token_of_form(receive: Receive) -> str:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _LONGEST_FORM or message["type"] != "http.request":
            return ""
        if not message.get("more_body"):
            return parse_qs(body.decode("utf-8", "replace")).get(_PARAMETER, [""])[0].strip()


def _content_policy() -> str:
    """As tight as Streamlit bears: its own files and the two scripts inside its first HTML.

    Its CSS library writes styles into elements, and components are loaded from blobs.
    """
    index = Path(st.__file__).parent / "static" / "index.html"
    inside = [HEAD_SCRIPT, *re.findall(r"<script>(.*?)</script>", index.read_text(encoding="utf-8"), re.S)]
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in inside)
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' blob: {hashes}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "media-src 'self' blob:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


_REFRESH = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={address}">'
_ICON = (Path(__file__).parent / "static" / "logo.svg").read_text(encoding="utf-8")
_STYLE = """
:root { color-scheme: light dark; --ink: #1C2127; --grey: #646C77; --line: #E2E5E9; --page: #fff;
  --field: #F6F7F8; --accent: #4A54C4; --wrong: #B93F28; }
@media (prefers-color-scheme: dark) { :root { --ink: #E3E6EA; --grey: #8B939E; --line: #2A2E35;
  --page: #111317; --field: #191C21; --accent: #6872E0; --wrong: #E8806A; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--page);
  color: var(--ink); font: 14px/1.5 "Plex", "IBM Plex Sans", "Noto Sans", system-ui, sans-serif; }
main { width: min(400px, calc(100vw - 40px)); margin-bottom: 12vh; }
svg { display: block; margin-bottom: 28px; }
h1 { font-size: 1.15rem; font-weight: 600; margin: 0 0 4px; }
p { margin: 0 0 18px; color: var(--grey); }
p.wrong { color: var(--wrong); margin: 8px 0 0; }
form { display: flex; gap: 8px; }
input { flex: 1; min-width: 0; padding: 8px 10px; border: 1px solid var(--line); border-radius: 5px;
  background: var(--field); color: inherit; font: inherit; }
input:focus-visible, button:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
button { padding: 8px 16px; border: 0; border-radius: 5px; background: var(--accent); color: #fff;
  font: inherit; font-weight: 500; cursor: pointer; }
code { font: 0.9em "IBM Plex Mono", "Noto Sans Mono", monospace; color: var(--ink); }
"""
_FORM_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_digest(_STYLE)}'; img-src data:; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)
_FORM = """<!doctype html><html lang="en"><head><meta charset="utf-8">{refresh}
<meta name="viewport" content="width=device-width, initial-scale=1"><title>audioreason</title>
<link rel="icon" href="data:,"><style>{style}</style></head><body><main>{icon}
<h1>Enter the token of this lab</h1>
<p>It is in the link that <code>audioreason lab</code> printed, after <code>token=</code>.</p>
<form method="post"><input type="password" name="token" aria-label="Token" placeholder="Token"
autocomplete="current-password" required autofocus><button>Open the lab</button></form>
{wrong}</main></body></html>"""


def _form(connection: HTTPConnection, wrong: bool = False) -> Response:
    # who came by a link of another site may have the cookie all the same: asked again from here, it is sent
    follow = connection.headers.get("sec-fetch-site") in ("cross-site", "same-site") and not wrong
    text = _FORM.format(
        refresh='<meta http-equiv="refresh" content="0">' if follow else "",
        style=_STYLE,
        icon=_ICON,
        wrong='<p class="wrong" role="alert">Incorrect token.</p>' if wrong else "",
    )
    headers = {"Content-Security-Policy": _FORM_POLICY, "Cache-Control": "no-store"}
    return HTMLResponse(text, status_code=401, headers=headers)
