"""The OpenAI chat API as data: a request checked and turned into the engine's terms, and answers put into
its form.

Knows nothing about sockets; `server` carries these over HTTP.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audioreason.engines import media
from audioreason.engines.samples import Request
from audioreason.engines.sampling import Draw, Picked
from audioreason.engines.tokens import Turn
from audioreason.errors import EngineError

MAX_CLIPS = 8
MAX_CHARACTERS = 1_000_000  # of all texts of a request; far more than any model here reads
MAX_STOPS, MAX_STOP = 16, 256  # stop strings, and characters of one: each is looked for at every token
_SEEDS = 2**63
ReasoningParser = Literal["qwen3"]

_RANGE_ERRORS = {  # as pydantic calls them
    "greater_than", "greater_than_equal", "less_than", "less_than_equal", "too_long", "string_too_long",
    "int_parsing_size",
}  # fmt: skip
_NOT_BUILT = (
    "tools", "functions", "response_format", "logit_bias", "frequency_penalty", "presence_penalty",
    "no_repeat_ngram_size",
)  # fmt: skip


class FieldError(EngineError):
    """A field of a request has a value out of its range."""


class _Part(BaseModel):
    """One part of a message's content."""

    model_config = ConfigDict(extra="ignore")

    type: str
    text: str | None = None
    audio_url: dict[str, Any] | str | None = None
    input_audio: dict[str, Any] | None = None


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part] | None = None


_Stop = Annotated[str, Field(max_length=MAX_STOP)]


class ChatBody(BaseModel):
    """The body of POST /v1/chat/completions; sampling extras stand at the top level, as in vLLM."""

    model_config = ConfigDict(extra="ignore")

    messages: list[_Message] = Field(min_length=1)
    model: str | None = None
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    n: int = Field(default=1, ge=1, le=128)
    seed: int | None = Field(default=None, ge=-_SEEDS, lt=_SEEDS)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=10)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, ge=0.01, le=10)  # smaller: products overflow
    stop: _Stop | Annotated[list[_Stop], Field(max_length=MAX_STOPS)] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)


