"""A raw reply taken apart for its readers: thinking, sections, and whether it loops, refuses or was cut off.

Accepts what models truly write: thoughts in any family's marks, reasoning in a field of its own, sections in
any common markup. Every scan is linear in the text. Knows nothing about choices: `reading` does.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from audioreason.answers.fold import Folded, fold, without_markup
from audioreason.answers.statements import Statement, find_statements
from audioreason.answers.thoughts import Visible, split_thoughts, without_control

SECTIONS = ("HEARD", "ANALYSIS", "ANSWER")
_CUT = ("length", "max_tokens", "abort", "stopped")  # finish reasons of servers, and of our own stop button
_TAIL = 40_000  # characters in which a loop is looked for
Field = Literal["content", "reasoning"]


@dataclass(frozen=True)
class RawResponse:
    """What an endpoint returned for one sample, untouched."""

    content: str | None
    reasoning: str | None = None
    finish_reason: str | None = None


@dataclass(frozen=True)
class Parsed:
    """A response taken apart. `visible` is what stands outside the thinking, `answer` the text that states
    the answer ("" if none was stated).
    """

    thinking: str
    visible: str = ""
    sections: dict[str, str] = field(default_factory=dict)
    answer: str = ""
    explicit: bool = False  # the answer stood behind a marker such as "ANSWER:" or \\boxed
    truncated: bool = False
    looped: bool = False
    refused: bool = False
    format_ok: bool = True
    # the words that the choice was read from: where they stand in a section, or in `visible` under ""
    read: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """A response on its way to be read: its parts, and the text that may state the answer.

    `source` is that text, a part of the raw field `field` (`source.place` leads back there); `folded` is the
    same, folded, and `statements` what announces an answer in it. `unmarked` is the part of it that may state
    the answer where nothing announces one. `sections` says where in the source each section stands.
    """

    parsed: Parsed
    source: Visible
    folded: Folded
    statements: tuple[Statement, ...]
    unmarked: tuple[int, int]
    field: Field
    sections: dict[str, tuple[int, int]]


# one heading at the start of a line: "HEARD:", "**Heard**", "## HEARD", "[HEARD]", "<heard>", "1. HEARD -"
_HEADING = (
    r"^[ \t]{{0,8}}(?:[-*•>][ \t]{{1,3}})?(?:#{{1,6}}[ \t]{{0,3}})?"  # a bullet, a Markdown heading
    r"(?:(?:step[ \t])?\d{{1,2}}[.):][ \t]{{0,3}})?"  # "1." or "Step 1:"
    r"(?P<open><|\[|\*{{1,3}}|_{{1,2}}|【)?[ \t]{{0,2}}(?:\d{{1,2}}[.):][ \t]{{0,3}})?"
    r"(?P<name>{names})[ \t]{{0,2}}"
    r"(?P<after>:?\*{{1,3}}:?|:?_{{1,2}}:?|>:?|\]:?|】:?|[:：]|[ \t]?[-–—](?=\s)|(?=[ \t]*$))"
)
_FONT = re.compile(r"(?:\\[a-z]+\s?\{)+([^{}]*)\}*")
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)"
    r"|i (?:can(?:no|')t|cannot|could not|couldn't|am unable to|do(?: not|n't) have (?:the ability|access) to"
    r"|did(?: not|n't) receive)"
    r" (?:hear|listen|process|access|analy[sz]e|determine|help|assist|answer|play"
    r"|(?:the |any |your )?(?:audio|recording|clip))|as an ai\b"
    r"|no audio (?:clip |file |input )?(?:was|is|has been|seems to be) (?:provided|attached|included|given)"
    r"|(?:please )?(?:provide|upload|attach|share) the audio)"
    r"|(?:无法|不能)(?:听|播放|处理|访问|分析|回答)|抱歉",
)


# one of them stands in every refusal: looked for first, as that is fast
_REFUSING = ("sorry", "able ", "can", "ability", "could", "as an ai", "audio", "无法", "不能", "抱歉")


def parse(raw: RawResponse, expected_sections: Sequence[str] = ()) -> Parsed:
    """Take a response apart; never raises, whatever the text.

    `expected_sections` are the names that the prompt asked for; `format_ok` says whether they came, each
    with text, in that order.
    """
    return take_apart(raw, expected_sections).parsed


def take_apart(raw: RawResponse, expected_sections: Sequence[str] = ()) -> Reply:
    """Take a response apart and find what states its answer; never raises, whatever the text."""
    content = raw.content or ""
    apart = split_thoughts(content)
    reasoning = (raw.reasoning or "").strip()
    thinking = "\n\n".join(part for part in (reasoning, apart.thinking) if part)
    names = tuple(dict.fromkeys([*(name.upper() for name in expected_sections), *SECTIONS]))

    # A thought that never closed (some servers then put all of it into the reasoning field): a model that
    # ended by itself may have answered inside it; one that was cut short only drafts there.
    cut = raw.finish_reason in _CUT
    blank = not apart.visible.text.strip()
    open_ended = blank and (apart.unclosed or bool(raw.reasoning and not content.strip()))
    source = apart.visible
    where: Field = "content"
    if open_ended and not cut:
        if apart.unclosed and apart.last_thought:
            source = Visible(content[slice(*apart.last_thought)], (apart.last_thought,))
        else:
            source, where = split_thoughts(raw.reasoning or "").visible, "reasoning"
            if not source.text.strip():
                source = without_control(raw.reasoning or "")
    found = section_spans(source.text, names)
    sections = {name: source.text[slice(*span)] for name, span in found.items()}
    folded = without_markup(fold(source.text))
    looped = is_looped(content if content.strip() else thinking)
    # a thought that ends in a loop only drafts
    statements = () if open_ended and looped else tuple(find_statements(folded.text))
    stated = _stated(statements, folded, source.text)
    truncated = cut or (open_ended and stated is None)
    unmarked = (0, 0)
    if not truncated:
        unmarked = _unmarked(found, folded, source.text)
    answer = stated if stated is not None else source.text[slice(*folded.place(*unmarked))].strip()
    parsed = Parsed(
        thinking=thinking,
        visible=apart.visible.text.strip(),
        sections=sections,
        answer=answer,
        explicit=stated is not None,
        truncated=truncated,
        looped=looped,
        refused=_refuses(folded.text),
        format_ok=_in_order(sections, expected_sections),
    )
    return Reply(parsed, source, folded, statements, unmarked, where, found)


def _refuses(folded: str) -> bool:
    return any(word in folded for word in _REFUSING) and _REFUSAL.search(folded, 0, 4000) is not None


def _stated(statements: Sequence[Statement], folded: Folded, text: str) -> str | None:
    """The text of the last place that was made for an answer and has one, else of the last announcement."""
    said = [(one, statement_text(one, folded, text)) for one in statements]
    said = [(one, body) for one, body in said if body]
    strong = [body for one, body in said if one.strong]
    if strong:
        return strong[-1]
    return said[-1][1] if said else None


def statement_text(statement: Statement, folded: Folded, text: str) -> str:
    """The words of a statement as they were written."""
    body = text[slice(*folded.place(statement.start, statement.end))].strip()
    if body.startswith("\\") and (inner := _FONT.fullmatch(body)):
        body = inner[1]
    return body.strip("*").strip()


def _unmarked(sections: dict[str, tuple[int, int]], folded: Folded, text: str) -> tuple[int, int]:
    """What may state the answer where nothing marks it: all of it, or the line that the sections end with.

    A span of the folded text.
    """
    if not sections:
        return 0, len(folded.text)
    name, (start, end) = list(sections.items())[-1]
    body = text[start:end]
    if name == "HEARD" or not body.strip() or (name == "ANALYSIS" and _BROKEN_OFF.search(body)):
        return 0, 0
    closing = re.match(r"\s*</[^<>\n]{1,24}>", text[end:])
    if closing and text[end + closing.end() :].strip():  # what follows the section's closing tag
        return _folded_place(folded, end + closing.end()), len(folded.text)
    start = start + len(body) - len(body.splitlines()[-1])
    return _folded_place(folded, start), _folded_place(folded, end)


def _folded_place(folded: Folded, position: int) -> int:
    return position if folded.at is None else bisect_left(folded.at, position)


def split_sections(text: str, names: Sequence[str] = SECTIONS) -> dict[str, str]:
    """Sections of a text by upper-case name, in order of appearance; a repeated one keeps its last text.

    A heading begins a line; one that never does may stand inside a line, beside others, in capitals and
    before a colon. Text before the first heading is dropped.
    """
    return {name: text[slice(*span)] for name, span in section_spans(text, names).items()}


def section_spans(text: str, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Where the sections of a text are, see `split_sections`."""
    pattern = _headings(tuple(names))
    found = [match for match in pattern.finditer(text) if _is_heading(match, text)]
    missing = {name.upper() for name in names} - {_name_of(match) for match in found}
    if missing:
        inline = [
            match
            for match in _inline(tuple(sorted(missing))).finditer(text)
            if text[match.start() - 1 : match.start()] in _BEFORE_INLINE
        ]
        if len({_name_of(match) for match in (*found, *inline)}) > 1:  # alone it may be part of a sentence
            found = sorted((*found, *inline), key=lambda match: match.start())
    sections: dict[str, tuple[int, int]] = {}
    for i, match in enumerate(found):
        name = _name_of(match)
        end = found[i + 1].start() if i + 1 < len(found) else len(text)
        start = match.end()
        body = text[start:end]
        closing = re.search(rf"</\s?{re.escape(match['name'])}\s?>", body, re.IGNORECASE)
        if closing:
            body = body[: closing.start()]
        start += len(body) - len(body.lstrip())
        body = body.strip().removesuffix("**").strip()
        if body or name not in sections:
            sections[name] = (start, start + len(body))
    return sections


