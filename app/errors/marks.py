"""Where a text repeats itself: the sentences of a loop, so that they can be struck through. Pure text."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence

from app.widgets.trace import Part

_PIECE = re.compile(r"[^.!?\n。！？]+[.!?\n。！？]*\s*")
_SHORTEST = 12  # characters of a sentence that counts; "Yes." may well come twice
_ALLOWED = 2  # times a sentence may come before it is a loop


def repeated(text: str) -> list[tuple[int, int]]:
    """Character ranges of sentences that had come twice before, whatever their case and spaces."""
    seen: Counter[str] = Counter()
    found: list[tuple[int, int]] = []
    for match in _PIECE.finditer(text):
        words = " ".join(re.findall(r"\w+", match[0].casefold()))
        if len(words) < _SHORTEST:
            continue
        seen[words] += 1
        if seen[words] > _ALLOWED:
            if found and found[-1][1] == match.start():
                found[-1] = (found[-1][0], match.end())
            else:
                found.append((match.start(), match.end()))
    return found


def mark_loops(pieces: Sequence[Part]) -> list[Part]:
    """The same parts, with what is said again and again marked as `looped`; times in it stay buttons."""
    ranges = repeated("".join(piece["text"] for piece in pieces))
    if not ranges:
        return list(pieces)
    found: list[Part] = []
    at = 0
    for piece in pieces:
        end = at + len(piece["text"])
        if "start" in piece:
            found.append(piece)
        else:
            inner = {edge for span in ranges for edge in span if at < edge < end}
            cuts = sorted({at, end, *inner})
            for start, stop in itertools.pairwise(cuts):
                part: Part = {"text": piece["text"][start - at : stop - at]}
                if any(low <= start and stop <= high for low, high in ranges):
                    part["looped"] = True
                found.append(part)
        at = end
    return found
