"""What a server can do to a request, drawn as a tree. A fault's `kind` is kept with the prediction.

EndpointError
└── Fault
    ├── Unreachable     refused       no server listens there
    │   └── WrongAddress    refused   the name is unknown, TLS fails: waiting is no use
    ├── Disconnected    disconnected  the connection closed before any answer
    ├── TimedOut        timeout       no answer in time
    ├── ServerFailed    http_5xx      the server failed (http_500, http_502; failed: inside an answer)
    │   └── Overloaded  http_503      the server says that it has too much to do
    ├── RateLimited     rate_limited  429, with the wait that it asked for
    ├── QuotaSpent      quota         402, or a 429 that no waiting ends: the account has no credit
    ├── HalfBody        half_body     the answer stopped in the middle
    ├── BadAnswer       bad_json      an answer that is not what the chat API promises
    ├── BadRequest      bad_request   wrong model, audio refused, prompt too long: trying again is no use
    └── AuthRefused     auth          the key is missing or wrong

Knows HTTP statuses and bodies; knows neither aiohttp nor openai, which map their own exceptions to these.
"""

from __future__ import annotations

import email.utils
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote as quote_url
from urllib.parse import quote_plus

from audioreason.errors import EndpointError
from audioreason.inference.endpoint import Endpoint

_QUOTED_CHARACTERS = 300
_READ_CHARACTERS = 10_000  # of a text that is quoted, before its spaces are made one
_LONGEST_WAIT = 120.0  # seconds: a server that asks for an hour is asked again after two minutes

