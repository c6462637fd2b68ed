"""A fake OpenAI server on a real loopback socket that answers, stalls and breaks as a test asks it to.

    with FakeServer() as server:
        server.reply = lambda request: Text("hello") if request.number > 2 else Status(500)
        ... server.endpoint ... server.requests ... server.most_in_flight ...

Runs in a thread of the test's process. It reads audio as vLLM does: `file://` only in `allowed` folders,
base64 in `input_audio`. It knows nothing about the lab; only what the chat API says.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from aiohttp import web


@dataclass(frozen=True)
class Request:
    """One chat request as it arrived: `number` counts from 1 over the server's life."""

    number: int
    body: dict[str, Any]
    headers: dict[str, str]
    in_flight: int

    @property
    def seed(self) -> int | None:
        return self.body.get("seed")

    @property
    def text(self) -> str:
        """All text of the last message."""
        content = self.body["messages"][-1]["content"]
        if isinstance(content, str):
            return content
        return "".join(part.get("text", "") for part in content if part["type"] == "text")


@dataclass(frozen=True)
class Text:
    """A good answer. `chunks` and `pause` (seconds between them) shape a stream; `after` delays it."""

    content: str | None = "<think>I hear two claps.</think>\nANSWER: two"
    reasoning: str | None = None
    reasoning_key: str = "reasoning"
    finish_reason: str = "stop"
    after: float = 0.0
    chunks: int = 8
    pause: float = 0.0
    usage: bool = True
    each: Callable[[int], str] | None = None  # content of choice i, where a request asks for several
    without: Sequence[int] = ()  # choices that are left out
    tells: bool = False  # each choice's tokens, if asked for, as vLLM does


@dataclass(frozen=True)
class Status:
    """An HTTP error."""

    status: int
    message: str = "something broke"
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0