@dataclass(frozen=True)
class Defaults:
    """What a request gets where it says nothing: the folder's `generation_config.json`, as vLLM does."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    @classmethod
    def load(cls, folder: Path) -> Defaults:
        """The defaults of a model folder.

        Raises:
            EngineError: if its generation_config.json cannot be read.
        """
        path = folder / "generation_config.json"
        if not path.is_file():
            return cls()
        try:
            found = json.loads(path.read_text())
            known = {name: found[name] for name in cls.__dataclass_fields__ if found.get(name) is not None}
        except (OSError, ValueError, AttributeError) as error:
            raise EngineError(f"{path} cannot be read ({error}).", "Copy the folder again.") from error
        return cls(**known)


def parse_body(raw: bytes) -> ChatBody:
    """The request in a body.

    Raises:
        FieldError: if a value is out of its range; one sentence that names the field.
        EngineError: if the body is of another form.
    """
    try:
        data = orjson.loads(raw)  # refuses what is nested too deeply, and half a surrogate pair
    except ValueError as error:
        raise EngineError(f"The body is not valid JSON ({error}).") from error
    if not isinstance(data, dict):
        raise EngineError("The body must be a JSON object.")
    if "extra_body" in data:
        raise EngineError(
            "The body has a key extra_body, which would be ignored.",
            "Put its contents (top_k, repetition_penalty ...) at the top level.",
        )
    asked = next(
        (name for name in _NOT_BUILT if data.get(name) not in (None, 0, [], {}, {"type": "text"})), None
    )
    if asked is not None:
        raise EngineError(f"This engine does not know {asked}.", "Leave it out, or ask vLLM.")
    try:
        return ChatBody.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        outside = [each for each in found if each["type"] in _RANGE_ERRORS]
        first = (outside or found)[0]
        parts = [str(part) for part in first["loc"]]
        place = ".".join(p for p in parts if p != "constrained-str" and not p.startswith("list["))
        kind = FieldError if outside else EngineError
        said = "the number is too large" if first["type"] == "int_parsing_size" else first["msg"]
        raise kind(f"The field {place} cannot be used: {said}.") from error


def to_request(body: ChatBody, defaults: Defaults, allowed: Sequence[Path]) -> Request:
    """The engine's request: turns, decoded clips, settings. Reads files and decodes sound, so it takes a
    while.

    Raises:
        EngineError: if a part cannot be used.
    """
    turns = []
    clips: list[NDArray[np.float32]] = []
    characters = sum(len(text) for message in body.messages for text in _texts(message))
    if characters > MAX_CHARACTERS:
        raise FieldError(
            f"The messages have {characters:,} characters; the limit is {MAX_CHARACTERS:,}.", "Shorten them."
        )
    for message in body.messages:
        role = "system" if message.role == "developer" else message.role
        parts: list[str | None] = []
        content = (
            [_Part(type="text", text=message.content)]
            if isinstance(message.content, str)
            else message.content
        )
        for part in content or []:
            if part.type == "text":
                parts.append(part.text or "")
                continue
            if len(clips) == MAX_CLIPS:
                raise EngineError(f"A request may carry at most {MAX_CLIPS} clips.")
            clips.append(_clip(part, allowed))
            parts.append(None)
        turns.append(Turn(role, tuple(parts)))
    return Request(tuple(turns), tuple(clips), _draw(body, defaults), body.n)


def _texts(message: _Message) -> list[str]:
    if not isinstance(message.content, list):
        return [message.content or ""]
    return [part.text or "" for part in message.content if part.type == "text"]


def _clip(part: _Part, allowed: Sequence[Path]) -> NDArray[np.float32]:
    if part.type == "audio_url":
        url = part.audio_url.get("url") if isinstance(part.audio_url, dict) else part.audio_url
        if not isinstance(url, str):
            raise EngineError("An audio_url part needs audio_url.url.")
        return media.from_url(url, allowed)
    if part.type == "input_audio":
        data = (part.input_audio or {}).get("data")
        if not isinstance(data, str):
            raise EngineError("An input_audio part needs input_audio.data, in base64.")
        return media.from_base64(data)
    raise EngineError(f"This engine hears and reads; it cannot use a part of type {part.type}.")


def _draw(body: ChatBody, defaults: Defaults) -> Draw:
    def given(value: Any, default: Any) -> Any:
        return default if value is None else value

    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return Draw(
        temperature=given(body.temperature, defaults.temperature),
        top_p=given(body.top_p, defaults.top_p),
        top_k=given(body.top_k, defaults.top_k),
        min_p=given(body.min_p, defaults.min_p),
        repetition_penalty=given(body.repetition_penalty, defaults.repetition_penalty),
        max_tokens=given(body.max_completion_tokens, given(body.max_tokens, 1 << 30)),
        seed=body.seed,
        stop=tuple(text for text in stop if text),
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
    )


class ReasoningSplit:
    """Parts one sample's text into thoughts and answer as it arrives.

    A text that begins with `<think>` is reasoning up to `</think>`, all of it if that never comes; any
    other text is the answer. Without a parser everything is the answer.
    """

    def __init__(self, parser: ReasoningParser | None) -> None:
        self._state = "start" if parser else "answer"
        self._held = ""

    def feed(self, text: str, final: bool = False) -> tuple[str, str]:
        """Reasoning and answer that `text` adds; what may still be a tag is held back until `final`."""
        text, self._held = self._held + text, ""
        reasoning = ""
        if self._state == "start":
            begun = text.lstrip()
            if begun.startswith("<think>"):
                self._state, text = "opening", begun[len("<think>") :]
            elif "<think>".startswith(begun) and not final:
                self._held = text
                return "", ""
            else:
                self._state = "answer"
        if self._state == "opening":
            text = text.lstrip("\n")
            self._state = "reasoning" if text else "opening"
        if self._state == "reasoning":
            thoughts, tag, rest = text.partition("</think>")
            if not tag:
                held = 0 if final else _maybe_closing(thoughts)
                self._held = thoughts[len(thoughts) - held :]
                return thoughts[: len(thoughts) - held], ""
            self._state, reasoning, text = "gap", thoughts.rstrip("\n"), rest
        if self._state == "gap":
            text = text.lstrip("\n")
            self._state = "answer" if text else "gap"
        return reasoning, text


def _maybe_closing(text: str) -> int:
    """Characters at the end of `text` that may belong to line ends and a `</think>` to come."""
    start = len(text)
    tag = "</think>"
    for size in range(len(tag) - 1, 0, -1):
        if text.endswith(tag[:size]):
            start -= size
            break
    return len(text) - len(text[:start].rstrip("\n"))


def logprobs_of(picked: Sequence[Picked], spell: Callable[[int], bytes]) -> dict[str, Any] | None:
    """OpenAI's `logprobs` of a choice; None if none were asked for."""
    if not any(token.logprob is not None for token in picked):
        return None

    def entry(token: int, value: float | None) -> dict[str, Any]:
        data = spell(token)
        return {"token": data.decode("utf-8", "replace"), "logprob": value, "bytes": list(data)}

    return {
        "content": [
            {**entry(token.token, token.logprob), "top_logprobs": [entry(t, v) for t, v in token.top]}
            for token in picked
        ]
    }


@dataclass(frozen=True)
class Envelope:
    """What every object of one answer shares."""

    id: str
    model: str
    created: int

    @classmethod
    def new(cls, number: int, model: str) -> Envelope:
        """The envelope of the answer to request `number`."""
        now = int(time.time())
        return cls(f"chatcmpl-{now:x}-{number}", model, now)

    def wrap(
        self, kind: str, choices: list[dict[str, Any]], usage: dict[str, int] | None = None
    ) -> dict[str, Any]:
        """An object of the API, such as `chat.completion` or `chat.completion.chunk`."""
        wrapped = {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }
        return wrapped if usage is None else {**wrapped, "usage": usage}


def usage_of(prompt: int, completion: int) -> dict[str, int]:
    """OpenAI's `usage`."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def error_object(message: str, kind: str, code: int) -> dict[str, Any]:
    """OpenAI's error body."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