@lru_cache(maxsize=64)
def _headings(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(
        _HEADING.format(names="|".join(re.escape(n) for n in [*names, "FINAL ANSWER"])),
        re.IGNORECASE | re.MULTILINE | re.ASCII,  # ASCII: else a dotted capital I would spell another name
    )


def is_looped(text: str) -> bool:
    """Whether the text ends in a loop: one block repeated to the end, or the same long line many times.

    Linear in the last 40,000 characters, so that a paragraph that comes back thrice is seen too.
    """
    tail = text[-_TAIL:].rstrip()
    if len(tail) < 200:
        return False
    if _repeats_to_the_end(tail):
        return True
    lines = Counter(line.strip() for line in tail[-6000:].splitlines() if len(line.strip()) >= 25)
    return bool(lines) and lines.most_common(1)[0][1] >= 6


def _repeats_to_the_end(tail: str) -> bool:
    """Whether the end of `tail` is one block again and again: at least 4 times (3 if it is a paragraph), and
    over at least 160 characters."""
    size = len(tail)
    # the block is as long as the way back to where the last characters stood before
    for probe in (12, 40, 160):
        before = tail.rfind(tail[-probe:], 0, size - 1)
        period = size - probe - before
        if before < 0 or period <= 0:
            continue
        span = max(period * (3 if period > 400 else 4), 160)
        if span <= size and tail[size - span : size - period] == tail[size - span + period :]:
            return True
    return False


_BROKEN_OFF = re.compile(r"[^\W_] [^\W_]+,? [a-z]+\s*\Z")  # a sentence without its end
_BEFORE_INLINE = frozenset(" \t\n\r.!?;,)]*")


@lru_cache(maxsize=64)
def _inline(names: tuple[str, ...]) -> re.Pattern[str]:
    any_name = "|".join(map(re.escape, names))
    return re.compile(rf"(?P<name>{any_name})(?:\*{{1,3}}[:：]|[:：]\*{{0,3}})")


def _name_of(heading: re.Match[str]) -> str:
    return heading["name"].upper().removeprefix("FINAL ")


def _is_heading(match: re.Match[str], text: str) -> bool:
    """Whether a candidate is a heading rather than a line of prose that begins with the word."""
    bare = match["open"] is None and match["after"] == ""
    if bare:  # a word alone on its line: only in capitals, or behind # marks
        return match["name"].isupper() or "#" in match[0]
    return not (match["open"] == "<" and ">" not in match["after"])


def _in_order(sections: dict[str, str], expected: Sequence[str]) -> bool:
    wanted = [name.upper() for name in expected]
    return [name for name in sections if name in wanted and sections[name]] == wanted
