"""JSON as programs write it: Python's NaN and Infinity, which JSON lacks, are read as null. Pure text."""

from __future__ import annotations

import re
from typing import Any

import orjson

# a string, kept as it is, or a bare number that JSON lacks
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b', re.DOTALL)


def read_json(text: str | bytes) -> Any:
    """The value of a JSON text; NaN, Infinity and -Infinity become None.

    Raises:
        ValueError: if it is not JSON; the message has the place.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogatepass")
        if "NaN" not in text and "Infinity" not in text:
            raise
        return orjson.loads(_TOKEN.sub(lambda token: token[0] if token[0][0] == '"' else "null", text))
