"""Many ways of asking the same question, and the answer that each way asks for.

The Pocket Listener must follow an edited prompt, so it is trained on paraphrases, reordered and missing
lines, and on the shipped templates in exact and edited form. What a prompt asks for is read off its text by
one rule (`wanted`), so an edit that removes the request for sections also removes the sections from the
answer it is trained on. Knows nothing about sound or tokens.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from audioreason.train import _pocket_phrases as phrases
from audioreason.workspace import shipped

if TYPE_CHECKING:
    from audioreason.items.schema import Item
    from audioreason.prompts import Prompt

SECTIONS = ("HEARD", "ANALYSIS", "ANSWER")

_SECTION = re.compile(r"\b(HEARD|ANALYSIS|ANSWER)\b")
_THINK = re.compile(
    r"step[ -]by[ -]step|<think>|chain of thought|think (?:before|first|aloud)|reason (?:before|first)", re.I
)
_PROSE = re.compile(
    r"last line|line of its own|a few (?:short )?(?:lines|sentences)|"
    r"reason briefly|briefly (?:reason|explain)|"
    r"explain (?:your|why|briefly|how)|(?:give|state|show) your reasons?",
    re.I,
)
_TYPE = re.compile(r"(?:name|state|say|give|decide) (?:the|its|which) (?:question )?type", re.I)
_LETTER = re.compile(r"\b(?:the|a|its|one|only|single|by|with) letter\b", re.I)


@dataclass(frozen=True)
class Ask:
    """One rendered prompt."""

    system: str
    user: str


@dataclass(frozen=True)
class Wanted:
    """What a prompt asks for, in the order of precedence; nothing of all that: the choice alone.

    sections: named sections. thinks: thoughts in `<think>`, then the choice. prose: a reason, and the
    choice on a last line of its own; `names_type` puts the question's type before it. letter: the choice's
    letter for its text.
    """

    sections: tuple[str, ...] = ()
    thinks: bool = False
    prose: bool = False
    names_type: bool = False
    letter: bool = False

    @property
    def explains(self) -> bool:
        """Whether more than the choice is asked for."""
        return self.thinks or self.prose or len(self.sections) > 1


def wanted(ask: Ask, question: str = "", choices: Sequence[str] = ()) -> Wanted:
    """Read off a prompt's text what its answer must look like; the question and choices do not count."""
    text = f"{ask.system}\n{ask.user}"
    for quoted in (question, *choices):
        if quoted.strip():
            text = text.replace(quoted, " ")
    named = set(_SECTION.findall(text))
    sections = tuple(name for name in SECTIONS if name in named)
    explains = bool({"HEARD", "ANALYSIS"} & named)
    if explains and "ANSWER" not in named:
        sections = (*sections, "ANSWER")
    thinks = bool(_THINK.search(text)) and not explains
    prose = bool(_PROSE.search(text)) and not explains and not thinks
    names_type = prose and bool(_TYPE.search(text))
    return Wanted(sections, thinks, prose, names_type, bool(_LETTER.search(text)))


def shipped_prompts() -> tuple[Prompt, ...]:
    """The templates that came with the lab; none if it came without."""
    if not shipped("prompts").is_dir():
        return ()
    from audioreason.prompts import list_prompts

    return tuple(list_prompts(()))


def ask(rng: Random, item: Item, explain: bool, prompts: Sequence[Prompt] = ()) -> Ask:
    """One way of asking an item's question.

    Args:
        rng: decides everything.
        item: whose question and choices are asked.
        explain: whether to ask for sections or thoughts (an edit may lose the request).
        prompts: shipped templates to draw from, now and then.
    """
    fitting = [prompt for prompt in prompts if _template_wants(prompt).explains == explain]
    if fitting and rng.random() < (0.4 if explain else 0.15):
        shares = [3 if len(_template_wants(prompt).sections) > 1 else 1 for prompt in fitting]
        asked = render_prompt(rng.choices(fitting, shares)[0], item)
        edit_share = 0.5
    else:
        asked = _composed(rng, item, explain)
        edit_share = 0.3
    return edited(rng, asked, (item.question, *item.choices)) if rng.random() < edit_share else asked


