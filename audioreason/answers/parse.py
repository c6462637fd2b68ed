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
_CUT = ("length", "max_tokens", "abort", "stopped")  # finish reasons of servers, and of our own stop button
_TAIL = 40_000  # characters in which a loop is looked for


@dataclass(frozen=True)
class RawResponse:
    """What an endpoint returned for one sample, untouched."""

    content: str | None
    reasoning: str | None = None
    finish_reason: str | None = None


@dataclass(frozen=True)
class Parsed:
    """A response taken apart. `visible` is what stands outside the thinking, `answer` the text to resolve
    ("" if none was stated).
    """

    thinking: str
    visible: str = ""
    sections: dict[str, str] = field(default_factory=dict)
    answer: str = ""
    explicit: bool = False  # the answer stood behind a marker such as "ANSWER:" or \boxed
    truncated: bool = False
    looped: bool = False
    refused: bool = False
    format_ok: bool = True


_THINK = re.compile(r"<(?P<close>/?)think(?:ing)?>", re.IGNORECASE)

# one heading at the start of a line: "HEARD:", "**Heard**", "## HEARD", "[HEARD]", "<heard>", "1. HEARD -"
_HEADING = (
    r"^[ \t]{{0,8}}(?:[-*•>][ \t]{{1,3}})?(?:#{{1,6}}[ \t]{{0,3}})?"  # a bullet, a Markdown heading
    r"(?:(?:step[ \t])?\d{{1,2}}[.):][ \t]{{0,3}})?"  # "1." or "Step 1:"
    r"(?P<open><|\[|\*{{1,3}}|_{{1,2}}|【)?[ \t]{{0,2}}(?:\d{{1,2}}[.):][ \t]{{0,3}})?"
    r"(?P<name>{names})[ \t]{{0,2}}"
    r"(?P<after>:?\*{{1,3}}:?|:?_{{1,2}}:?|>:?|\]:?|】:?|[:：]|[ \t]?[-–—](?=\s)|(?=[ \t]*$))"
)
_FINAL = re.compile(
    r"(?:\b(?:the|my|final|correct|best|right) (?:correct |best |right )?(?:answer|option|choice)"
    r"(?: is\b|(?=\s?[:：]))|\bfinal answer|\banswer\s?(?:is\b|=|(?=[:：]))|答案(?:是|为)?)"
    r"[ \t]{0,3}[:：]?[ \t]{0,3}(?P<text>[^\n]{1,2000})",
    re.IGNORECASE,
)
_BOXED = re.compile(r"\\boxed\{(?:\\text\{)?(?P<text>[^{}\n]{1,500})\}")
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)"
    r"|i (?:can(?:no|')t|cannot|could not|couldn't|am unable to|do not have the ability to)"
    r" (?:hear|listen|process|access|analy[sz]e|determine|help|assist|answer|play)|as an ai\b"
    r"|no audio (?:clip |file |input )?(?:was|is|has been|seems to be) (?:provided|attached|included|given)"
    r"|(?:please )?(?:provide|upload|attach|share) the audio)"
    r"|(?:无法|不能)(?:听|播放|处理|访问|分析|回答)|抱歉",
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

    # A thought that never closed (some servers then put all of it into the reasoning field): a model that
    # ended by itself may have answered inside it; one that was cut short only drafts there.
    cut = raw.finish_reason in _CUT
    open_ended = not visible.strip() and (unclosed or bool(raw.reasoning and not content.strip()))
    source = thinking if open_ended and not cut else visible
    sections = split_sections(source, names)
    stated = _stated_answer(source, sections)
    truncated = cut or (open_ended and stated is None)
    answer = stated if stated is not None else _unmarked_answer(visible, sections)
    if truncated and stated is None:
        answer = ""  # half a text is no statement: what it mentions so far is not what it would have said
    return Parsed(
        thinking=thinking,
        visible=visible.strip(),
        sections=sections,
        answer=answer,
        explicit=stated is not None,
        truncated=truncated,
        looped=is_looped(content if content.strip() else thinking),
        refused=bool(_REFUSAL.search(source[:4000].replace("\u2019", "'"))),
        format_ok=_in_order(sections, expected_sections),
    )


def split_sections(text: str, names: Sequence[str] = SECTIONS) -> dict[str, str]:
    """Sections of a text by upper-case name, in order of appearance; a repeated one keeps its last text.

    A heading begins a line; one that never does may stand inside a line, beside others, in capitals and
    before a colon. Text before the first heading is dropped.
    """
    pattern = re.compile(
        _HEADING.format(names="|".join(re.escape(n) for n in [*names, "FINAL ANSWER"])),
        re.IGNORECASE | re.MULTILINE | re.ASCII,  # ASCII: else a dotted capital I would spell another name
    )
    found = [match for match in pattern.finditer(text) if _is_heading(match, text)]
    missing = {name.upper() for name in names} - {_name_of(match) for match in found}
    if missing:
        inline = list(_inline(tuple(sorted(missing))).finditer(text))
        if len({_name_of(match) for match in (*found, *inline)}) > 1:  # alone it may be part of a sentence
            found = sorted((*found, *inline), key=lambda match: match.start())
    sections: dict[str, str] = {}
    for i, match in enumerate(found):
        name = _name_of(match)
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


def _split_thinking(content: str) -> tuple[str, str, bool]:
    """(thinking, visible, whether a block was left open) of a content with `<think>` tags anywhere."""
    thoughts: list[str] = []
    visible: list[str] = []
    inside, position = False, 0
    for tag in _THINK.finditer(content):
        before = content[position : tag.start()]
        if tag["close"]:
            # a closing tag before any opening one: the chat template opened the block
            if inside or not thoughts:
                thoughts.append(before if inside else "".join([*visible, before]))
                visible = visible if inside else []
            else:
                visible.append(before)
        else:
            (thoughts if inside else visible).append(before)
        inside, position = not tag["close"], tag.end()
    (thoughts if inside else visible).append(content[position:])
    return _join(thoughts), "".join(visible), inside


def _join(parts: list[str]) -> str:
    return "\n\n".join(part.strip() for part in parts if part.strip())


def _inline(names: tuple[str, ...]) -> re.Pattern[str]:
    any_name = "|".join(map(re.escape, names))
    return re.compile(rf"(?<=[\s.!?;,)\]*])(?P<name>{any_name})(?:\*{{1,3}}[:：]|[:：]\*{{0,3}})")


def _name_of(heading: re.Match[str]) -> str:
    return heading["name"].upper().removeprefix("FINAL ")


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


def _unmarked_answer(visible: str, sections: dict[str, str]) -> str:
    """What may state the answer where nothing marks it: all of it, or the line that the sections end with."""
    if not sections:
        return visible.strip()
    name, body = list(sections.items())[-1]
    return "" if name == "HEARD" or not body else body.splitlines()[-1].strip()


def _in_order(sections: dict[str, str], expected: Sequence[str]) -> bool:
    wanted = [name.upper() for name in expected]
    return [name for name in sections if name in wanted and sections[name]] == wanted
