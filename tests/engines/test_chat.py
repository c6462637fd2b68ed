"""Requests are checked, and thoughts are told from answers, however the text is cut."""

from __future__ import annotations

import base64
import io
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from engine_clips import noise
from hypothesis import given
from hypothesis import strategies as st

from audioreason.engines import media
from audioreason.engines.chat import Defaults, ReasoningSplit, parse_body, to_request
from audioreason.errors import EngineError


def _body(**fields: object) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": "hi"}], **fields}).encode()


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        ("<think>\nso\n</think>\n\nthree", "so", "three"),
        ("three", "", "three"),
        ("a <think>b</think>", "", "a <think>b</think>"),
        ("<think>never closed </thi", "never closed </thi", ""),
        ("<thi", "", "<thi"),
        ("<think></think>x", "", "x"),
    ],
)
@given(cuts=st.lists(st.integers(0, 40), max_size=8))
def test_thoughts_and_answer_are_parted_however_the_text_arrives(
    text: str, reasoning: str, content: str, cuts: list[int]
) -> None:
    split = ReasoningSplit("qwen3")
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    parts = [split.feed(piece, final=index == len(pieces) - 1) for index, piece in enumerate(pieces)]
    assert "".join(part[0] for part in parts).rstrip("\n") == reasoning
    assert "".join(part[1] for part in parts) == content


def test_without_a_parser_everything_is_the_answer() -> None:
    assert ReasoningSplit(None).feed("<think>a</think>b") == ("", "<think>a</think>b")


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"messages": []}', "messages"),
        (_body(extra_body={"top_k": 1}), "top level"),
        (_body(temperature=-1), "temperature"),
        (_body(n=0), "field n"),
        (_body(tools=[{"type": "function"}]), "tools"),
        (_body(messages=[{"role": "robot", "content": "x"}]), "role"),
    ],
)
def test_a_bad_request_is_named_in_one_sentence(raw: bytes, sentence: str) -> None:
    with pytest.raises(EngineError, match=sentence):
        parse_body(raw)


def test_sampling_extras_are_read_at_the_top_level_and_the_rest_from_the_folder() -> None:
    body = parse_body(_body(top_k=5, repetition_penalty=1.1, seed=3, max_completion_tokens=9, logprobs=True))
    draw = to_request(body, Defaults(temperature=0.7, min_p=0.05), ()).draw
    assert (draw.top_k, draw.repetition_penalty, draw.seed, draw.max_tokens, draw.logprobs) == (
        5,
        1.1,
        3,
        9,
        0,
    )
    assert (draw.temperature, draw.min_p) == (0.7, 0.05)


def _wav(seconds: float, sr: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(seconds)[: int(seconds * sr)], sr, format="WAV")
    return buffer.getvalue()


def test_the_same_clip_is_heard_by_file_by_data_url_and_inline(tmp_path: Path) -> None:
    clip = tmp_path / "a clip, 50%.wav"
    clip.write_bytes(_wav(1.0))
    code = base64.b64encode(clip.read_bytes()).decode()
    parts = [
        {"type": "audio_url", "audio_url": {"url": clip.as_uri()}},
        {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{code}"}},
        {"type": "input_audio", "input_audio": {"data": code, "format": "wav"}},
    ]
    body = parse_body(_body(messages=[{"role": "user", "content": [*parts, {"type": "text", "text": "?"}]}]))
    request = to_request(body, Defaults(), [tmp_path])
    assert request.turns[0].parts == (None, None, None, "?")
    assert all(np.array_equal(clip, request.clips[0]) for clip in request.clips)
    assert len(request.clips[0]) == 16_000


def test_no_url_leaves_the_allowed_folders(tmp_path: Path) -> None:
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    allowed.mkdir()
    outside.mkdir()
    (outside / "secret.wav").write_bytes(_wav(0.5))
    (allowed / "link.wav").symlink_to(outside / "secret.wav")
    for url in (
        (outside / "secret.wav").as_uri(),
        f"{allowed.as_uri()}/../outside/secret.wav",
        f"{allowed.as_uri()}/%2e%2e/outside/secret.wav",
        (allowed / "link.wav").as_uri(),
        f"file://otherhost{allowed}/x.wav",
        "http://127.0.0.1:1/x.wav",
        "ftp://x/y.wav",
    ):
        with pytest.raises(EngineError):
            media.from_url(url, [allowed])


def test_clips_beyond_the_limits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="121 s long"):
        media.from_bytes(_wav(121, 4000))
    with pytest.raises(EngineError, match="too short"):
        media.from_bytes(_wav(0.001))
    with pytest.raises(EngineError, match="not valid base64"):
        media.from_base64("???")
    with pytest.raises(EngineError, match="in the request"):
        media.from_bytes(b"no sound at all, just text")
    with pytest.raises(EngineError, match="no clip"):
        media.from_url((tmp_path / "gone.wav").as_uri(), [tmp_path])
