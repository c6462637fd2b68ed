"""One endpoint over aiohttp: chat completions, models, health, load, and how it takes audio.

The transport of the batch road (FACTS: six times less CPU than the SDK). Sends one request at a time when
asked; knows nothing about retries, concurrency or runs.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
import ssl
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp
import orjson

from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.faults import (
    AuthRefused,
    BadAnswer,
    BadRequest,
    Disconnected,
    Fault,
    HalfBody,
    ServerFailed,
    TimedOut,
    Unreachable,
    WrongAddress,
    bad_certificate,
    disconnected,
    fault_from_status,
    not_http,
    quote,
    wrong_scheme,
)
from audioreason.inference.messages import Messages, named_folder

_HEALTH_SECONDS = 5.0
_IDS = "return_token_ids"  # vLLM's: each choice carries its tokens, which its usage counts together
# fields that the lab adds by itself: a server that refuses one is asked without it
_OPTIONAL = (_IDS, "seed")
_LENGTH = "max_completion_tokens"  # what newer models of OpenAI want in place of max_tokens


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait: for a connection, for the next byte, and for the whole answer.

    A chat completion sends its first byte when the last token is ready, so `read` is as long as the longest
    thinking is allowed to take.
    """

    connect: float = 10.0
    read: float = 600.0
    total: float = 900.0


@dataclass(frozen=True, slots=True)
class Completion:
    """One choice of a chat completion.

    Null content with everything in `reasoning` is an answer, not a fault: a model that never closed its
    thinking (FACTS, vLLM). Token counts come from the server, which counts the choices of a request together;
    `completion_tokens` of one of several is its own where the choice tells, as from vLLM and the lab's
    engine, and elsewhere its share of the request's by length (`tokens_estimated`): sums are true, one alone
    may be a few percent off. `index` is the choice's place; `seconds` is the whole request.
    """

    content: str | None
    reasoning: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float
    index: int = 0
    tokens_estimated: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """All choices of one request, with the tokens that the server counted for all of them together."""

    completions: list[Completion]
    completion_tokens: int


@dataclass(frozen=True)
class Load:
    """What vLLM's `/metrics` says: requests running and waiting, share of KV cache in use (0 to 1)."""

    running: int
    waiting: int
    kv_cache: float | None


