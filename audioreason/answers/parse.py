"""Raw model text -> thinking, sections, and the one piece of text that states the answer.

Accepts what models truly write: `<think>` blocks (closed, unclosed, several, or opened by the chat template),
reasoning in a field of its own, and sections in any common markup. Every scan is linear in the text.
Knows nothing about choices: `resolve` does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

SECTIONS = ("HEARD", "ANALYSIS", "ANSWER")


@dataclass(frozen=True)
class RawResponse:
    """What an endpoint returned for one sample, untouched."""

    content: str | None
    reasoning: str | None = None
    finish_reason: str | None = None


@dataclass(frozen=True)
class Parsed:
    """A response taken apart. `answer` is the text to resolve ("" if none was stated)."""

    thinking: str
    sections: dict[str, str] = field(default_factory=dict)
    answer: str = ""
    explicit: bool = False  # the answer stood behind a marker such as "ANSWER:" or \boxed
    truncated: bool = False
    looped: bool = False
    refused: bool = False
    format_ok: bool = True


_OPEN, _CLOSE = "<think>", "</think>"

# one heading at the start of a line: "HEARD:", "**Heard**", "## HEARD", "[HEARD]", "<heard>", "1. HEARD -"
_HEADING = (
    r"^[ \t]{{0,8}}(?:[-*•>][ \t]{{1,3}})?(?:#{{1,6}}[ \t]{{0,3}})?"  # a bullet, a Markdown heading
    r"(?:(?:step[ \t])?\d{{1,2}}[.):][ \t]{{0,3}})?"  # "1." or "Step 1:"
    r"(?P<open><|\[|\*{{1,3}}|_{{1,2}}|【)?[ \t]{{0,2}}(?:\d{{1,2}}[.):][ \t]{{0,3}})?"
    r"(?P<name>{names})[ \t]{{0,2}}"
    r"(?P<after>:?\*{{1,3}}:?|:?_{{1,2}}:?|>:?|\]:?|】:?|[:：]|[ \t]?[-–—](?=\s)|(?=[ \t]*$))"
)
_FINAL = re.compile(
    r"(?:\bfinal answer|\bthe (?:correct |best |right )?(?:answer|option|choice) is|\bmy answer is"
    r"|\banswer\s?(?:is|=)|答案(?:是|为)?)"
    r"[ \t]{0,3}[:：]?[ \t]{0,3}(?P<text>[^\n]{1,2000})",
    re.IGNORECASE,
)
_BOXED = re.compile(r"\\boxed\{(?:\\text\{)?(?P<text>[^{}\n]{1,500})\}")
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)"
    r"|i (?:can(?:no|')t|cannot|could not|couldn't|do not have the ability to)"
    r" (?:hear|listen|process|access|analy[sz]e|determine|help|assist|answer|play)|as an ai\b"
    r"|no audio (?:was|is|has been) (?:provided|attached|included)|(?:please )?(?:provide|upload) the audio)",
    re.IGNORECASE,
)


def parse(raw: RawResponse, expected_sections: Sequence[str] = ()) -> Parsed:
    """Take a response apart; never raises, whatever the text.

    `expected_sections` are the names that the prompt asked for; `format_ok` says whether they came, each
    with text, in that order.
    """
    content = raw.content or ""
    thought, visible, unclosed = _split_thinking(content)
    thinking = "\n\n".join(part for part in ((raw.reasoning or "").strip(), thought) if part)
    names = tuple(dict.fromkeys([*(name.upper() for name in expected_sections), *SECTIONS]))

    # a server that found no closing tag puts all text into the reasoning field: look there for sections only
    source = visible if visible.strip() else (thinking if not content.strip() else "")
    sections = split_sections(source, names)
    stated = _stated_answer(source, sections)
    truncated = raw.finish_reason == "length" or (unclosed and not visible.strip())
    if stated is not None:
        answer, explicit = stated, True
    else:
        # half a text is no statement: what a truncated answer mentions so far is not what it would have said
        answer, explicit = ("" if truncated else visible.strip()), False
    return Parsed(
        thinking=thinking,
        sections=sections,
        answer=answer,
        explicit=explicit,
        truncated=truncated,
        looped=is_looped(content or raw.reasoning or ""),
        refused=bool(_REFUSAL.search(source[:4000])),
        format_ok=_in_order(sections, expected_sections),
    )


def split_sections(text: str, names: Sequence[str] = SECTIONS) -> dict[str, str]:
    """Sections of a text by upper-case name, in order of appearance; a repeated one keeps its last text.

    Text before the first heading is dropped.
    """
    pattern = re.compile(
        _HEADING.format(names="|".join(re.escape(n) for n in [*names, "FINAL ANSWER"])),
        re.IGNORECASE | re.MULTILINE,
    )
    found = [match for match in pattern.finditer(text) if _is_heading(match, text)]
    sections: dict[str, str] = {}
    for i, match in enumerate(found):
        name = match["name"].upper().removeprefix("FINAL ")
        end = found[i + 1].start() if i + 1 < len(found) else len(text)
        body = text[match.end() : end]
        closing = re.search(rf"</\s?{re.escape(match['name'])}\s?>", body, re.IGNORECASE)
        if closing:
            body = body[: closing.start()]
        body = body.strip().removesuffix("**").strip()
        if body or name not in sections:
            sections[name] = body
    return sections


def is_looped(text: str) -> bool:
    """Whether the text ends in a loop: one block repeated to the end, or the same long line many times."""
    tail = text[-6000:].rstrip()
    if len(tail) < 200:
        return False
    # cheap look first: a looping tail holds its own last characters many times
    if tail.count(tail[-12:]) >= 5 and _periods(tail[-3000:]) >= 4:
        return True
    lines = Counter(line.strip() for line in tail.splitlines() if len(line.strip()) >= 25)
    return bool(lines) and lines.most_common(1)[0][1] >= 6


def _split_thinking(content: str) -> tuple[str, str, bool]:
    """(thinking, visible, whether a block was left open) of a content with `<think>` tags anywhere."""
    thoughts: list[str] = []
    visible: list[str] = []
    rest = content
    first_close, first_open = rest.find(_CLOSE), rest.find(_OPEN)
    if first_close >= 0 and (first_open < 0 or first_close < first_open):  # opened by the chat template
        thoughts.append(rest[:first_close])
        rest = rest[first_close + len(_CLOSE) :]
    while (start := rest.find(_OPEN)) >= 0:
        visible.append(rest[:start])
        end = rest.find(_CLOSE, start)
        if end < 0:
            thoughts.append(rest[start + len(_OPEN) :])
            return _join(thoughts), "".join(visible), True
        thoughts.append(rest[start + len(_OPEN) : end])
        rest = rest[end + len(_CLOSE) :]
    visible.append(rest)
    return _join(thoughts), "".join(visible), False


def _join(parts: list[str]) -> str:
    return "\n\n".join(part.strip() for part in parts if part.strip())


def _is_heading(match: re.Match[str], text: str) -> bool:
    """Whether a candidate is a heading rather than a line of prose that begins with the word."""
    bare = match["open"] is None and match["after"] == ""
    if bare:  # a word alone on its line: only in capitals, or behind # marks
        return match["name"].isupper() or "#" in match[0]
    return not (match["open"] == "<" and ">" not in match["after"])


def _stated_answer(visible: str, sections: dict[str, str]) -> str | None:
    """The text behind the last explicit answer marker, or None."""
    if boxed := list(_BOXED.finditer(visible)):
        return boxed[-1]["text"].strip()
    if sections.get("ANSWER"):
        return sections["ANSWER"]
    if final := list(_FINAL.finditer(visible)):
        return final[-1]["text"].strip().strip("*").strip()
    return None


def _in_order(sections: dict[str, str], expected: Sequence[str]) -> bool:
    wanted = [name.upper() for name in expected]
    return [name for name in sections if name in wanted and sections[name]] == wanted


def _periods(text: str) -> int:
    """How often the shortest block that repeats up to the end of `text` stands there (prefix function)."""
    reverse = text[::-1]
    border = [0] * len(reverse)
    best = 1
    k = 0
    for i in range(1, len(reverse)):
        while k and reverse[i] != reverse[k]:
            k = border[k - 1]
        if reverse[i] == reverse[k]:
            k += 1
        border[i] = k
        length = i + 1
        if k and length >= 160:
            best = max(best, length // (length - k))
    return best
