"""What a clip looks like inside a request."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from audioreason.errors import EndpointError
from audioreason.inference.messages import _ClipCache, build_messages


@dataclass(frozen=True)
class Rendered:
    system: str
    user: str


PROMPT: Any = Rendered("You listen.", "How many claps?")


def clip_at(path: Path, data: bytes = b"RIFF sound") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_audio_comes_before_text(tmp_path: Path) -> None:
    system, user = build_messages(PROMPT, clip_at(tmp_path / "a.wav"), "input_audio")
    assert system == {"role": "system", "content": "You listen."}
    assert [part["type"] for part in user["content"]] == ["input_audio", "text"]
    assert user["content"][0]["input_audio"]["format"] == "wav"
    assert base64.b64decode(user["content"][0]["input_audio"]["data"]) == b"RIFF sound"
    assert user["content"][1]["text"] == "How many claps?"


def test_file_url_survives_blanks_percent_and_letters(tmp_path: Path) -> None:
    clip = clip_at(tmp_path / "a b" / "50% – Hände#1?.wav")
    url = build_messages(PROMPT, clip, "file")[1]["content"][0]["audio_url"]["url"]
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("file", "", "", "")
    assert Path(unquote(parts.path)) == clip.resolve()
    assert url.isascii()
    assert " " not in url


def test_unknown_transport_sends_the_bytes(tmp_path: Path) -> None:
    part = build_messages(PROMPT, clip_at(tmp_path / "a.wav"), "auto")[1]["content"][0]
    assert part["type"] == "input_audio"


def test_without_clip_or_system_there_is_only_text() -> None:
    silent: Any = Rendered("", "How many claps?")
    assert build_messages(silent, None, "file") == [{"role": "user", "content": "How many claps?"}]


def test_missing_clip_is_named(tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match=r"gone\.wav"):
        build_messages(PROMPT, tmp_path / "gone.wav", "input_audio")


def test_clip_is_encoded_once_and_again_when_it_changed(tmp_path: Path) -> None:
    cache = _ClipCache(1_000)
    clip = clip_at(tmp_path / "a.wav")
    first = cache.get(clip)
    assert cache.get(clip) is first
    clip.write_bytes(b"RIFF other")
    os.utime(clip, ns=(1, 1))
    assert base64.b64decode(cache.get(clip)) == b"RIFF other"


def test_cache_stays_within_its_bytes(tmp_path: Path) -> None:
    cache = _ClipCache(1_000)
    clips = [clip_at(tmp_path / f"{number}.wav", bytes(300)) for number in range(10)]  # 400 characters each
    texts = [cache.get(clip) for clip in clips]
    assert sum(len(text) for text in cache._texts.values()) <= 1_000
    assert cache.get(clips[-1]) is texts[-1]
    assert cache.get(clips[0]) is not texts[0]