class Client:
    """A keep-alive connection pool to one endpoint. Use as `async with Client(endpoint) as client`."""

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts | None = None) -> None:
        self.endpoint = endpoint
        self.timeouts = timeouts or Timeouts()
        self._session: aiohttp.ClientSession | None = None
        self._refused = set(endpoint.refused_fields)
        self._key = b""

    async def __aenter__(self) -> Client:
        headers = {"Content-Type": "application/json", "User-Agent": "audioreason"}
        if key := self.endpoint.api_key():
            headers["Authorization"] = f"Bearer {key}"
            self._key = key.encode()
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(
                total=self.timeouts.total, connect=self.timeouts.connect, sock_read=self.timeouts.read
            ),
            # the runner bounds what is in flight; a second bound here would hide behind it
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ssl=trusted(self.endpoint)),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=not self.endpoint.local,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def complete(
        self, messages: Messages, sampling: Sampling, seed: int, n: int = 1
    ) -> list[Completion]:
        """`n` completions of one conversation.

        Raises:
            Fault: whatever kept the server from answering; see `faults` for the kinds.
        """
        return (await self.answer(messages, sampling, seed, n)).completions

    async def answer(self, messages: Messages, sampling: Sampling, seed: int, n: int = 1) -> Answer:
        """As `complete`, with the token count of the whole request.

        Raises:
            Fault: whatever kept the server from answering.
        """
        body = request_body(self.endpoint.model, messages, sampling, seed, self._refused)
        if n > 1:
            body["n"] = n
            if _IDS not in self._refused:
                body[_IDS] = True
        try:
            encoded = orjson.dumps(body)
        except orjson.JSONEncodeError as error:
            raise BadRequest(
                f"The request cannot be written as JSON ({error}).", "Clean the item's text."
            ) from error
        start = time.perf_counter()
        try:
            data = await self._request(
                "POST", f"{self.endpoint.base_url}/chat/completions", encoded, messages
            )
        except BadRequest as fault:
            if (field := refused_field(fault, body)) is None:
                raise
            self._refused.add(field)
            return await self.answer(messages, sampling, seed, n)
        return _read_answer(self.endpoint, data, time.perf_counter() - start, n)

    @property
    def refused_fields(self) -> tuple[str, ...]:
        """Optional fields that the server was found to refuse; requests leave them out."""
        return tuple(sorted(self._refused))

    async def models(self) -> list[str]:
        """The names of the models that the server lists, in its order.

        Raises:
            Fault: if it does not answer, or not with a list of models.
        """
        value = _json(self.endpoint, await self._request("GET", f"{self.endpoint.base_url}/models"))
        try:
            return [str(model["id"]) for model in value["data"]]
        except (KeyError, TypeError) as error:
            raise BadAnswer(
                f"{self.endpoint.name} ({self.endpoint.base_url}) does not list models.",
                "Is this a chat API?",
            ) from error

    async def health(self) -> float:
        """Seconds the server took to say that it is there (`/health`, else `/models`).

        Raises:
            Fault: if it is not there.
        """
        start = time.perf_counter()
        try:
            await self._request("GET", f"{self.endpoint.root_url}/health")
        except BadRequest:
            await self.models()
        return time.perf_counter() - start

    async def there(self) -> bool:
        """Whether the server says that it can answer: its health check succeeds, within 5 s.

        One that takes longer counts as there: it is busy, and still answers. A server that starts, or whose
        engine died, says 503.
        """
        try:
            async with asyncio.timeout(_HEALTH_SECONDS):
                await self.health()
        except (Unreachable, Disconnected, HalfBody, ServerFailed):
            return False
        except (Fault, TimeoutError):
            return True
        return True

    async def metrics(self) -> Load | None:
        """How busy the server is, from its `/metrics`; None if it does not say.

        Raises:
            Fault: if it is not there.
        """
        try:
            text = await self._request("GET", f"{self.endpoint.root_url}/metrics")
        except (BadRequest, AuthRefused, ServerFailed):
            return None
        return read_load(text.decode("utf-8", "replace"))

    async def _request(
        self, method: str, url: str, body: bytes | None = None, messages: Messages | None = None
    ) -> bytes:
        """The body of a successful answer; `messages` are those in `body`.

        Raises:
            Fault: for anything else.
        """
        if self._session is None:
            raise RuntimeError("use Client as an async context manager")
        try:
            # a redirect could take audio to a server that nobody chose
            async with self._session.request(method, url, data=body, allow_redirects=False) as response:
                data = await response.read()
                if (
                    self._key and self._key in data
                ):  # a server that sends it back must not bring it into a prediction
                    data = data.replace(self._key, b"***")
                if response.status != 200:
                    clips = named_folder(messages or [])
                    raise fault_from_status(self.endpoint, response.status, response.headers, data, clips)
                return data
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> Fault:
        where = f"{self.endpoint.name} ({self.endpoint.base_url})"
        if isinstance(error, TimeoutError):
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                waited = self.timeouts.connect
            else:
                waited = min(self.timeouts.read, self.timeouts.total)
            return TimedOut(f"{where} did not answer within {waited:g} s.", "Is it overloaded, or hanging?")
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return bad_certificate(self.endpoint, _reason_of(error.certificate_error))
        if isinstance(error, aiohttp.ClientSSLError):
            return tls_fault(self.endpoint, str(error))
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return WrongAddress(
                f"{where} cannot be reached: the name {self.endpoint.host} is not known.",
                "Check the address.",
            )
        if isinstance(error, aiohttp.ClientConnectorError):
            number = error.os_error.errno or 0  # negative for names that cannot be resolved
            reason = os.strerror(number) if number > 0 else error.os_error.strerror or str(error.os_error)
            return Unreachable(f"{where} cannot be reached ({reason}).", "Is the server running there?")
        if isinstance(error, aiohttp.ClientPayloadError):
            return HalfBody(
                f"The answer of {where} stopped in the middle.", "The server or a proxy died; try again."
            )
        if isinstance(error, aiohttp.ClientResponseError):
            if self.endpoint.base_url.startswith("http:") and r"\x15\x03" in error.message:  # a TLS alert
                return wrong_scheme(self.endpoint)
            return not_http(self.endpoint)
        return disconnected(self.endpoint)


