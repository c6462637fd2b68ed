"""The clip in a request: fetched from an allowed folder or the request itself, decoded, within limits.

Nothing is ever fetched from the network. Knows nothing about chat messages.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

import numpy as np
from numpy.typing import NDArray

from audioreason.errors import EngineError, ItemError
from audioreason.items.clips import SAMPLE_RATE, read_clip

MAX_SECONDS = 120
MAX_BYTES = 32 * 1024 * 1024  # two minutes of 24-bit stereo at 44.1 kHz
MIN_SECONDS = 0.01


def from_url(url: str, allowed: Sequence[Path]) -> NDArray[np.float32]:
    """Samples (16 kHz mono) of a `file://` URL inside one of the allowed folders, or of a `data:` URL.

    Raises:
        EngineError: if the URL is of another kind, leaves the folders, or is no clip within the limits.
    """
    scheme = url[:16].split(":", 1)[0].lower()
    if scheme == "data":
        return from_bytes(_data_url(url))
    if scheme != "file":
        raise EngineError(
            "Audio comes as a file:// URL, a data: URL or input_audio; nothing is fetched from elsewhere."
        )
    return from_file(_path(url), allowed)


def from_file(path: Path, allowed: Sequence[Path]) -> NDArray[np.float32]:
    """Samples (16 kHz mono) of a file whose real place is inside one of the allowed folders.

    Raises:
        EngineError: if it is not, or is no clip within the limits.
    """
    real = path.resolve()
    if not any(real.is_relative_to(folder.resolve()) for folder in allowed):
        raise EngineError(
            f"The clip {path} is not in a folder that this engine may read.",
            "Start it with --allowed-media FOLDER, or send the clip in the request.",
        )
    if not real.is_file():
        raise EngineError(f"There is no clip {path}.")
    if real.stat().st_size > MAX_BYTES:
        raise EngineError(f"The clip {path.name} is larger than {MAX_BYTES >> 20} MB.", "Cut it.")
    return _decode(real, path.name)


def from_base64(text: str) -> NDArray[np.float32]:
    """Samples (16 kHz mono) of an encoded file.

    Raises:
        EngineError: if it is not base64, or no clip within the limits.
    """
    try:
        return from_bytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise EngineError("The clip in the request is not valid base64.") from error


def from_bytes(data: bytes) -> NDArray[np.float32]:
    """Samples (16 kHz mono) of a file's bytes; the format is read off the bytes.

    Raises:
        EngineError: if they are no clip within the limits.
    """
    if len(data) > MAX_BYTES:
        raise EngineError(f"The clip in the request is larger than {MAX_BYTES >> 20} MB.", "Cut it.")
    with tempfile.NamedTemporaryFile(prefix="audioreason-", suffix=".clip") as file:
        file.write(data)
        file.flush()
        return _decode(Path(file.name), "in the request")


def _decode(path: Path, name: str) -> NDArray[np.float32]:
    try:
        samples = read_clip(path, SAMPLE_RATE)
    except ItemError as error:
        raise EngineError(error.message.replace(path.name, name), error.hint) from error
    seconds = len(samples) / SAMPLE_RATE
    if seconds > MAX_SECONDS:
        raise EngineError(
            f"The clip {name} is {seconds:.0f} s long; the limit is {MAX_SECONDS} s.", "Cut it."
        )
    if seconds < MIN_SECONDS:
        raise EngineError(f"The clip {name} is too short to be heard.")
    return samples


def _path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or "\x00" in url or "%00" in url:
        raise EngineError("A file:// URL must name a file on this machine, such as file:///folder/clip.wav.")
    return Path(url2pathname(parts.path))


def _data_url(url: str) -> bytes:
    head, comma, body = url.partition(",")
    if not comma:
        raise EngineError("The data: URL has no data.")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EngineError("The data: URL is not valid base64.") from error
