"""Bodies that no client means to send are refused in a sentence."""

from __future__ import annotations

import pytest

from audioreason.engines.chat import parse_body
from audioreason.errors import EngineError


@pytest.mark.parametrize(
    "raw",
    [
        b'{"messages": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b"\xff\xfe",
    ],
    ids=["deep", "half a surrogate pair", "no text"],
)
def test_it_is_not_valid_json(raw: bytes) -> None:
    with pytest.raises(EngineError, match="not valid JSON"):
        parse_body(raw)
