"""A reply -> the choice that it states, the rule that decided, and the words that were read.

The stages: `thoughts` (what was said), `statements` (where it states its answer), `matching` (which choice
that is). The last statement that says something wins over earlier ones and over what the prose mentions. It
never guesses, never raises, and knows nothing about gold answers. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from audioreason.answers.fold import Folded, fold, without_markup
from audioreason.answers.matching import NOTHING, Match, Reader, options
from audioreason.answers.reply import Field, Parsed, RawResponse, Reply, statement_text, take_apart
from audioreason.answers.statements import Statement, find_statements

_LONGEST = 20_000  # characters of a reply in which statements are read, from each end


@dataclass(frozen=True)
class Resolution:
    """Index of the choice, or None; `rule` says why either way ("none", "ambiguous", "conflict", ...).

    [`start`, `end`) are the words that were read, in the raw text of `field`; None where nothing was.
    """

    index: int | None
    rule: str
    start: int | None = None
    end: int | None = None
    field: Field = "content"


@dataclass(frozen=True)
class Reading:
    """A reply taken apart, and the choice that it states."""

    parsed: Parsed
    resolution: Resolution


def read(raw: RawResponse, choices: Sequence[str], expected_sections: Sequence[str] = ()) -> Reading:
    """Read a reply; never raises. Permuting the choices permutes the result, letters apart.

    Args:
        raw: what the endpoint returned.
        choices: the texts that the answer may be.
        expected_sections: the names of the sections that the prompt asked for.
    """
    reply = take_apart(raw, expected_sections)
    if not choices or not reply.folded.text.strip():
        return Reading(reply.parsed, Resolution(None, "none"))
    reader = Reader(reply.source.text, reply.folded, options(choices))
    match, statement = _read(reader, reply.statements, reply.unmarked, refused=reply.parsed.refused)
    parsed = reply.parsed
    if statement is not None and (text := statement_text(statement, reply.folded, reply.source.text)):
        parsed = replace(parsed, answer=text)
    return Reading(replace(parsed, read=_marks(match, reply)), _resolution(match, reply))


def resolve(text: str, choices: Sequence[str]) -> Resolution:
    """The one choice that a text states, which is taken as a model's answer; never raises."""
    if not choices or not text.strip():
        return Resolution(None, "none")
    folded = without_markup(fold(text))
    reader = Reader(text, folded, options(choices))
    match, _ = _read(reader, find_statements(folded.text), (0, len(folded.text)))
    return _located(match, folded)


def _read(
    reader: Reader, statements: Sequence[Statement], unmarked: tuple[int, int], *, refused: bool = False
) -> tuple[Match, Statement | None]:
    """The last statement that says something; without one, what the unmarked part states."""
    if unmarked == (0, len(reader.text)):
        whole = reader.whole(*unmarked)
        if whole is not None and whole.index is not None:
            return whole, None
    doubt = NOTHING
    for statement in reversed(_outer(reader, statements)):
        if statement.kind == "confirming":
            match = reader.confirmed(statement.start, statement.end)
        else:
            match = reader.statement(statement.start, statement.end)
        if match.index is not None or match.rule in ("ambiguous", "conflict", "declined"):
            return reader.by_place(match, statement.start), statement
        if statement.strong and reader.text[statement.start : statement.end].strip(" \n\t*_`\"'.:#-"):
            return match, statement
        if match.rule != "none":
            doubt = match
    if unmarked[0] >= unmarked[1]:
        return doubt, None
    match = reader.prose(*unmarked, refused=refused)
    return (match if match.index is not None or match.rule != "none" else doubt), None


def _resolution(match: Match, reply: Reply) -> Resolution:
    if match.end <= match.start:
        return Resolution(match.index, match.rule, field=reply.field)
    start, end = reply.source.place(*_with_brackets(match, reply))
    return Resolution(match.index, match.rule, start, end, reply.field)


def _outer(reader: Reader, statements: Sequence[Statement]) -> Sequence[Statement]:
    """Without those inside one that is a choice word for word: the words of a choice announce nothing."""
    if len(statements) < 2:
        return statements
    whole = [
        (one.start, one.end)
        for one in statements
        if one.strong and (match := reader.whole(one.start, one.end)) is not None and match.index is not None
    ]
    return [one for one in statements if not any(start < one.start < end for start, end in whole)]


def _with_brackets(match: Match, reply: Reply) -> tuple[int, int]:
    """Where the words that were read stand in the source, with the brackets around a letter."""
    start, end = reply.folded.place(match.start, match.end)
    text = reply.source.text
    if text[start - 1 : start] in ("(", "[", "（", "【") and start:
        start -= 1
        end += end < len(text) and text[end] in ")]）】"
    return start, end


def _marks(match: Match, reply: Reply) -> dict[str, tuple[int, int]]:
    """Where the words that were read stand in each section that has them, and in the visible text."""
    if match.end <= match.start:
        return {}
    start, end = _with_brackets(match, reply)
    found = {
        name: (start - first, end - first)
        for name, (first, last) in reply.sections.items()
        if first <= start and end <= last
    }
    if reply.parsed.visible:
        margin = len(reply.source.text) - len(reply.source.text.lstrip())
        found[""] = (max(0, start - margin), end - margin)
    return found


def _located(match: Match, folded: Folded) -> Resolution:
    if match.end <= match.start:
        return Resolution(match.index, match.rule)
    return Resolution(match.index, match.rule, *folded.place(match.start, match.end))