def _template_wants(prompt: Prompt) -> Wanted:
    return _wanted_of_template(Ask(prompt.system, prompt.user))


@functools.lru_cache(maxsize=64)
def _wanted_of_template(template: Ask) -> Wanted:
    return wanted(template)


def render_prompt(prompt: Prompt, item: Item) -> Ask:
    """A shipped template with an item's question, as the lab renders it."""
    from audioreason.prompts import render

    rendered = render(
        prompt,
        question=item.question,
        choices=list(item.choices),
        language=item.language,
        modality=item.modality,
    )
    return Ask(rendered.system, rendered.user)


def edited(rng: Random, asked: Ask, protected: Sequence[str]) -> Ask:
    """The prompt as a researcher might edit it: sentences lost, moved, reworded, added; not `protected`."""
    return Ask(_edit(rng, asked.system, protected, 0.3), _edit(rng, asked.user, protected, 0.25))


def _edit(rng: Random, text: str, protected: Sequence[str], share: float) -> str:
    lines = text.split("\n")
    free = [i for i, line in enumerate(lines) if line.strip() and not _holds(line, protected)]
    for index in free:
        line = lines[index]
        sentences = re.split(r"(?<=[.!?]) +", line)
        if rng.random() < share:
            kept = [sentence for sentence in sentences if rng.random() < 0.6]
            rng.shuffle(kept)
            line = " ".join(kept)
        for word, others in phrases.SYNONYMS.items():
            if rng.random() < 0.3:
                line = re.sub(rf"\b{word}\b", rng.choice(others), line)
        if rng.random() < 0.04:
            line = line.lower()
        if rng.random() < 0.04:
            line = _mistyped(rng, line)
        lines[index] = line
    if len(free) > 1 and rng.random() < 0.15:
        order = free[:]
        rng.shuffle(order)
        moved = [lines[i] for i in order]
        for index, line in zip(free, moved, strict=True):
            lines[index] = line
    if rng.random() < 0.35:
        lines.insert(rng.choice((0, len(lines))), _remark(rng))
    if rng.random() < 0.2:
        lines = [line for line in lines if line.strip()]
    return "\n".join(lines).strip("\n")


def _holds(line: str, protected: Sequence[str]) -> bool:
    return any(part.strip() and (part.strip() in line or line.strip() in part) for part in protected)


def _mistyped(rng: Random, line: str) -> str:
    if len(line) < 4:
        return line
    at = rng.randrange(1, len(line) - 2)
    return rng.choice((line[:at] + line[at + 1 :], line[:at] + line[at + 1] + line[at] + line[at + 2 :]))


def _remark(rng: Random) -> str:
    """A sentence that asks for nothing, sometimes of words that make no sense together."""
    if rng.random() < 0.5:
        return rng.choice(phrases.REMARKS)
    words = [rng.choice(phrases.WORDS) for _ in range(rng.randint(3, 12))]
    return " ".join(words).capitalize() + rng.choice((".", "!", ":", "", " ..."))


def _composed(rng: Random, item: Item, explain: bool) -> Ask:
    listed = rng.random() < 0.85
    style = rng.choice(phrases.LETTERED if listed else phrases.PLAIN)
    lines = [style.format(letter="ABCDEFGHIJ"[i % 10], text=text) for i, text in enumerate(item.choices)]
    if style in phrases.PLAIN and rng.random() < 0.5:
        joint = rng.choice((", ", " | ", " / ", "; "))
        block = joint.join(item.choices)
    else:
        block = rng.choice(("\n", "\n", "\n", "\n", " ", "  ")).join(lines)
    request = _request(rng, explain, listed)
    system: list[str] = []
    if rng.random() < 0.75:
        system.append(rng.choice(phrases.ROLES))
    if rng.random() < 0.25:
        system.append(rng.choice(phrases.REMARKS))
    question = rng.choice(("", "", "", "Question: ", "Q: ", "### Question\n", "Question:\n")) + item.question
    header = rng.choice(
        ("", "", "Choices:\n", "Options:\n", "Choices: ", "Possible answers:\n", "Choose from: ")
    )
    body = [question, header + block]
    if rng.random() < 0.08:
        body.reverse()
    where = rng.random()
    if where < 0.35:
        system.insert(rng.choice((0, len(system))), request)
    elif where < 0.45:
        body.insert(0, request)
    else:
        body.append(request)
    if rng.random() < 0.3:
        body.insert(0, rng.choice(phrases.OPENINGS))
    if rng.random() < 0.1:
        body.append(rng.choice(phrases.CLOSINGS))
    gap = rng.choice(("\n", "\n\n"))
    return Ask(rng.choice(("\n", " ", "\n\n")).join(system), gap.join(part for part in body if part))


