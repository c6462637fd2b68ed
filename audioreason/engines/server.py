"""The local engine behind an OpenAI-compatible API: `python -m audioreason.engines.server --model FOLDER`.

Listens on loopback unless told otherwise, checks Host and Origin, takes application/json only and sets no
CORS header, so that no web page can use it. With AUDIOREASON_ENGINE_KEY set, every request but /health needs
that key as a Bearer token. A client that goes away cancels its generation. What
waits is bounded: more gets 429.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import hmac
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from audioreason.engines.chat import (
    ChatBody,
    Defaults,
    FieldError,
    ReasoningParser,
    error_object,
    parse_body,
    to_request,
)
from audioreason.engines.local import LocalEngine, require_torch
from audioreason.engines.replies import Answer, Service
from audioreason.engines.text import TextEngine, is_text_model, model_name
from audioreason.engines.tied import GRACE, wait_for_parent
from audioreason.errors import EngineError, LabError
from audioreason.workspace import ENGINE_KEY_VARIABLE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

MAX_BODY = 64 * 1024 * 1024
_LARGE_BODY = 256 * 1024  # bytes; of such, only a few arrive at a time
_ARRIVAL_SECONDS = 60.0  # that a body may take
_RETRY_SECONDS = 2
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def build_app(service: Service, hosts: Sequence[str] = _LOOPBACK, key: str = "") -> ASGIApp:
    """The ASGI application; `hosts` are the names it answers to, without port; `key` is wanted of clients."""
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", _completions, methods=["POST"]),
            Route("/v1/models", _models),
            Route("/health", _health),
            Route("/metrics", _metrics),
        ],
        exception_handlers={404: _not_found, 405: _not_found},
    )
    app.state.service = service
    return _Guard(app, tuple(hosts), key)


class _Guard:
    """Refuses requests that a web page or a rebound name sent, and those without the key, if there is one."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], key: str) -> None:
        self._app = app
        self._hosts = hosts
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (reason := self._refusal(scope)):
            await _error(reason, 403, "forbidden")(scope, receive, send)
            return
        if scope["type"] == "http" and not self._has_key(scope):
            refused = _error("This engine wants its key as a Bearer token.", 401, "unauthorized")
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _has_key(self, scope: Scope) -> bool:
        if not self._key or scope["path"] == "/health":
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, b"Bearer " + self._key)

    def _refusal(self, scope: Scope) -> str:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        host = headers.get("host", "")
        name, _, port = host.rpartition(":")
        if (name if port.isdigit() else host).lower() not in self._hosts:
            return "This engine does not answer to that Host."
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            return "This engine does not answer to web pages of another origin."
        return ""


def _error(message: str, status: int, kind: str = "invalid_request_error") -> JSONResponse:
    return JSONResponse(error_object(message, kind, status), status)


