"""What a server can do to a request, drawn as a tree. A fault's `kind` is kept with the prediction.

EndpointError
└── Fault
    ├── Unreachable     refused       nobody listens there, the name is unknown, TLS fails
    ├── Disconnected    disconnected  the connection closed before any answer
    ├── TimedOut        timeout       no answer in time
    ├── ServerFailed    http_5xx      the server failed (http_500, http_502; failed: inside an answer)
    │   └── Overloaded  http_503      the server says that it has too much to do
    ├── RateLimited     rate_limited  429, with the wait that it asked for
    ├── HalfBody        half_body     the answer stopped in the middle
    ├── BadAnswer       bad_json      an answer that is not what the chat API promises
    ├── BadRequest      bad_request   wrong model, audio refused, prompt too long: trying again is no use
    └── AuthRefused     auth          the key is missing or wrong

Knows HTTP statuses and bodies; knows neither aiohttp nor openai, which map their own exceptions to these.
"""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote as quote_url
from urllib.parse import quote_plus

from audioreason.errors import EndpointError
from audioreason.inference.endpoint import Endpoint

_QUOTED_CHARACTERS = 300
_READ_CHARACTERS = 10_000  # of a text that is quoted, before its spaces are made one
_LONGEST_WAIT = 120.0  # seconds: a server that asks for an hour is asked again after two minutes


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


def fault_from_status(endpoint: Endpoint, status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """The fault that an HTTP error status stands for, quoting what the server said."""
    said = quote(endpoint, body)
    where = f"{endpoint.name} ({endpoint.base_url})"
    wait = retry_after(headers)
    if status == 429:
        return RateLimited(
            f"{where} takes no more requests just now{said}.", "Wait, or lower the concurrency.", 429, wait
        )
    if status in (503, 529):
        hint = "It may still be starting; wait, or lower the concurrency."
        return Overloaded(f"{where} is too busy to answer (HTTP {status}){said}.", hint, status, wait)
    if status >= 500:
        return ServerFailed(f"{where} failed (HTTP {status}){said}.", "Its own log says why.", status, wait)
    if status in (401, 403):
        hint = (
            f"Check the key in {endpoint.api_key_env}."
            if endpoint.api_key_env
            else "It needs a key: name its variable."
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
    hint = "Check that the model hears audio, that the clip's folder is allowed, and the prompt's length."
    return BadRequest(f"{where} refused the request (HTTP {status}){said}.", hint, status)


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
    if isinstance(value, Mapping):
        inner = value.get("error", value)
        if isinstance(inner, Mapping):
            inner = inner.get("message") or inner.get("detail") or ""
        return str(inner)
    return ""
