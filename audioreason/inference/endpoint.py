"""What an endpoint is (base URL + model + audio transport), how it samples, and where endpoints are stored.

A key is never part of an endpoint: `api_key_env` names the variable that holds it, `api_key_file` the file of
a server that the lab started. Knows nothing about requests: `client` and `stream` send them.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import secrets
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from audioreason.errors import EndpointError, WorkspaceError
from audioreason.workspace import ENGINE_KEY_VARIABLE, FileLock, Workspace, write_atomic

Transport = Literal["auto", "file", "input_audio"]

_STORE = "endpoints.json"
_LOCK_SECONDS = 5.0
_BLANK = " \t\r\n\v\f\u00a0\u200b\ufeff"
_QUOTES = ('""', "''", "``", "\u201c\u201d", "\u2018\u2019", "\u201e\u201c", "\u201c\u201c", "\u201d\u201d")

# Credentials of other services. They are sent to an endpoint only if they were named on the command line.
_PROTECTED = re.compile(
    r"(HF|HUGGING_?FACE(_HUB)?|AWS|AMAZON|GOOGLE|GCP|GCLOUD|CLOUDSDK|AZURE|OCI|GITHUB|GH|GITLAB|CI_JOB|SSH|KUBE|DOCKER"
    r"|NPM|PYPI|TWINE|KAGGLE|WANDB)_\w*|AUDIOREASON_TOKEN",
    re.IGNORECASE,
)


class Endpoint(BaseModel):
    """A server that speaks the OpenAI chat API, and the model we ask there.

    `base_url` is normalised: `127.0.0.1:8000` becomes `http://127.0.0.1:8000/v1`. An empty `model` means
    the first one that the server lists. `transport` is how clips travel: `file` when server and lab share
    a disk, `input_audio` (base64 in the request) otherwise, `auto` to find out once by asking. `job` is the
    job that serves it: a saved endpoint is forgotten when that job's worker is gone. `refused_fields` are
    optional request fields that the server was found to refuse; they are left out (`max_tokens` is sent
    under its newer name).

    `key_for` is the variable and the address that were confirmed together. It is set when an endpoint is
    made. An endpoint that was read from `endpoints.json` without it, or has another variable or `base_url` by
    now, sends no key until `confirm_key` is called; a protected variable (see `is_protected`) is never sent
    without that.

    Raises:
        EndpointError: if the URL or the name of the key's variable cannot be used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(min_length=1)
    base_url: str
    model: str = ""
    transport: Transport = "auto"
    api_key_env: str | None = None
    key_for: str | None = None
    api_key_file: Path | None = None
    job: str = ""
    refused_fields: tuple[str, ...] = ()
    # address and key of a child process; never written anywhere
    _key: tuple[str, str] | None = PrivateAttr(default=None)

    @field_validator("base_url")
    @classmethod
    def _normalise(cls, value: str) -> str:
        return normalise_url(value)

    @field_validator("api_key_env")
    @classmethod
    def _name_of_variable(cls, value: str | None) -> str | None:
        if value and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
            # the value is not repeated: somebody may have pasted the key itself
            raise EndpointError(
                "The key must be given as the name of an environment variable, not as the key itself.",
                "Export it, for example as MY_SERVER_KEY, and write MY_SERVER_KEY here.",
            )
        return value or None

    @model_validator(mode="after")
    def _bind_key(self) -> Endpoint:
        if self.api_key_env and self.key_for is None and not is_protected(self.api_key_env):
            self.__dict__["key_for"] = self._binding
        return self

    @property
    def _binding(self) -> str:
        return f"{self.api_key_env} {self.base_url}"

    @property
    def host(self) -> str:
        """The host of the URL, without port or brackets."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def local(self) -> bool:
        """Whether the server is on this machine, so that audio sent to it does not leave it."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        return address.is_loopback or address.is_unspecified

    @property
    def root_url(self) -> str:
        """The server's address without `/v1`, where `/health` and `/metrics` are."""
        return self.base_url.removesuffix("/v1")

    @property
    def key_confirmed(self) -> bool:
        """Whether the key, if there is one, may be sent to the present address."""
        if self.api_key_env is None:
            return True
        if self.key_for is None:  # named in code, after the endpoint was made
            return not is_protected(self.api_key_env)
        return self.key_for == self._binding

    def api_key(self) -> str | None:
        """The key from its file, the environment or `.streamlit/secrets.toml`; None if none is needed.

        Spaces, line ends and a pair of quotes around it are taken off: they come from copying.

        Raises:
            EndpointError: if a variable is named but is set nowhere, was not confirmed for this address, or
                holds what no header can carry; or if the key's file cannot be read.
        """
        if self._key is not None and self._key[0] == self.base_url:
            return self._key[1]
        if self.api_key_file is not None and self.local:
            return _from_key_file(self)
        if self.api_key_env is None:
            return None
        if not self.key_confirmed:
            raise EndpointError(
                f"The key in {self.api_key_env} was not sent: it has not been confirmed for {self.base_url}.",
                f"If it belongs there: audioreason endpoints confirm {self.name} {self.api_key_env}",
            )
        value = (os.environ.get(self.api_key_env) or _from_secrets_file(self.api_key_env) or "").strip(_BLANK)
        if len(value) > 1 and value[0] + value[-1] in _QUOTES:
            value = value[1:-1].strip(_BLANK)
        if value and not re.fullmatch(r"[!-~]+", value):
            raise EndpointError(
                f"The key in {self.api_key_env} holds a space, a line end or a letter that is not ASCII.",
                "Set it again, with nothing but the key.",
            )
        if not value:
            raise EndpointError(
                f"The endpoint {self.name} needs a key, and the variable {self.api_key_env} is not set.",
                f"Export {self.api_key_env}, or write it into .streamlit/secrets.toml.",
            )
        return value

    def confirm_key(self) -> Endpoint:
        """The same endpoint, whose key may be sent to its present address."""
        return self.model_copy(update={"key_for": self._binding})

    def with_key(self, key: str) -> Endpoint:
        """The same endpoint with a key that is held in memory only."""
        copy = self.model_copy()
        copy._key = (self.base_url, key)
        return copy

    def describe(self) -> str:
        """One phrase for people: the model and where it is."""
        place = "on this machine" if self.local else f"at {self.host}, not on this machine"
        return f"{self.model or 'the first model'} {place} ({self.base_url})"