async def _not_found(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return _error(f"There is no {request.method} {request.url.path} here.", status, "not_found_error")


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok", "model": _service(request).name})


async def _models(request: Request) -> Response:
    service = _service(request)
    model = {
        "id": service.name,
        "object": "model",
        "created": int(service.engine.folder.stat().st_mtime),
        "owned_by": "audioreason",
        "root": str(service.engine.folder),
        "max_model_len": service.engine.context,
    }
    return JSONResponse({"object": "list", "data": [model]})


async def _metrics(request: Request) -> Response:
    service = _service(request)
    load = service.engine.load()
    lines = []
    for name, kind, value in (
        ("num_requests_running", "gauge", load.running),
        ("num_requests_waiting", "gauge", load.waiting),
        ("prompt_tokens_total", "counter", load.prompt_tokens),
        ("generation_tokens_total", "counter", load.generated_tokens),
    ):
        lines += [f"# TYPE vllm:{name} {kind}", f'vllm:{name}{{model_name="{service.name}"}} {value}']
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


async def _completions(request: Request) -> Response:
    service = _service(request)
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        return _error("Send the request as application/json.", 415)
    if service.overloaded():
        return await _too_busy(request)
    service.arriving += 1
    try:
        answer, stream = await _accept(request, service)
    except ClientDisconnect:
        return Response(status_code=499)
    except TimeoutError:
        return _error("The request arrived too slowly.", 408)
    except _Refused as refused:
        return refused.response
    except FieldError as error:
        return _error(str(error), 422)
    except LabError as error:
        return _error(str(error), 400)
    finally:
        service.arriving -= 1
    if stream:
        return StreamingResponse(answer.events(), media_type="text/event-stream")
    return await _whole(request, answer)


class _Refused(Exception):
    """A request gets this response instead of an answer."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


async def _accept(request: Request, service: Service) -> tuple[Answer, bool]:
    """Read a request, decode its clips and give it to the engine; whether its answer is a stream.

    What it held on its way, many times its clips' size, is gone when this returns.

    Raises:
        _Refused: if it is too large, names another model, or too much waits already.
        ClientDisconnect: if the client is gone.
        TimeoutError: if it arrives too slowly.
        LabError: if it cannot be used.
    """
    async with contextlib.AsyncExitStack() as held:
        raw = await _read(request, service, held)
        if raw is None:
            raise _Refused(_error(f"The request is larger than {MAX_BODY >> 20} MB.", 413))
        await held.enter_async_context(service.decoding)
        if await request.is_disconnected():
            raise ClientDisconnect
        if service.overloaded():
            raise _Refused(await _too_busy(request))
        body = await run_in_threadpool(parse_body, raw)
        if body.model and body.model != service.name:
            message = f"There is no model {body.model} here; this engine serves {service.name}."
            raise _Refused(_error(message, 404, "not_found_error"))
        usage = bool((body.stream_options or {}).get("include_usage"))
        answer = Answer(service, body.n, usage, asyncio.get_running_loop())
        await run_in_threadpool(_submit, service, body, answer)
        return answer, body.stream


def _submit(service: Service, body: ChatBody, answer: Answer) -> None:
    asked = to_request(body, service.defaults, service.allowed)
    answer.ticket = service.engine.submit(asked, answer.emit)


async def _too_busy(request: Request) -> Response:
    """429, after the body, which is thrown away: a client that is still sending would not read an answer."""
    with contextlib.suppress(ClientDisconnect, TimeoutError, RuntimeError):  # or it was read already
        async with asyncio.timeout(_ARRIVAL_SECONDS):
            async for _ in request.stream():
                pass
    response = _error("Too many requests wait already.", 429, "rate_limit_error")
    response.headers["Retry-After"] = str(_RETRY_SECONDS)
    return response


async def _read(request: Request, service: Service, held: contextlib.AsyncExitStack) -> bytes | None:
    """The body; None if it is too large. A large one takes one of a few places, kept as long as `held`.

    Raises:
        TimeoutError: if it arrives too slowly.
    """
    data = bytearray()
    waited = False
    deadline = asyncio.get_running_loop().time() + _ARRIVAL_SECONDS
    async with asyncio.timeout_at(deadline) as limit:
        async for chunk in request.stream():
            data += chunk
            if len(data) > MAX_BODY:
                return None
            if len(data) > _LARGE_BODY and not waited:
                limit.reschedule(None)
                await held.enter_async_context(service.receiving)
                waited = True
                limit.reschedule(asyncio.get_running_loop().time() + _ARRIVAL_SECONDS)
    return bytes(data)


async def _whole(request: Request, answer: Answer) -> Response:
    """The complete answer, unless the client leaves before it is there."""
    finished = asyncio.ensure_future(answer.complete())
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({finished, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not finished.done():
            return Response(status_code=499)
        return JSONResponse(finished.result())
    except EngineError as error:
        return _error(str(error), 500, "internal_error")
    finally:
        answer.ticket.cancel()
        finished.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def serve(
    model: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8901,
    name: str | None = None,
    adapter: Path | None = None,
    quantize: str | None = None,
    allowed_media: Sequence[Path] = (),
    reasoning_parser: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Load a model and answer until SIGTERM or SIGINT.

    Args:
        model: a Qwen3-Omni thinker's folder, or a language model's (see `text`).
        host: where to listen; anything but loopback lets other machines use the model.
        port: 0 takes a free one.
        name: what the model is called; its folder's name if None.
        adapter: LoRA weights to merge in.
        quantize: "nf4" holds the experts in 4 bits; the adapter then stays on top, as in training.
        allowed_media: folders from which file:// URLs may be read.
        reasoning_parser: "qwen3" sends thoughts as `reasoning`; None leaves them in the content.
        device: "cpu", "cuda" or "auto".
        threads: CPU threads; None leaves it to torch.
        say: gets one line when it listens.

    Raises:
        EngineError: if the model cannot be loaded, or the port is taken.
    """
    import uvicorn

    if reasoning_parser not in (None, "qwen3"):
        raise EngineError(f"There is no reasoning parser {reasoning_parser}.", "Use qwen3, or none.")
    _prepare_transformers()
    listener = _listen(host, port)
    port = listener.getsockname()[1]
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    model = model.resolve()
    with _engine(model, adapter, device, quantize) as engine:
        parser: ReasoningParser | None = "qwen3" if reasoning_parser == "qwen3" else None
        allowed = tuple(folder.resolve() for folder in allowed_media)
        service = Service(engine, name or model_name(model), allowed, parser, Defaults.load(model))
        hosts = _LOOPBACK if host in ("127.0.0.1", "localhost", "::1") else (*_LOOPBACK, *_names(host))
        config = uvicorn.Config(
            build_app(service, hosts, os.environ.get(ENGINE_KEY_VARIABLE, "")),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=3,
        )
        say(f"{service.name} listens on http://{host}:{port}/v1 ({engine.device})")
        if threading.current_thread() is threading.main_thread():
            # uvicorn stops gracefully and then raises the signal again, for the handler before its own
            signal.signal(signal.SIGTERM, lambda number, frame: None)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _engine(model: Path, adapter: Path | None, device: str, quantize: str | None) -> LocalEngine | TextEngine:
    if not is_text_model(model):
        return LocalEngine(model, adapter, device, quantize=quantize)
    if adapter is not None or quantize is not None:
        raise EngineError(
            f"{model} is a language model without ears; adapters and nf4 are for models that hear.",
            "Leave them out.",
        )
    return TextEngine(model, device)


def _prepare_transformers() -> None:
    """Keep transformers quiet, and from importing sklearn: 3 s for a curve that is never drawn here."""
    require_torch()
    import transformers.utils

    vars(transformers.utils)["is_sklearn_available"] = lambda: False
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise EngineError(
            f"Port {port} on {host} cannot be used ({error.strerror or error}).",
            "Choose another with --port.",
        ) from error
    listener.listen(512)
    return listener


def _names(host: str) -> tuple[str, ...]:
    """Names by which other machines may call a server that listens on `host`."""
    import socket as network

    if host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return (host.lower(),)
    own = network.gethostname()
    try:
        addresses = {str(info[4][0]) for info in network.getaddrinfo(own, None)}
    except OSError:
        addresses = set()
    return (own.lower(), network.getfqdn().lower(), *addresses)


def _return_large_blocks() -> None:
    """Have blocks of 4 MB and more returned to the system when they are freed; glibc raises that limit itself
    otherwise, keeps what is smaller, and makes 8 heaps a core."""
    mmap_threshold, arena_max = -3, -8  # M_MMAP_THRESHOLD and M_ARENA_MAX of malloc.h
    with contextlib.suppress(AttributeError, OSError):  # other C libraries do not have it
        malloc = ctypes.CDLL(None).mallopt
        malloc(mmap_threshold, 4 << 20)
        malloc(arena_max, 2)


def _end_with_parent() -> None:
    """Stop when the parent is gone (see `tied`), at once if stopping takes too long."""

    def watch() -> None:
        while not wait_for_parent():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m audioreason.engines.server`; returns the exit status."""
    parser = argparse.ArgumentParser(description="Serve a local audio model on an OpenAI-compatible API.")
    parser.add_argument(
        "--model", type=Path, required=True, help="folder of a Qwen3-Omni thinker or a text model"
    )
    parser.add_argument("--adapter", type=Path, default=None, help="folder with LoRA weights to merge in")
    parser.add_argument("--quantize", choices=["nf4"], default=None, help="hold the experts in 4 bits")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8901, help="0 takes a free one")
    parser.add_argument("--served-model-name", default=None)
    parser.add_argument(
        "--allowed-media", type=Path, action="append", default=[], help="folder for file:// URLs"
    )
    parser.add_argument("--reasoning-parser", choices=["qwen3"], default=None)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--child", action="store_true", help="stop when standard input closes")
    given = parser.parse_args(arguments)
    _return_large_blocks()
    if given.child:
        _end_with_parent()
    try:
        serve(
            given.model,
            host=given.host,
            port=given.port,
            name=given.served_model_name,
            adapter=given.adapter,
            quantize=given.quantize,
            allowed_media=given.allowed_media,
            reasoning_parser=given.reasoning_parser,
            device=given.device,
            threads=given.threads,
            say=lambda line: print(line, flush=True),
        )
    except LabError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
