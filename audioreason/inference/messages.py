"""Chat messages with audio: a rendered prompt and a clip, in the form that OpenAI-compatible servers take.

The audio part comes before the text, so that a server's multimodal and prefix caches hit for every question
about the same clip. Knows nothing about items or servers.
"""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from audioreason.errors import EndpointError

if TYPE_CHECKING:
    from audioreason.inference.endpoint import Transport
    from audioreason.prompts import Rendered

Messages = list[dict[str, Any]]

_CACHE_BYTES = 64 << 20


def build_messages(rendered: Rendered, clip: Path | None, transport: Transport) -> Messages:
    """The system message (if the prompt has one) and the user message: audio first, then the text.

    Without a clip the user message is plain text. `file` sends a percent-encoded `file://` URL; `input_audio`
    sends the file's bytes as base64, encoded once per clip; `auto` (nobody has asked the server) sends them
    too, because every server that hears takes that.

    Raises:
        EndpointError: if the clip cannot be read.
    """
    messages: Messages = [{"role": "system", "content": rendered.system}] if rendered.system else []
    if clip is None:
        messages.append({"role": "user", "content": rendered.user})
    else:
        text = {"type": "text", "text": rendered.user}
        messages.append({"role": "user", "content": [audio_part(clip, transport), text]})
    return messages


def audio_part(clip: Path, transport: Transport) -> dict[str, Any]:
    """The content part that carries one clip.

    Raises:
        EndpointError: if the clip cannot be read.
    """
    if transport == "file":
        return {"type": "audio_url", "audio_url": {"url": clip.resolve().as_uri()}}
    container = clip.suffix.lstrip(".").lower() or "wav"
    return {"type": "input_audio", "input_audio": {"data": _cache.get(clip), "format": container}}


def named_folder(messages: Messages) -> Path | None:
    """The folder of the first clip that is sent as a `file://` URL; None if there is none."""
    for message in messages:
        for part in message["content"] if isinstance(message["content"], list) else ():
            if part.get("type") == "audio_url" and part["audio_url"]["url"].startswith("file:"):
                return Path(url2pathname(urlsplit(part["audio_url"]["url"]).path)).parent
    return None


class _ClipCache:
    """Base64 of recent clips, at most `limit` bytes, so that many samples of an item encode it once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._texts: OrderedDict[tuple[str, int, int], str] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, clip: Path) -> str:
        try:
            status = clip.stat()
            key = (str(clip), status.st_mtime_ns, status.st_size)
            with self._lock:
                if key in self._texts:
                    self._texts.move_to_end(key)
                    return self._texts[key]
            text = base64.b64encode(clip.read_bytes()).decode("ascii")
        except OSError as error:
            raise EndpointError(
                f"The clip {clip} cannot be read ({error.strerror}).",
                "Check the dataset with `audioreason data check`.",
            ) from error
        with self._lock:
            if key not in self._texts:
                self._texts[key] = text
                self._size += len(text)
            while self._size > self._limit and len(self._texts) > 1:
                self._size -= len(self._texts.popitem(last=False)[1])
        return text


_cache = _ClipCache(_CACHE_BYTES)