@dataclass(frozen=True)
class Raw:
    """Bytes of any kind."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200


@dataclass(frozen=True)
class Hang:
    """No answer at all until the client goes away."""


@dataclass(frozen=True)
class Half:
    """The first part of an answer, then the connection breaks. In a stream: `chunks` pieces come first."""

    chunks: int = 3
    content: str = "one two three four five six seven eight"


@dataclass(frozen=True)
class Drop:
    """The connection breaks before any byte of an answer."""


Reply = Text | Status | Raw | Hang | Half | Drop


def closed_port() -> int:
    """A loopback port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class FakeServer:
    """See the module. Change `reply`, `capacity`, `healthy` and `metrics` at any time, from any thread."""

    def __init__(
        self,
        reply: Reply | Callable[[Request], Reply] | None = None,
        *,
        models: Sequence[str] = ("fake-model",),
        hears: Sequence[str] = ("file", "input_audio"),
        allowed: Sequence[Path] = (),
        capacity: int | None = None,
        retry_after: str | None = None,
        require_key: str | None = None,
        check_model: bool = True,
        has_health: bool = True,
        healthy: bool = True,
        metrics: str | None = None,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        fields: Collection[str] | None = None,
    ) -> None:
        self.reply: Reply | Callable[[Request], Reply] = Text() if reply is None else reply
        self.models = tuple(models)
        self.hears = tuple(hears)
        self.allowed = tuple(Path(folder).resolve() for folder in allowed)
        self.capacity = capacity
        self.retry_after = retry_after
        self.require_key = require_key
        self.check_model = check_model
        self.has_health = has_health
        self.healthy = healthy
        self.tls = tls
        self.fields = None if fields is None else frozenset(fields)  # that it knows; None: it ignores others
        self.metrics = metrics
        self.requests: list[Request] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.refused = 0
        self.hung_up = 0
        self.clips: list[bytes] = []
        self._lock = threading.Lock()
        self._wanted_port = port
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake-server", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Event
        self.port = 0

    def __enter__(self) -> FakeServer:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the fake server did not start")
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def base_url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/v1"

    @property
    def endpoint(self) -> Any:
        """An `Endpoint` for this server and its first model."""
        from audioreason.inference.endpoint import Endpoint

        return Endpoint(name="fake", base_url=self.base_url, model=self.models[0], transport="input_audio")

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [request.body for request in self.requests]

    def close(self) -> None:
        """Stop, breaking every open connection, as a killed process would."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)

    # --- inside the server's thread ---

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/metrics", self._metrics)
        if self.has_health:
            app.router.add_get("/health", self._health)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.01)
        await runner.setup()
        site = web.TCPSite(
            runner, "127.0.0.1", self._wanted_port, backlog=1024, reuse_address=True, ssl_context=self.tls
        )
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        if runner.server is not None:
            for connection in runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
        await runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        return web.json_response(
            {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}
        )

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="", status=200 if self.healthy else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        if self.metrics is None:
            raise web.HTTPNotFound
        return web.Response(text=self.metrics)

    def _refuse_key(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("Authorization", "")
        if self.require_key is None or given == f"Bearer {self.require_key}":
            return None
        return _error(401, f"Incorrect API key provided: {given.removeprefix('Bearer ')}.")

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        if (refusal := self._refuse_key(http)) is not None:
            return refusal
        body = json.loads(await http.read())
        with self._lock:
            busy = self.capacity is not None and self.in_flight >= self.capacity
            if busy:
                self.refused += 1
            else:
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                request = Request(len(self.requests) + 1, body, dict(http.headers), self.in_flight)
                self.requests.append(request)
        if busy:
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            return _error(429, "too many requests", headers)
        try:
            if self.check_model and body.get("model") not in self.models:
                return _error(404, f"The model `{body.get('model')}` does not exist.")
            if self.fields is not None and (unknown := sorted(body.keys() - self.fields)):
                said = [
                    {"error": {"code": 400, "message": f'Unknown name "{unknown[0]}": Cannot find field.'}}
                ]
                return web.json_response(said, status=400)
            if (problem := self._listen(body)) is not None:
                return _error(400, problem)
            reply = self.reply(request) if callable(self.reply) else self.reply
            return await self._answer(http, body, reply)
        except asyncio.CancelledError:
            with self._lock:
                self.hung_up += 1
            raise
        finally:
            with self._lock:
                self.in_flight -= 1

    def _listen(self, body: dict[str, Any]) -> str | None:
        """Read every clip of the request as a server would; a sentence if that is not possible."""
        for message in body["messages"]:
            content = message["content"]
            for part in content if isinstance(content, list) else ():
                if part["type"] == "audio_url":
                    path = Path(unquote(urlsplit(part["audio_url"]["url"]).path))
                    if "file" not in self.hears or not any(
                        path.is_relative_to(root) for root in self.allowed
                    ):
                        return f"Cannot load local files without --allowed-local-media-path: {path}"
                    self.clips.append(path.read_bytes())
                elif part["type"] == "input_audio":
                    if "input_audio" not in self.hears:
                        return "fake-model is not a multimodal model"
                    try:
                        self.clips.append(base64.b64decode(part["input_audio"]["data"], validate=True))
                    except binascii.Error:
                        return "input_audio is not base64"
        return None

    async def _answer(self, http: web.Request, body: dict[str, Any], reply: Reply) -> web.StreamResponse:
        if isinstance(reply, Hang):
            await asyncio.sleep(3600)
        if isinstance(reply, Drop):
            http.transport.abort()
            raise asyncio.CancelledError
        if isinstance(reply, Status):
            await asyncio.sleep(reply.after)
            return _error(reply.status, reply.message, reply.headers)
        if isinstance(reply, Raw):
            return web.Response(body=reply.body, content_type=reply.content_type, status=reply.status)
        if body.get("stream"):
            return await self._stream(http, body, reply)
        if isinstance(reply, Half):
            data = json.dumps(_completion(body, Text(reply.content))).encode()
            response = web.StreamResponse(
                headers={"Content-Type": "application/json", "Content-Length": str(len(data))}
            )
            await response.prepare(http)
            await response.write(data[: len(data) // 2])
            http.transport.close()
            return response
        await asyncio.sleep(reply.after)
        return web.json_response(_completion(body, reply))

    async def _stream(
        self, http: web.Request, body: dict[str, Any], reply: Text | Half
    ) -> web.StreamResponse:
        text = reply if isinstance(reply, Text) else Text(reply.content, chunks=8)
        await asyncio.sleep(text.after)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(http)

        async def send(value: dict[str, Any]) -> None:
            await response.write(b"data: " + json.dumps(value).encode() + b"\n\n")

        def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return {**_envelope(body, "chat.completion.chunk"), "choices": [choice]}

        await send(chunk({"role": "assistant", "content": ""}))
        pieces = [(text.reasoning_key, piece) for piece in _pieces(text.reasoning, text.chunks)]
        pieces += [("content", piece) for piece in _pieces(text.content, text.chunks)]
        for count, (key, piece) in enumerate(pieces):
            if isinstance(reply, Half) and count == reply.chunks:
                http.transport.close()
                return response
            await send(chunk({key: piece}))
            await asyncio.sleep(text.pause)
        await send(chunk({}, text.finish_reason))
        if text.usage and (body.get("stream_options") or {}).get("include_usage"):
            await send(
                {**_envelope(body, "chat.completion.chunk"), "choices": [], "usage": _usage(body, text, 1)}
            )
        await response.write(b"data: [DONE]\n\n")
        return response


def _pieces(text: str | None, count: int) -> list[str]:
    if not text:
        return []
    size = max(1, -(-len(text) // count))
    return [text[start : start + size] for start in range(0, len(text), size)]


def _envelope(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": body.get("model", "")}


def _usage(body: dict[str, Any], text: Text, n: int) -> dict[str, int]:
    """Tokens as words; 13 for each clip, as for a second of sound."""
    prompt = len(json.dumps([m for m in body["messages"] if isinstance(m["content"], str)]).split())
    for message in body["messages"]:
        if isinstance(message["content"], list):
            prompt += sum(
                len(part["text"].split()) if part["type"] == "text" else 13 for part in message["content"]
            )
    done = n * max(1, len(f"{text.reasoning or ''} {text.content or ''}".split()))  # the end mark at least
    return {"prompt_tokens": prompt, "completion_tokens": done, "total_tokens": prompt + done}


def _completion(body: dict[str, Any], text: Text) -> dict[str, Any]:
    n = body.get("n", 1)
    message: dict[str, Any] = {"role": "assistant", "content": text.content}
    if text.reasoning is not None:
        message[text.reasoning_key] = text.reasoning
    choices = [
        {
            "index": i,
            "message": message if text.each is None else {**message, "content": text.each(i)},
            "finish_reason": text.finish_reason,
        }
        for i in range(n)
        if i not in text.without
    ]
    value = {**_envelope(body, "chat.completion"), "choices": choices}
    if text.usage:
        value["usage"] = _usage(body, text, n)
    if text.tells and body.get("return_token_ids"):
        counts = [len(choice["message"]["content"].split()) for choice in choices]
        for choice, count in zip(choices, counts, strict=True):
            choice["token_ids"] = list(range(count))
        value["usage"]["completion_tokens"] = sum(counts)
    return value


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"message": message, "code": status}}, status=status, headers=headers)
