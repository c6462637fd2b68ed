"""Choices inside other texts: listed at the end of a question, or with letters of their own.

Pure: text in, text out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# a choice that begins with a letter or number of its own: (A) slow, [b] slow, c. slow, 4) slow
LETTERED = re.compile(r"\s*[(\[]?([A-Za-z]|\d{1,2})[)\].:]\s+(?=\S)")
# (A) anywhere behind white space; A. A) A: only where a line begins
_LETTER = re.compile(r"(?:(?<=\s)|^)\(([A-Z])\)\s*|(?:^|(?<=\n))[ \t]*([A-Z])[.):][ \t]+")
_LEAD_IN = re.compile(
    r"(?:(?:please\s+)?(?:choose|select|pick)\s+(?:the|your)\b[^.?!\n]*[:.]?"
    r"|(?:the\s+)?(?:options|choices)(?:\s+are)?\s*:)\s*$",
    re.IGNORECASE,
)
_LISTED = re.compile(
    r"\n\s*(?:the\s+)?(?:options|choices)(?:\s+are)?\s*:\s*((?:\n\s*[-*] .+)+)\s*$", re.IGNORECASE
)


def split_choices(text: str) -> tuple[str, list[str]]:
    """A question's text without its choices, and these: two or more at its end, lettered from A on or listed
    with dashes under `Choices:`.

    What stands behind the last choice's line stays with the question; "Choose the correct option:" does not.
    """
    if listed := _LISTED.search(text):
        choices = [re.sub(r"^\s*[-*] ", "", line).strip() for line in listed.group(1).strip().split("\n")]
        return text[: listed.start()].strip(), choices
    marks = list(_LETTER.finditer(text))
    begin = max((n for n, mark in enumerate(marks) if _name(mark) == "A"), default=len(marks))
    run = [mark for place, mark in enumerate(marks[begin:]) if _name(mark) == chr(ord("A") + place)]
    if len(run) < 2 or len(run) != len(marks) - begin:
        return text, []
    ends = [mark.start() for mark in run[1:]] + [len(text)]
    parts = [text[mark.end() : end].strip() for mark, end in zip(run, ends, strict=True)]
    parts[-1], _, behind = parts[-1].partition("\n")
    choices = [" ".join(part.split()) for part in parts]
    if not all(choices):
        return text, []
    stem = _LEAD_IN.sub("", text[: run[0].start()].strip()).strip()
    return "\n".join(part for part in (stem, _LEAD_IN.sub("", behind.strip())) if part), choices


def own_letters(choices: Sequence[str]) -> list[str]:
    """The letters or numbers that all of the choices begin with, as they are; empty unless all have one."""
    marks = [match.group(1) if (match := LETTERED.match(choice)) else "" for choice in choices]
    return marks if len(marks) > 1 and all(marks) and len(set(marks)) == len(marks) else []


def _name(mark: re.Match[str]) -> str:
    return mark.group(1) or mark.group(2)
