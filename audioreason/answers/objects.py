"""A JSON object that a model was asked to end its reply with, whatever it wrote around it. Pure."""

from __future__ import annotations

import json
from typing import Any


def last_object(reply: str | None, key: str) -> Any:
    """The value under `key` in the last JSON object of a reply that has it; None if there is none.

    What stands before a closing `</think>` is not part of the answer.
    """
    text = (reply or "").rpartition("</think>")[2]
    decoder = json.JSONDecoder()
    for start in range(len(text) - 1, -1, -1):
        if text[start] != "{":
            continue
        try:
            value, _ = decoder.raw_decode(text, start)
        except ValueError:
            continue
        if key in value:
            return value[key]
    return None