def request_body(
    model: str, messages: Messages, sampling: Sampling, seed: int, refused: Collection[str]
) -> dict[str, Any]:
    """The body of a chat request, without the optional fields that the server refuses."""
    body: dict[str, Any] = {"model": model, "messages": messages, **sampling.body(), "seed": seed}
    if "max_tokens" in refused:
        body[_LENGTH] = body.pop("max_tokens")
    if "seed" in refused:
        del body["seed"]
    return body


def refused_field(fault: BadRequest, body: Mapping[str, Any]) -> str | None:
    """The field of `body` that a refusal is about, if requests can do without it or under another name."""
    if fault.status not in (400, 422):
        return None
    if "max_tokens" in body and _LENGTH in fault.message:
        return "max_tokens"
    return next(
        (name for name in _OPTIONAL if name in body and re.search(rf"\b{name}\b", fault.message)), None
    )


def trusted(endpoint: Endpoint) -> ssl.SSLContext | bool:
    """How to check the server's certificate: the system's authorities and those in SSL_CERT_FILE.

    True (nothing is loaded, which takes 20 ms) where the address is plain http.
    """
    if not endpoint.base_url.startswith("https"):
        return True
    return _context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.lru_cache(maxsize=4)
def _context(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    return ssl.create_default_context()  # OpenSSL reads both variables


def tls_fault(endpoint: Endpoint, said: str) -> WrongAddress:
    """The fault of a connection on which TLS failed, by what OpenSSL said."""
    if re.search(r"certificate", said, re.IGNORECASE):
        return bad_certificate(endpoint, _reason_of(said))
    if re.search(
        r"WRONG_VERSION_NUMBER|wrong version number|record layer|UNKNOWN_PROTOCOL|HTTP_REQUEST", said
    ):
        return wrong_scheme(endpoint)
    return WrongAddress(
        f"{endpoint.name} ({endpoint.base_url}) ended the TLS handshake.", "Check the address and its port."
    )


def _reason_of(error: object) -> str:
    """OpenSSL's reason in words, such as "self-signed certificate"."""
    found = re.search(r"verify failed: ([^(\]]+)", str(error))
    return found[1].strip().rstrip(".") if found else "it does not name this host"


def _json(endpoint: Endpoint, data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        start = quote(endpoint, data, characters=80)
        raise BadAnswer(
            f"{endpoint.name} ({endpoint.base_url}) answered with something that is not JSON{start}.",
            "Is there a proxy in between?",
        ) from error


def _read_answer(endpoint: Endpoint, data: bytes, seconds: float, n: int) -> Answer:
    value = _json(endpoint, data)
    if isinstance(value, Mapping) and value.get("error"):  # some servers send errors with status 200
        error = value["error"]
        status = error.get("code") if isinstance(error, Mapping) else None
        if isinstance(status, int) and status >= 400:
            raise fault_from_status(endpoint, status, {}, data)
        raise ServerFailed(
            f"{endpoint.name} ({endpoint.base_url}) failed while answering{quote(endpoint, value)}.",
            "See the server's log.",
            None,
        )
    try:
        usage = value.get("usage") or {}
        choices = value["choices"]
        tokens = _count(usage.get("completion_tokens"))
        prompt_tokens = _count(usage.get("prompt_tokens"))
        messages = [read_message(choice["message"]) for choice in choices]
        counts, shared = _tokens(choices, messages, tokens)
        whole = list(zip(messages, choices, counts, _places(choices, n), strict=True))
        good = [one for one in whole if choice_error(one[1], one[0], one[2]) is None]
        completions = [
            Completion(
                *message, _word(choice.get("finish_reason")), prompt_tokens, count, seconds, index, shared
            )
            for message, choice, count, index in good
        ]
        if whole and not good:
            said = quote(endpoint, choice_error(choices[0], messages[0], counts[0]) or "")
            raise ServerFailed(
                f"{endpoint.name} ({endpoint.base_url}) failed while answering{said}.",
                "See the server's log.",
                None,
            )
    except (KeyError, TypeError, AttributeError) as error:
        raise BadAnswer(
            f"{endpoint.name} ({endpoint.base_url}) answered with JSON that is not a chat completion.",
            "Is this a chat API?",
        ) from error
    if not completions:
        raise BadAnswer(f"{endpoint.name} ({endpoint.base_url}) answered without a single choice.")
    return Answer(completions, tokens or 0)


def choice_error(
    choice: Mapping[str, Any], said: tuple[str | None, str | None], tokens: int | None
) -> str | None:
    """Why a choice is a failure of the server and no answer of the model; None if it is an answer.

    Providers behind a router put their error into the choice or call it the finish reason (HTTP 200); others
    send nothing at all and count 0 tokens. A filtered answer is an answer: it would be filtered again.
    """
    error = choice.get("error") or (choice.get("message") or {}).get("error")
    if error:
        return orjson.dumps({"error": error}).decode()
    if choice.get("finish_reason") == "error":
        return "finish_reason: error"
    if tokens == 0 and not any(said) and choice.get("finish_reason") != "content_filter":
        return "no text and 0 tokens"
    return None


def _places(choices: list[Mapping[str, Any]], n: int) -> list[int]:
    """Where each choice belongs: its `index` if that can be used, else its position."""
    said = [choice.get("index") for choice in choices]
    places = [place for place in said if isinstance(place, int) and 0 <= place < n]
    return places if n > 1 and len(set(places)) == len(choices) else list(range(len(choices)))


def _tokens(
    choices: Sequence[Mapping[str, Any]], said: Sequence[tuple[str | None, str | None]], total: int | None
) -> tuple[list[int | None], bool]:
    """Tokens of each choice: its own if it carries a count or its tokens, else (True) its share by length.

    Own ones must add up to the request's. Shares are whole and do (largest remainders).
    """
    own = [_own_tokens(choice) for choice in choices] if len(choices) > 1 else []
    if own and None not in own and total in (None, sum(count or 0 for count in own)):
        return own, False
    if total is None or len(choices) == 1:
        return [total] * len(choices), False
    lengths = [1 + sum(len(text or "") for text in texts) for texts in said]  # the end mark is a token too
    exact = [total * length / sum(lengths) for length in lengths]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: shares[place] - exact[place])
    for place in by_remainder[: total - sum(shares)]:
        shares[place] += 1
    return list(shares), True


def _own_tokens(choice: Mapping[str, Any]) -> int | None:
    """What a choice says of itself: `completion_tokens` (the lab's engine), `token_ids` (vLLM, if asked)."""
    count, tokens = choice.get("completion_tokens"), choice.get("token_ids")
    if (counted := _count(count)) is not None:
        return counted
    return len(tokens) if isinstance(tokens, list) else None


def _count(value: object) -> int | None:
    """A number of tokens, of servers that give one; a whole float too. What else they say is not known."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 << 31:
        return None
    return int(value)


def _word(value: object) -> str | None:
    return None if value is None else str(value)


def read_message(message: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Content and reasoning of a message or a delta, wherever a server puts them.

    Reasoning comes as `reasoning` (vLLM) or `reasoning_content` (others); content as text or as a list of
    text parts; a `refusal` is what the model said when there is no content.
    """
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content)
    if content is None:
        content = message.get("refusal")
    reasoning = message.get("reasoning")
    if reasoning is None:
        reasoning = message.get("reasoning_content")
    return (
        None if content is None else str(content),
        None if reasoning is None else str(reasoning),
    )


_METRIC = re.compile(
    r"^[a-z_]+:(num_requests_running|num_requests_waiting|kv_cache_usage_perc|gpu_cache_usage_perc)"
    r"(?:\{[^}]*\})?\s+([0-9.eE+-]+)",
    re.MULTILINE,
)


def read_load(text: str) -> Load | None:
    """Read vLLM's Prometheus text, adding up a server's engines (KV cache: the fullest); None if absent."""
    values: dict[str, list[float]] = {}
    for name, number in _METRIC.findall(text):
        values.setdefault(name, []).append(float(number))
    if "num_requests_running" not in values:
        return None
    cache = values.get("kv_cache_usage_perc") or values.get("gpu_cache_usage_perc")
    return Load(
        running=int(sum(values["num_requests_running"])),
        waiting=int(sum(values.get("num_requests_waiting", [0]))),
        kv_cache=max(cache) if cache else None,
    )