def is_protected(variable: str) -> bool:
    """Whether a variable's name is that of a credential of another service, such as HF_TOKEN or AWS_*."""
    return _PROTECTED.fullmatch(variable) is not None


class Sampling(BaseModel):
    """How predictions are drawn; None leaves a choice to the server. `samples` are predictions per item.

    `stop` are texts at which an answer ends; the answer is without them. `no_repeat_ngram_size` is sent to
    servers that take it (vLLM ignores it, the lab's engine refuses it). `per_request` is how many of an
    item's samples one request asks for. It is part of the recipe, because it decides the seeds (see `seeds`).
    These three are not written where they are unset, so that records are as they were before them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.1, ge=0, le=10)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    no_repeat_ngram_size: int | None = Field(default=None, ge=1)
    stop: tuple[Annotated[str, Field(min_length=1)], ...] | None = None
    max_tokens: int = Field(default=10_000, ge=1)
    samples: int = Field(default=1, ge=1)
    per_request: int = Field(default=1, ge=1, le=128)

    @field_validator("stop")
    @classmethod
    def _some_or_unset(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return value or None

    @model_serializer(mode="wrap")
    def _without_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        for name, unset in (("per_request", 1), ("stop", None), ("no_repeat_ngram_size", None)):
            if name in written and written[name] == unset:
                del written[name]
        return written

    def fitted(self) -> Sampling:
        """With no more a request than can be asked for: what an item has, and one where answers are greedy.

        Greedy answers would be the same, and vLLM refuses several at temperature 0.
        """
        most = self.samples if self.temperature > 0 else 1
        return self.model_copy(update={"per_request": most}) if self.per_request > most else self

    @property
    def requests(self) -> int:
        """Requests for each item."""
        return -(-self.samples // self.fitted().per_request)

    def body(self) -> dict[str, Any]:
        """The request's sampling fields. vLLM reads top_k, min_p and repetition_penalty at the top level.

        A literal "extra_body" key would be ignored without a word (FACTS, vLLM), so there is none.
        """
        return self.model_dump(exclude={"samples", "per_request"}, exclude_none=True)


def normalise_url(value: str) -> str:
    """A base URL that ends in `/v1` (or the service's own path), with scheme and without a trailing slash.

    Raises:
        EndpointError: if it is not http(s), has no host, or carries a password or a query.
    """
    text = value.strip()
    if "://" not in text:
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or not _is_host(host, "[" in parts.netloc) or parts.scheme not in ("http", "https"):
        raise EndpointError(
            "The endpoint's address is not an http or https URL.", "Write it like http://127.0.0.1:8000/v1."
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise EndpointError(
            f"The address of the endpoint at {host} carries a user, password or query.",
            "Give the plain URL, and a key through the name of an environment variable.",
        )
    path = parts.path.rstrip("/").removesuffix("/chat/completions").removesuffix("/completions")
    return urlunsplit((parts.scheme, parts.netloc.lower(), path or "/v1", "", ""))


def _is_host(host: str, bracketed: bool) -> bool:
    """Whether it is an IP address or a name as in RFC 1123 (underscores too: container names have them)."""
    try:
        if bracketed:
            ipaddress.IPv6Address(host)
            return True
        # a label that is empty or too long would fail much later
        labels = host.encode("idna").decode("ascii").removesuffix(".").split(".")
    except ValueError:
        return False
    return all(re.fullmatch(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", label, re.IGNORECASE) for label in labels)


class _Store(BaseModel):
    """`endpoints.json` in the workspace."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    default: str | None = None
    endpoints: tuple[Endpoint, ...] = ()

    @field_validator("endpoints", mode="before")
    @classmethod
    def _written_without_a_binding(cls, value: object) -> object:
        """A key for which no `key_for` was written is not confirmed."""
        if not isinstance(value, list):
            return value
        return [
            {**one, "key_for": one.get("key_for") or ""}
            if isinstance(one, dict) and one.get("api_key_env")
            else one
            for one in value
        ]


def load_endpoints(workspace: Workspace) -> tuple[Endpoint, ...]:
    """The endpoints saved in this workspace, in the order they were added.

    Raises:
        WorkspaceError: if `endpoints.json` cannot be read.
    """
    return _read(workspace).endpoints


def default_endpoint(workspace: Workspace) -> Endpoint | None:
    """The endpoint used where none is named; None if none is chosen.

    Raises:
        WorkspaceError: if `endpoints.json` cannot be read.
    """
    store = _read(workspace)
    return next((endpoint for endpoint in store.endpoints if endpoint.name == store.default), None)


def save_endpoint(workspace: Workspace, endpoint: Endpoint, default: bool | None = None) -> None:
    """Add an endpoint, or replace the one of the same name.

    `default` makes it the default (True) or leaves the default alone (False); None makes it the default if
    there is none yet.

    Raises:
        WorkspaceError: if the store cannot be read or written.
    """

    if endpoint.api_key_env and endpoint.key_for is None and endpoint.key_confirmed:
        endpoint = endpoint.confirm_key()

    def change(store: _Store) -> _Store:
        names = [other.name for other in store.endpoints]
        if endpoint.name in names:
            endpoints = tuple(endpoint if other.name == endpoint.name else other for other in store.endpoints)
        else:
            endpoints = (*store.endpoints, endpoint)
        choose = default if default is not None else store.default is None
        return _Store(default=endpoint.name if choose else store.default, endpoints=endpoints)

    _change(workspace, change)


def choose_endpoint(workspace: Workspace, name: str | None) -> None:
    """Make the endpoint called `name` the default; None means no default.

    Raises:
        EndpointError: if there is no endpoint of that name.
        WorkspaceError: if the store cannot be read or written.
    """

    def change(store: _Store) -> _Store:
        if name is not None and name not in {endpoint.name for endpoint in store.endpoints}:
            raise EndpointError(f"There is no endpoint named {name}.", "Add it first.")
        return _Store(default=name, endpoints=store.endpoints)

    _change(workspace, change)


def remove_endpoint(workspace: Workspace, name: str) -> None:
    """Forget an endpoint; nothing happens if there is none of that name.

    Raises:
        WorkspaceError: if the store cannot be read or written.
    """

    def change(store: _Store) -> _Store:
        return _Store(
            default=None if store.default == name else store.default,
            endpoints=tuple(endpoint for endpoint in store.endpoints if endpoint.name != name),
        )

    _change(workspace, change)


def _read(workspace: Workspace) -> _Store:
    path = workspace.root / _STORE
    try:
        store = _Store.model_validate_json(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except FileNotFoundError:
        return _Store()
    except (OSError, ValidationError, EndpointError) as error:
        raise WorkspaceError(
            f"{path} cannot be read: {_reason(error)}.",
            "Correct it by hand, or move it away and add the endpoints again.",
        ) from error
    # a worker that was killed could not take its endpoint off the list; its lock shows that it is gone
    served = [e for e in store.endpoints if not e.job or FileLock.held(workspace.jobs / e.job / "lock")]
    default = store.default if any(e.name == store.default for e in served) else None
    return store.model_copy(update={"endpoints": tuple(served), "default": default})


def _reason(error: Exception) -> str:
    """Why a settings file cannot be read: the place and what is wrong there."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        message = str(first["msg"]).removeprefix("Value error, ").removeprefix("Invalid JSON: ")
        if first["type"] == "extra_forbidden":
            message = "there is no such field"
        return ": ".join(part for part in (".".join(map(str, first["loc"])), message) if part).rstrip(".")
    return str(getattr(error, "strerror", None) or error).rstrip(".")


def _change(workspace: Workspace, change: Callable[[_Store], _Store]) -> None:
    lock = FileLock(workspace.root / f".{_STORE}.lock")
    deadline = time.monotonic() + _LOCK_SECONDS
    while not lock.acquire():
        if time.monotonic() > deadline:
            raise WorkspaceError(
                f"{workspace.root / _STORE} is being written by another process.", "Try again."
            )
        time.sleep(0.02)
    try:
        store = change(_read(workspace))
        write_atomic(workspace.root / _STORE, json.dumps(store.model_dump(mode="json"), indent=2) + "\n")
    finally:
        lock.release()


def server_key(workspace: Workspace, name: str) -> Path:
    """The file (0600) with the random key of a server that the lab starts, written if it is not there.

    Raises:
        WorkspaceError: if it cannot be written.
    """
    path = workspace.keys / name
    if not path.is_file():
        write_atomic(path.with_name(".gitignore"), "*\n")  # a workspace may be committed, its keys not
        write_atomic(path, secrets.token_urlsafe(32))
    return path


def key_environment(key: str) -> dict[str, str]:
    """The variables that give the lab's engine and vLLM their key; others could see it on a command line."""
    return {ENGINE_KEY_VARIABLE: key, "VLLM_API_KEY": key}


def _from_key_file(endpoint: Endpoint) -> str:
    assert endpoint.api_key_file is not None
    try:
        return endpoint.api_key_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise EndpointError(
            f"The key of the endpoint {endpoint.name} cannot be read: {endpoint.api_key_file}"
            f" ({error.strerror or error}).",
            "Start its server again; it writes a new one.",
        ) from error


def _from_secrets_file(name: str) -> str | None:
    """A top-level value of the secrets file that Streamlit reads: the current folder's, else the user's."""
    for folder in (Path.cwd(), Path.home()):
        path = folder / ".streamlit" / "secrets.toml"
        if path.is_file():
            try:
                value = tomllib.loads(path.read_text(encoding="utf-8-sig")).get(name)
            except (OSError, ValueError) as error:
                raise EndpointError(f"{path} cannot be read: {_reason(error)}.", "Correct it.") from error
            if isinstance(value, str):
                return value
    return None
