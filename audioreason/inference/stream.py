"""One answer as it is written: what the playground shows, through the openai SDK.

Yields pieces of text and of reasoning as they come; a fault in the middle leaves what came before with the
caller. Works with openai 2 (on httpx) and 3 (on httpx2). Knows nothing about pages or threads.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Generator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from audioreason.inference.client import (
    Timeouts,
    read_message,
    request_body,
    tls_fault,
    trusted,
)
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.faults import (
    BadAnswer,
    BadRequest,
    Fault,
    HalfBody,
    ServerFailed,
    TimedOut,
    Unreachable,
    disconnected,
    fault_from_status,
    not_http,
    quote,
)
from audioreason.inference.messages import Messages

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_Result = TypeVar("_Result")

# `read` bounds the silence between two pieces, and the wait for the first one behind a queue
STREAM_TIMEOUTS = Timeouts(connect=10.0, read=120.0, total=3600.0)

_SDK_NAMES = frozenset(
    {"model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed"}
)

# What a request carries besides its body. The SDK would add the organisation, project and custom headers of
# this process's environment, and facts about this machine, for whatever server is asked.
_HEADERS = frozenset(
    {"host", "accept", "accept-encoding", "connection", "content-type", "content-length", "authorization"}
)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counts them."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer: some text, some reasoning, or (the last ones) the finish reason and the usage."""

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None


def stream(
    endpoint: Endpoint,
    messages: Messages,
    sampling: Sampling,
    seed: int,
    timeouts: Timeouts = STREAM_TIMEOUTS,
) -> Generator[Delta, None, None]:
    """The answer, piece by piece, for a thread that runs no event loop; `close()` ends the request.

    Raises:
        Fault: whatever kept the server from answering, or from finishing its answer.
    """
    with asyncio.Runner() as runner:
        deltas = stream_async(endpoint, messages, sampling, seed, timeouts)

        async def following() -> Delta | None:
            return await anext(deltas, None)

        try:
            while (delta := runner.run(following())) is not None:
                yield delta
        finally:
            runner.run(deltas.aclose())


async def stream_async(
    endpoint: Endpoint,
    messages: Messages,
    sampling: Sampling,
    seed: int,
    timeouts: Timeouts = STREAM_TIMEOUTS,
) -> AsyncGenerator[Delta, None]:
    """As `stream`, in a running event loop; cancelling it closes the connection, which ends the generation.

    Raises:
        Fault: whatever kept the server from answering, or from finishing its answer.
    """
    asked = request_body(endpoint.model, messages, sampling, seed, endpoint.refused_fields)
    # the SDK names what OpenAI takes; the rest reaches the top level of the body through its extra_body
    extra = {key: asked.pop(key) for key in tuple(asked) if key not in _SDK_NAMES}
    body = asked | {"stream": True, "stream_options": {"include_usage": True}, "extra_body": extra}
    where = f"{endpoint.name} ({endpoint.base_url})"
    deadline = time.monotonic() + timeouts.total
    events = finished = False
    async with _sdk(endpoint, timeouts) as sdk:
        chunks = await _or_fault(sdk.chat.completions.create(**body), endpoint, timeouts, opened=False)
        async with chunks:
            while (
                chunk := await _or_fault(anext(chunks, None), endpoint, timeouts, opened=True)
            ) is not None:
                events = True
                if time.monotonic() > deadline:
                    raise TimedOut(
                        f"{where} was still writing after {timeouts.total:g} s.", "Lower max_tokens."
                    )
                for delta in _read_chunk(chunk, where):
                    finished = finished or delta.finish_reason is not None
                    yield delta
    if not events:
        raise BadAnswer(f"{where} did not answer with a stream of events.", "Is this a chat API?")
    if not finished:
        raise HalfBody(
            f"The answer of {where} stopped in the middle.", "The server or a proxy died; try again."
        )


