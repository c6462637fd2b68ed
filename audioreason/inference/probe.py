"""Find out what an endpoint can do by asking it: is it there, which models, how does a clip reach it.

For pages and commands, so everything here can be called without asyncio. Knows nothing about runs.
"""

from __future__ import annotations

import asyncio
import io
import logging
import math
import struct
import threading
import time
import wave
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from audioreason.errors import EndpointError
from audioreason.inference.client import Client, Load, Timeouts
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.faults import (
    BadAnswer,
    BadRequest,
    Disconnected,
    Fault,
    Overloaded,
    RateLimited,
    Retries,
    ServerFailed,
    TimedOut,
    Unreachable,
    WrongAddress,
)
from audioreason.inference.messages import Messages, audio_part
from audioreason.workspace import write_atomic

log = logging.getLogger("audioreason.inference")

_STATUS_TIMEOUTS = Timeouts(connect=2, read=3, total=4)
_PROBE_TIMEOUTS = Timeouts(connect=10, read=120, total=120)
_FEW_TOKENS = 16  # the least that some servers take
_QUESTION = "Answer with one word: do you hear a sound?"


@dataclass(frozen=True)
class Status:
    """What the endpoint light shows. `error` is one sentence, None if the server is there.

    `seconds` is the latency of its health check, `load` what its metrics say (None: it does not say).
    """

    seconds: float | None = None
    models: tuple[str, ...] = ()
    load: Load | None = None
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the server answered."""
        return self.error is None


@dataclass(frozen=True)
class AudioProbe:
    """How a clip reaches a model. `audio_tokens` is what one second of sound added to the prompt.

    Zero audio tokens mean that the server took the clip and did not listen; None, that it does not count.
    `refused_fields` are optional request fields that it refused.
    """

    transport: Literal["file", "input_audio"]
    audio_tokens: int | None
    refused_fields: tuple[str, ...] = ()


_probes: dict[tuple[str, str, str], AudioProbe] = {}
_probes_lock = threading.Lock()


def endpoint_status(endpoint: Endpoint) -> Status:
    """Whether the server is there, its models and its load, within 4 s; faults do not raise."""

    async def ask() -> Status:
        async with Client(endpoint, _STATUS_TIMEOUTS) as client:
            seconds, models, load = await asyncio.gather(client.health(), client.models(), client.metrics())
            return Status(seconds=seconds, models=tuple(models), load=load)

    try:
        return asyncio.run(ask())
    except EndpointError as error:
        return Status(error=str(error))


def ready_endpoint(
    endpoint: Endpoint,
    folder: Path,
    retries: Retries | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Endpoint:
    """The endpoint with its open questions answered: a model (the first, if none is named) and a transport.

    `folder` is where clips lie (or one clip); a file:// URL must work for what is there. Ask for this once
    before a run, so that its record says what was really used. With `retries` a server that is not there, is
    too busy or fails is asked again as in a batch, until `should_stop`.

    Raises:
        Fault: if the server is not there, lists no model, or takes no audio in either form.
    """

    async def ask() -> Endpoint:
        ready = endpoint
        if not ready.model:
            async with Client(endpoint, _PROBE_TIMEOUTS) as client:
                ready = ready.model_copy(update={"model": await first_model(client)})
        if ready.transport == "auto":
            probe = await probe_audio(ready, folder)
            if probe.refused_fields:
                log.warning(
                    "%s (%s) does not accept %s: left out of every request.",
                    ready.name,
                    ready.base_url,
                    " and ".join(probe.refused_fields),
                )
            found = {"transport": probe.transport, "refused_fields": probe.refused_fields}
            ready = ready.model_copy(update=found)
        return ready

    if retries is None:
        return asyncio.run(ask())
    return asyncio.run(_patiently(ask, retries, should_stop))


async def _patiently(
    ask: Callable[[], Awaitable[Endpoint]], retries: Retries, should_stop: Callable[[], bool]
) -> Endpoint:
    """What `ask` returns; a fault that may pass is waited for as long as `retries` says.

    Raises:
        Fault: the last one, if it does not pass, or if a stop was asked for.
    """
    began, failures, told = time.monotonic(), 0, False
    while True:
        try:
            return await ask()
        except Fault as fault:
            if isinstance(fault, Unreachable | Disconnected | Overloaded):
                left = began + retries.server_wait - time.monotonic()
            elif isinstance(fault, RateLimited):
                left = began + retries.patience - time.monotonic()
            else:
                failures += 1
                left = (
                    retries.cap if failures < (2 if isinstance(fault, TimedOut) else retries.attempts) else 0
                )
            if not fault.retry or isinstance(fault, WrongAddress) or left <= 0 or should_stop():
                raise
            if not told:
                log.warning("%s Asking again for %.0f s at most.", fault.message, left)
                told = True
            again = time.monotonic() + min(left, max(fault.retry_after or 0.0, 2 * retries.base))
            while (wait := again - time.monotonic()) > 0 and not should_stop():
                await asyncio.sleep(min(wait, 0.1))


async def first_model(client: Client) -> str:
    """The first model that the server lists; a warning names it if there are several.

    Raises:
        Fault: if it lists none.
    """
    models = await client.models()
    where = f"{client.endpoint.name} ({client.endpoint.base_url})"
    if not models:
        raise BadAnswer(f"{where} lists no model.", "Load one there.")
    if len(models) > 1:
        named = ", ".join(models[:5]) + (" ..." if len(models) > 5 else "")
        log.warning(
            "%s has %d models (%s). The first is asked: %s. Choose another by its name.",
            where,
            len(models),
            named,
            models[0],
        )
    return models[0]


async def probe_transport(endpoint: Endpoint, folder: Path) -> Literal["file", "input_audio"]:
    """`file` if the server reads clips in `folder`, else `input_audio`. Asked once per endpoint and folder.

    Raises:
        Fault: if the server is not there, or takes no audio in either form.
    """
    return (await probe_audio(endpoint, folder)).transport


async def probe_audio(endpoint: Endpoint, folder: Path, refresh: bool = False) -> AudioProbe:
    """Send one second of sound, first by file:// URL, then as base64; remembered unless `refresh`.

    `folder` may also be a clip, which is then sent instead of a generated one.

    Raises:
        Fault: if the server is not there, or takes no audio in either form.
    """
    key = (endpoint.base_url, endpoint.model, str(folder))
    with _probes_lock:
        if not refresh and key in _probes:
            return _probes[key]
    clip = folder if folder.is_file() else probe_clip(folder)
    async with Client(endpoint, _PROBE_TIMEOUTS) as client:
        probe = await _ask_with_audio(client, clip)
    with _probes_lock:
        _probes[key] = probe
    return probe


async def _ask_with_audio(client: Client, clip: Path) -> AudioProbe:
    sampling = Sampling(temperature=0, max_tokens=_FEW_TOKENS)

    async def prompt_tokens(*parts: dict[str, Any]) -> int | None:
        messages: Messages = [{"role": "user", "content": [*parts, {"type": "text", "text": _QUESTION}]}]
        return (await client.complete(messages, sampling, seed=0))[0].prompt_tokens

    silent = await prompt_tokens()
    transport: Literal["file", "input_audio"] = "file"
    try:
        try:
            heard = await prompt_tokens(audio_part(clip, "file"))
        except Overloaded:
            raise
        except ServerFailed:  # once more: it may have been the server's moment, not the file
            heard = await prompt_tokens(audio_part(clip, "file"))
    except Overloaded:
        raise
    except (BadRequest, ServerFailed):  # a server that may not read the file answers 400, 404 or 500
        transport = "input_audio"
        try:
            heard = await prompt_tokens(audio_part(clip, "input_audio"))
        except BadRequest as fault:
            where = f"{client.endpoint.name} ({client.endpoint.base_url})"
            raise BadRequest(
                f"{where} answers text and takes no audio: {fault.message}",
                "Choose a model that hears, such as Qwen3-Omni.",
                fault.status,
            ) from fault
    tokens = None if heard is None or silent is None else heard - silent
    return AudioProbe(transport, tokens, client.refused_fields)


def probe_clip(folder: Path) -> Path:
    """One second of a 440 Hz tone, 16 kHz mono 16-bit, as `folder`/probe.wav; written if it is not there.

    Raises:
        WorkspaceError: if the folder cannot be written.
    """
    path = folder / "probe.wav"
    if not path.exists():
        sr = 16_000
        samples = [int(8_000 * math.sin(2 * math.pi * 440 * t / sr)) for t in range(sr)]
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(sr)
            file.writeframes(struct.pack(f"<{sr}h", *samples))
        write_atomic(path, buffer.getvalue())
    return path