def _request(rng: Random, explain: bool, listed: bool) -> str:
    if not explain:
        chance = rng.random()
        if chance < 0.22:
            return ""
        if chance < 0.62:
            return rng.choice(phrases.DIRECT)
        if chance < 0.82 or not listed:
            return rng.choice(phrases.MARKED)
        return rng.choice(phrases.LETTER_ONLY)
    chance = rng.random()
    if chance < 0.2:
        return (
            rng.choice(phrases.TYPES) + " " + rng.choice(phrases.REASONS)
            if rng.random() < 0.25
            else rng.choice(phrases.REASONS)
        )
    if chance < 0.4:
        return rng.choice(phrases.STEPS) + (
            " " + rng.choice((*phrases.DIRECT, *phrases.MARKED)) if rng.random() < 0.5 else ""
        )
    if rng.random() < 0.45:
        return rng.choice(phrases.STRUCTURED)
    parts = [f"HEARD{rng.choice((':', ' -', ':'))} {rng.choice(phrases.HEARD)}",
             f"ANALYSIS{rng.choice((':', ' -', ':'))} {rng.choice(phrases.ANALYSIS)}",
             f"ANSWER{rng.choice((':', ' -', ':'))} {rng.choice(phrases.ANSWER)}"]  # fmt: skip
    opening = rng.choice(phrases.FORMATS)
    return opening + rng.choice(("\n", "\n", " ")).join(parts)


def answer_text(rng: Random, item: Item, chosen: int, want: Wanted, silent: bool) -> str:
    """The answer that a prompt wants, from what is known by construction; deterministic apart from `rng`."""
    final = "ABCDEFGHIJ"[chosen % 10] if want.letter else item.choices[chosen]
    heard = "nothing but silence." if silent else describe_events(item)
    analysis = "There is nothing to go by, so this is a guess." if silent else one_line(item.thinking or "")
    if want.thinks:
        thoughts = f"<think>\n{heard} {analysis}\n</think>\n\n"
        return thoughts + (f"ANSWER: {final}" if want.sections else final)
    if want.prose:
        start = f"{one_line(item.subcategory or 'General')}\n" if want.names_type else ""
        return f"{start}{heard} {analysis}\n" + (f"ANSWER: {final}" if want.sections else final)
    if not want.sections:
        return final
    parts = {"HEARD": heard, "ANALYSIS": analysis, "ANSWER": final}
    return "\n".join(f"{name}: {parts[name]}" for name in want.sections)


def describe_events(item: Item, most: int = 16) -> str:
    """What is in the clip, in order, with times to a tenth of a second: `0.4-0.9s dog bark; 1.2-1.5s beep.`

    Of more than eight events only the starts are told: `0.4s beat; 0.9s beat; ...`.
    """
    events = sorted(item.events, key=lambda event: (event.start, event.end))
    if not events:
        return one_line(" ".join(item.cue)) or "one continuous sound."
    times = "{0.start:.1f}-{0.end:.1f}s" if len(events) <= 8 else "{0.start:.1f}s"
    told = [f"{times.format(event)} {one_line(event.label)}" for event in events[:most]]
    return "; ".join(told) + ("; and more." if len(events) > most else ".")


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())
