"""Pages open sooner: the HTML that a browser asks for first says where the server is.

At a page's address Streamlit's client tries the page's own path first, is refused, and asks again a level up.
A client that does not know the name ignores it, so another version of Streamlit is only as slow as before.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# a page's address has no folder of its own, also where a proxy serves the lab under one
HEAD_SCRIPT = "window.__streamlit = {BACKEND_BASE_URL: new URL('.', location.href).href};"
_HEAD = f"<head><script>{HEAD_SCRIPT}</script>".encode()


class Opening:
    """Adds to the first HTML, whatever page it is for; everything else passes as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or "text/html" not in Headers(scope=scope).get("accept", ""):
            await self._app(scope, receive, send)
            return
        start: Message = {}
        body = bytearray()

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = Headers(raw=message["headers"])
                kind = headers.get("content-type", "")
                if message["status"] == 200 and kind.startswith("text/html"):
                    start.update(message)
                    return
            if not start or message["type"] != "http.response.body":
                await send(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            whole = bytes(body).replace(b"<head>", _HEAD, 1)
            headers = MutableHeaders(raw=start["headers"])
            headers["content-length"] = str(len(whole))
            for name in ("etag", "last-modified"):  # they speak of the file alone
                if name in headers:
                    del headers[name]
            await send(start)
            await send({"type": "http.response.body", "body": whole})

        # neither packed, nor sent by the server itself: both would pass this by
        asked = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await self._app({**scope, "headers": asked, "extensions": {}}, receive, told)