def _sdk(endpoint: Endpoint, timeouts: Timeouts) -> AsyncOpenAI:
    import openai

    key = endpoint.api_key()

    async def only_what_is_needed(request: Any) -> None:
        for name in [name for name in request.headers if name.lower() not in _HEADERS]:
            del request.headers[name]
        if key:
            request.headers["Authorization"] = f"Bearer {key}"
        else:
            del request.headers["Authorization"]  # the SDK wants some key, the server none

    http = openai.DefaultAsyncHttpxClient(
        timeout=openai.Timeout(timeouts.read, connect=timeouts.connect),
        follow_redirects=False,  # a redirect could take audio to a server that nobody chose
        trust_env=not endpoint.local,
        # reading certificates takes 20 ms that plain http need not
        verify=trusted(endpoint) if endpoint.base_url.startswith("https") else False,
        event_hooks={"request": [only_what_is_needed]},
    )
    return openai.AsyncOpenAI(
        base_url=endpoint.base_url, api_key=key or "none", max_retries=0, http_client=http
    )


def _read_chunk(chunk: Any, where: str) -> list[Delta]:
    deltas: list[Delta] = []
    try:
        for choice in chunk.choices or ():
            text, reasoning = read_message(choice.delta.model_dump())
            if text or reasoning or choice.finish_reason:
                deltas.append(Delta(text or "", reasoning or "", choice.finish_reason))
        if chunk.usage is not None:
            deltas.append(Delta(usage=Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)))
    except (AttributeError, TypeError) as error:
        raise BadAnswer(
            f"{where} streams JSON that is not a chat completion.", "Is this a chat API?"
        ) from error
    return deltas


async def _or_fault(
    work: Awaitable[_Result], endpoint: Endpoint, timeouts: Timeouts, opened: bool
) -> _Result:
    """What the SDK returns, or the fault that its exception stands for; `opened`: an answer had begun."""
    import openai

    http = _http_library(openai)
    try:
        return await work
    except (openai.APIError, http.TransportError, ValueError, TypeError, AttributeError) as error:
        # the last three: events that are JSON of some other shape, or no JSON at all
        raise _fault(endpoint, timeouts, error, opened) from error


def _fault(endpoint: Endpoint, timeouts: Timeouts, error: Exception, opened: bool) -> Fault:
    import openai

    http = _http_library(openai)
    where = f"{endpoint.name} ({endpoint.base_url})"
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) else error
    if isinstance(error, openai.APIStatusError):
        return fault_from_status(endpoint, error.status_code, error.response.headers, error.response.content)
    if isinstance(error, openai.APITimeoutError) or isinstance(cause, http.TimeoutException):
        waited = timeouts.connect if isinstance(cause, http.ConnectTimeout) else timeouts.read
        return TimedOut(f"{where} did not answer within {waited:g} s.", "Is it overloaded, or hanging?")
    if isinstance(cause, http.TransportError):
        if opened:
            return HalfBody(
                f"The answer of {where} stopped in the middle.", "Did the server die? Its log says."
            )
        if isinstance(cause, http.ConnectError):
            if re.search(r"SSL|certificate", str(cause)):
                return tls_fault(endpoint, str(cause))
            return Unreachable(f"{where} cannot be reached ({cause}).", "Is the server running there?")
        if "illegal" in str(cause):  # h11's word for what is no HTTP
            return not_http(endpoint)
        return disconnected(endpoint)
    if isinstance(error, openai.APIError) and error.body is not None:  # an error event inside the stream
        said = error.body if isinstance(error.body, Mapping) else {"message": str(error.body)}
        code = said.get("code")
        if isinstance(code, int) and code >= 400:
            return fault_from_status(endpoint, code, {}, json.dumps(said, default=str).encode())
        return ServerFailed(
            f"{where} failed while answering{quote(endpoint, said)}.", "See the server's log.", None
        )
    if not opened:  # half of a surrogate pair, for one
        return BadRequest(f"The request cannot be written as JSON ({error}).", "Clean the item's text.")
    return BadAnswer(f"{where} answered with events that are not a chat completion.", "Is this a chat API?")


def _http_library(openai: ModuleType) -> Any:
    """httpx under openai 2, httpx2 under openai 3: the module whose exceptions the SDK lets through."""
    return importlib.import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])
