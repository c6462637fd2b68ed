"""Cuts a model's text into parts: plain text, times that can be clicked, and events that were really there.

Works on text alone. What it returns is drawn as text, never as HTML or Markdown.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Sequence
from typing import TypedDict

from audioreason.items.schema import Event

_NUMBER = r"\d{1,3}:\d{2}(?:\.\d{1,3})?|\d{1,4}(?:\.\d{1,3})?"
_UNIT = r"\s?(?:s|sec|secs|second|seconds)\b"
_TIME = re.compile(
    rf"(?<![\w.:])(?P<a>{_NUMBER})(?P<u1>{_UNIT})?"
    rf"(?:(?P<dash>\s?(?:-|–|—|to|until|and)\s?)(?P<b>{_NUMBER})(?P<u2>{_UNIT})?)?(?![\w:]|\.\d)",
    re.IGNORECASE,
)
_COMPARED = 6_000  # characters of a section that are compared word by word; the comparison is quadratic
_QUOTED = re.compile(r"[“\"]([^”\"\n]{2,80})[”\"]")


class Part(TypedDict, total=False):
    """One piece of a section: `text` always; `start` (seconds) makes it a button, `end` makes it loop."""

    text: str
    start: float
    end: float
    named: bool  # an event of the clip, named by the model
    changed: bool  # words that the text it is compared with does not have
    looped: bool  # said again and again
    read: str  # the choice was read from these words; says by which rule


def parts(text: str, seconds: float, events: Sequence[Event] = ()) -> list[Part]:
    """The parts of a text about a clip of `seconds`, in order; joined, their texts are the text.

    A number is a time if it is written as one (`3.10`, `0:04`, `7 s`, `0.5-2.1`) and lies inside the clip.
    An event's label, and a quoted phrase with a time behind it on its line, lead to where they can be heard.
    """
    marks = [*_times(text, seconds), *_events(text, events)]
    marks += _quotes(text, [mark for mark in marks if "start" in mark[2]])
    found: list[Part] = []
    at = 0
    for start, end, part in sorted(marks, key=lambda mark: (mark[0], -mark[1])):
        if start < at:
            continue
        if start > at:
            found.append({"text": text[at:start]})
        found.append(part)
        at = end
    if at < len(text):
        found.append({"text": text[at:]})
    return found


def mark_changes(pieces: Sequence[Part], reference: str) -> list[Part]:
    """The same parts, with words marked that `reference` does not have in their place.

    Times and events stay buttons and are not marked.
    """
    text = "".join(piece["text"] for piece in pieces)
    return _marked(pieces, _changed(text, reference), {"changed": True})


def mark_read(pieces: Sequence[Part], span: tuple[int, int] | None, rule: str) -> list[Part]:
    """The same parts, with the characters of `span` marked as the words that the choice was read from.

    `rule` says why. Times and events stay buttons and are not marked; without a span nothing is.
    """
    return list(pieces) if span is None else _marked(pieces, [span], {"read": rule})


def _marked(pieces: Sequence[Part], ranges: Sequence[tuple[int, int]], mark: Part) -> list[Part]:
    """Parts cut at the edges of `ranges`, those inside with `mark`; buttons stay whole."""
    found: list[Part] = []
    at = 0
    for piece in pieces:
        end = at + len(piece["text"])
        if "start" in piece:
            found.append(piece)
        else:
            cuts = sorted({at, end, *(edge for span in ranges for edge in span if at < edge < end)})
            for start, stop in itertools.pairwise(cuts):
                part: Part = {**piece, "text": piece["text"][start - at : stop - at]}
                if any(low <= start and stop <= high for low, high in ranges):
                    part = {**part, **mark}
                found.append(part)
        at = end
    return found


def _changed(text: str, reference: str) -> list[tuple[int, int]]:
    """Character ranges of `text` whose words a word-by-word comparison does not find in `reference`."""
    words = [(match.start(), match.end()) for match in re.finditer(r"\S+", text[:_COMPARED])]
    mine = [text[start:end].strip(".,;:!?\"'()").casefold() for start, end in words]
    theirs = [word.strip(".,;:!?\"'()").casefold() for word in reference[:_COMPARED].split()]
    matcher = difflib.SequenceMatcher(None, theirs, mine, autojunk=False)
    return [
        (words[low][0], words[high - 1][1])
        for kind, _, _, low, high in matcher.get_opcodes()
        if kind in ("insert", "replace") and high > low
    ]


Mark = tuple[int, int, Part]


def _times(text: str, seconds: float) -> list[Mark]:
    marks: list[Mark] = []
    last = seconds + 0.05
    for match in _TIME.finditer(text):
        first, second = _seconds(match["a"]), _seconds(match["b"]) if match["b"] else None
        unit = match["u1"] or match["u2"]
        written = _written_as_time(match["a"]) or (match["b"] is not None and _written_as_time(match["b"]))
        if not (unit or written) or first > last:
            continue
        ends = {
            name: match.end(f"u{k}") if match[f"u{k}"] else match.end(name)
            for k, name in ((1, "a"), (2, "b"))
        }

        def button(
            name: str, start: float, match: re.Match[str] = match, ends: dict[str, int] = ends
        ) -> Mark:
            return (
                match.start(name),
                ends[name],
                {"text": text[match.start(name) : ends[name]], "start": start},
            )

        joined = match["dash"] is not None and match["dash"].strip().lower() == "and"
        if second is not None and first < second <= last and not joined:
            whole = text[match.start("a") : ends["b"]]
            marks.append((match.start("a"), ends["b"], {"text": whole, "start": first, "end": second}))
            continue
        marks.append(button("a", first))
        if second is not None and second <= last:
            marks.append(button("b", second))
    return marks


def _events(text: str, events: Sequence[Event]) -> list[Mark]:
    marks: list[Mark] = []
    for label in {event.label for event in events if len(event.label) > 1}:
        words = r"[\s_-]+".join(re.escape(word) for word in re.split(r"[\s_-]+", label.strip()))
        times = sorted((event.start, event.end) for event in events if event.label == label)
        for k, match in enumerate(re.finditer(rf"(?<!\w){words}(?:s|es)?(?!\w)", text, re.IGNORECASE)):
            start, end = times[min(k, len(times) - 1)]  # the second mention leads to the second event
            marks.append(
                (match.start(), match.end(), {"text": match[0], "start": start, "end": end, "named": True})
            )
    return marks


def _quotes(text: str, timed: list[Mark]) -> list[Mark]:
    marks: list[Mark] = []
    for match in _QUOTED.finditer(text):
        line_end = text.find("\n", match.end())
        reach = min(line_end if line_end >= 0 else len(text), match.end() + 60)
        near = next(
            (part for start, _, part in sorted(timed, key=lambda m: m[0]) if match.end() <= start < reach),
            None,
        )
        if near is not None and not any(
            start < match.end() and match.start() < end for start, end, _ in timed
        ):
            marks.append((match.start(), match.end(), {**near, "text": match[0]}))
    return marks


def _written_as_time(number: str) -> bool:
    return ":" in number or re.fullmatch(r"\d+\.\d{1,3}", number) is not None


def _seconds(number: str) -> float:
    minutes, _, rest = number.rpartition(":")
    return float(rest) + 60 * float(minutes or 0)