# what servers write; each was seen in a public report
_NO_CREDIT = re.compile(
    r"insufficient[_ ](quota|balance|credits?|funds)|credit balance is too low"
    r"|billing[_ ](hard[_ ]limit|not[_ ]active)"
    r"|(balance|credits?|funds) (is |are )?(insufficient|exhausted|used up)|arrear",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context[_ ](length|window|size)|max_model_len|maximum (model|input|sequence) length"
    r"|(prompt|input|request)\b.{0,40}\btoo long|too many (input )?tokens|reduce the length",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(
    r"(request|payload|body)( \w+){0,3} (too large|exceeds)|(payload|entity) too large", re.IGNORECASE
)
_NOT_ALLOWED = re.compile(r"allowed[-_ ](local[-_ ])?media|may read|local files", re.IGNORECASE)
_WANTS_TLS = re.compile(
    r"plain HTTP request was sent to (an )?HTTPS port|HTTP request to an HTTPS server", re.I
)


class Fault(EndpointError):
    """An endpoint did not answer a request; `kind` says in one word what happened.

    `retry` says whether the same request may succeed later, `slow_down` whether the server had too much
    to do, and `retry_after` how many seconds it asked us to wait.
    """

    kind: str = "fault"
    retry: ClassVar[bool] = True
    slow_down: ClassVar[bool] = False

    def __init__(
        self, message: str, hint: str = "", status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint, status)
        self.retry_after = retry_after


class Unreachable(Fault):
    """No connection could be made."""

    kind = "refused"


class WrongAddress(Unreachable):
    """No connection could be made, and none will be: the name is unknown, or TLS fails."""


class Disconnected(Fault):
    """The connection closed before any part of an answer came."""

    kind = "disconnected"


class TimedOut(Fault):
    """No answer, or no further part of one, came in time."""

    kind = "timeout"
    slow_down = True


class ServerFailed(Fault):
    """HTTP 5xx: something broke in the server; without a status, the answer itself said so."""

    def __init__(
        self, message: str, hint: str = "", status: int | None = 500, retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint, status, retry_after)
        self.kind = f"http_{status}" if status else "failed"


class Overloaded(ServerFailed):
    """HTTP 503 or 529: the server has too much to do, or is still starting."""

    slow_down = True


class RateLimited(Fault):
    """HTTP 429: too many requests."""

    kind = "rate_limited"
    slow_down = True


class QuotaSpent(Fault):
    """The account behind the key has no credit left; no request will be answered."""

    kind = "quota"
    retry = False


class HalfBody(Fault):
    """The answer stopped in the middle."""

    kind = "half_body"


class BadAnswer(Fault):
    """The answer is not JSON, or not a chat completion."""

    kind = "bad_json"


class BadRequest(Fault):
    """The server understood the request and refuses it; sending it again is no use."""

    kind = "bad_request"
    retry = False


class AuthRefused(Fault):
    """HTTP 401 or 403."""

    kind = "auth"
    retry = False


@dataclass(frozen=True)
class Retries:
    """When to try again, and when to stop.

    A fault is tried `attempts` times in all (a timeout twice at most), waiting a random time between 0 and
    `base` * 2**k, at most `cap`, seconds ("full jitter", Brooker 2015). A server that says it is too busy is
    asked again as long as it answers other requests, and for `patience` seconds after that (`server_wait`
    after a 503). A server that is not there, or whose health check fails, is waited for `server_wait`
    seconds, and nothing is sent meanwhile. If the first `refusals` requests fail for good and none is
    answered, no other is sent. After a stop, requests in flight get `grace` seconds to finish.
    """

    attempts: int = 5
    base: float = 0.5
    cap: float = 30.0
    patience: float = 180.0
    server_wait: float = 60.0
    refusals: int = 8
    grace: float = 2.0


def fault_from_status(
    endpoint: Endpoint, status: int, headers: Mapping[str, str], body: bytes, clips: Path | None = None
) -> Fault:
    """The fault that an HTTP error status stands for, quoting what the server said.

    `clips` is the folder whose files the request named, for the sentence about one that may not be read.
    """
    said = quote(endpoint, body)
    where = f"{endpoint.name} ({endpoint.base_url})"
    wait = retry_after(headers)
    if status == 402 or (status in (400, 403, 429) and _NO_CREDIT.search(body.decode("utf-8", "replace"))):
        return QuotaSpent(
            f"{where} has no credit left for this key (HTTP {status}){said}.",
            "Add credit to the account, or use another key.",
            status,
        )
    if status == 429:
        return RateLimited(
            f"{where} takes no more requests just now{said}.", "Wait, or lower the concurrency.", 429, wait
        )
    if status in (503, 529):
        hint = "It may still be starting; wait, or lower the concurrency."
        return Overloaded(f"{where} is too busy to answer (HTTP {status}){said}.", hint, status, wait)
    if status >= 500:
        return ServerFailed(f"{where} failed (HTTP {status}){said}.", "See the server's log.", status, wait)
    if status in (401, 403):
        hint = (
            f"Check the key in {endpoint.api_key_env}."
            if endpoint.api_key_env
            else "Save the address with its key: audioreason endpoints add NAME URL --key-env VARIABLE."
        )
        return AuthRefused(f"{where} refused the key (HTTP {status}){said}.", hint, status)
    if status in (408, 504):
        return TimedOut(
            f"{where} gave up waiting (HTTP {status}){said}.", "Lower the concurrency.", status, wait
        )
    if 300 <= status < 400:
        target = without_key(endpoint, headers.get("Location", "another address"))
        return BadRequest(
            f"{where} has moved to {target}; audio does not follow by itself.", "Change the URL.", status
        )
    if status == 404:
        model = f"the model {endpoint.model}" if endpoint.model else "a chat API"
        hint = "Check the model's name and the URL with `audioreason doctor`."
        return BadRequest(f"{where} does not have {model} (HTTP 404){said}.", hint, status)
    if status == 413 or (status == 400 and _TOO_LARGE.search(said)):
        return BadRequest(
            f"{where} refused the request as too large (HTTP {status}){said}.",
            "Raise the limit of the proxy in front of it (nginx: client_max_body_size), send shorter clips,"
            " or run the server where it can read the clips from disk (--allowed-local-media-path).",
            status,
        )
    if status == 400 and _WANTS_TLS.search(body.decode("utf-8", "replace")):
        return wrong_scheme(endpoint)
    if _TOO_LONG.search(said):
        hint = "Lower --max-tokens (longest answer), or start the server with a larger --max-model-len."
    elif refuses_file(said):
        hint = (
            f"Start the server with --allowed-local-media-path {clips}."
            if clips
            else "Start the server so that it may read the folder of the clips."
        )
    else:
        hint = "Check that the model hears audio, and the request's fields against what the server said."
    return BadRequest(f"{where} refused the request (HTTP {status}){said}.", hint, status)


def refuses_file(said: str) -> bool:
    """Whether an error text says that the server may not read a clip by its `file://` URL."""
    return _NOT_ALLOWED.search(said) is not None


def disconnected(endpoint: Endpoint) -> Disconnected:
    """The fault of a connection that closed before an answer; a server that wants TLS does that too."""
    https = " If the server expects https, change the URL." if endpoint.base_url.startswith("http:") else ""
    return Disconnected(
        f"{endpoint.name} ({endpoint.base_url}) closed the connection without an answer.",
        f"See the server's log: it may have crashed.{https}",
    )


def not_http(endpoint: Endpoint) -> BadAnswer:
    """The fault of an answer in some other protocol."""
    https = " Does it speak https?" if endpoint.base_url.startswith("http:") else ""
    return BadAnswer(
        f"{endpoint.name} ({endpoint.base_url}) did not answer in HTTP.",
        f"Check the address and its port.{https}",
    )


def wrong_scheme(endpoint: Endpoint) -> WrongAddress:
    """The fault of an address that says https where the server speaks http, or the reverse."""
    given, spoken = ("https", "http") if endpoint.base_url.startswith("https") else ("http", "https")
    url = endpoint.base_url.replace(f"{given}://", f"{spoken}://", 1)
    return WrongAddress(
        f"{endpoint.name} ({endpoint.base_url}) speaks {spoken}, not {given}.", f"Write the address as {url}."
    )


def bad_certificate(endpoint: Endpoint, reason: str) -> WrongAddress:
    """The fault of a certificate that is not trusted, with how to trust one's own."""
    file = os.environ.get("SSL_CERT_FILE")
    if file and not Path(file).is_file():
        hint = f"SSL_CERT_FILE is {file}, and there is no such file."
    else:
        hint = (
            "To trust a certificate of your own, export SSL_CERT_FILE with the path of its PEM file; it must"
            f" name the host {endpoint.host}."
        )
    return WrongAddress(
        f"The certificate of {endpoint.name} ({endpoint.base_url}) is not trusted ({reason}).", hint
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for (number or HTTP date, RFC 9110 section 10.2.3), at most 120."""
    value = headers.get("Retry-After") or headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        moment = email.utils.parsedate_tz(value)
        if moment is None:
            return None
        seconds = email.utils.mktime_tz(moment) - time.time()
    if seconds != seconds:  # "nan" is a float to Python
        return None
    return min(max(0.0, seconds), _LONGEST_WAIT)


def without_key(endpoint: Endpoint, text: str) -> str:
    """`text` with the endpoint's key replaced, as it is and as a URL writes it; to be done before any cut."""
    key = endpoint.api_key()
    if key:
        for form in {key, quote_url(key), quote_url(key, safe=""), quote_plus(key)}:
            text = text.replace(form, "***")
    return text


def quote(
    endpoint: Endpoint, body: bytes | str | Mapping[str, Any], characters: int = _QUOTED_CHARACTERS
) -> str:
    """`: "what the server said"`, shortened, on one line and without our key; empty if it said nothing."""
    text = " ".join(without_key(endpoint, _said(body))[:_READ_CHARACTERS].split())
    if len(text) > characters:
        text = text[:characters] + " ..."
    text = text.rstrip(".")
    return f': "{text}"' if text else ""


def _said(body: bytes | str | Mapping[str, Any]) -> str:
    """What an error body says: OpenAI's `error.message`, vLLM's `message`, FastAPI's `detail`, or text."""
    value: Any = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return (
                "" if value.lstrip().startswith("<") else value
            )  # a proxy's HTML page says nothing to people
    return _sentence(value)


def _sentence(value: Any) -> str:
    """The text in an error of any JSON shape: an object, a list of them (Google, FastAPI), or a string."""
    if isinstance(value, list):
        return "; ".join(filter(None, map(_sentence, value[:3])))
    if not isinstance(value, Mapping):
        return str(value) if isinstance(value, str) else ""
    for name in ("error", "errors", "message", "detail", "msg"):
        if value.get(name) and (text := _sentence(value[name])):
            where = value.get("loc")  # FastAPI names the field there
            return f"{'.'.join(map(str, where))}: {text}" if isinstance(where, list) else text
    return ""
