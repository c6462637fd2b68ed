"""Stage 1: what a model thought, told from what it said. Pure, and linear in the text.

Knows the marks of every family that thinks aloud, closed, unclosed, doubled or opened by the chat template,
and the control tokens that servers leak.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

# names of tags: <think>, [THINK], ◁think▷, <|thinking|>, <seed:think>
_NAMES = (
    r"(?:seed:|mm:|ant|longcat_|my)?think(?:ing|_process|_fast|_slow)?|thoughts?|thought_process"
    r"|reason(?:ing)?|scratch_?pad|reflection|rationale|cot|chain_of_thought|inner_(?:monologue|thoughts?)"
    r"|internal_(?:monologue|thoughts?)|monologue|planning"
)
_MARK = re.compile(
    rf"""
    (?=[<\[◁AHT\n])(?:
    <(?P<close>/)?(?P<name>{_NAMES})(?:\s[^<>]{{0,40}})?>
    | \[(?P<close2>/)?(?P<name2>think(?:ing)?|thought|reasoning)\]
    | ◁(?P<close3>/)?(?P<name3>think(?:ing)?)▷
    | <\|(?P<close4>/)?(?P<name4>think(?:ing)?|thought|reasoning)\|>
    | <\|(?P<side>begin|start|end)_(?:of_)?(?P<name5>thought|think(?:ing)?|reasoning)\|>
    | (?P<inner><\|inner_(?:prefix|suffix)\|>)
    | (?P<channel><\|channel\|>\s*(?P<what>[a-z]+)[^<]{{0,60}}<\|message\|>)
    | (?P<turn><\|(?:end|return|call)\|>)
    | (?P<gemma><\|channel>\s*(?:thought|analysis)\b|<channel\|>)
    | (?P<unused><unused94>(?:thought)?|<unused95>)
    | (?P<bare>\Aanalysis(?=[\s\S]*assistantfinal)|assistantfinal)
    | (?P<ollama>\AThinking\.\.\.\s|\n\.\.\.done\ thinking\.)
    | (?P<granite>\AHere\ is\ my\ thought\ process:|\bHere\ is\ my\ response:)
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_CONTROL = re.compile(
    r"(?=[<\[])(?:<\|(?!/?(?:begin|end)_of_box)[^|<>\n]{1,40}\|>(?:\s?(?:assistant|model)\b(?=\s*(?:\n|<\|"
    r"|\Z)))?"
    r"|<｜[^｜<>\n]{1,40}｜>|</?s>|<(?:bos|eos|pad|unk|mask|sep|cls)>"
    r"|<(?:start|end)_of_(?:turn|text|image|audio)>(?:model\b)?|\[/?INST\]|<</?SYS>>"
    r"|<unused\d{1,3}>|<0x0A>|<\|turn>(?:model\b)?|<turn\|>)",
    re.IGNORECASE,
)
# a role's name that a chat template left at an end of the text
_ROLE = re.compile(
    r"\A\s*(?:assistant|model)[ \t]*:?[ \t]*\n|\n\s*(?:model|assistant|user)\s*\Z", re.IGNORECASE
)
# the model goes on to write the user's next turn: none of that is its answer
_USER_TURN = re.compile(
    r"<\|(?:im_start|start|start_header_id|header_start)\|>\s*user\b|<start_of_turn>user\b|<\|user\|>"
    r"|<｜User｜>|<\|turn>user\b|\n\s*\[INST\]"
    r"|(?:\n|\|>)(?:Human|User|### (?:Human|User|Instruction)):",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Visible:
    """What stands outside the thoughts, and where in the raw text: `spans` are its pieces there."""

    text: str
    spans: tuple[tuple[int, int], ...]

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Where the characters [start, end) stand in the raw text."""
        return self._raw(start, last=False), self._raw(end, last=True)

    def _raw(self, position: int, *, last: bool) -> int:
        starts = [0]
        for span in self.spans:
            starts.append(starts[-1] + span[1] - span[0])
        if not self.spans:
            return 0
        piece = bisect_right(starts, position - (1 if last and position else 0)) - 1
        piece = min(piece, len(self.spans) - 1)
        return self.spans[piece][0] + position - starts[piece]


@dataclass(frozen=True, slots=True)
class Thoughts:
    """A raw text taken apart; `unclosed` says that it ends inside a thought, whose text is `open_thought`."""

    thinking: str
    visible: Visible
    unclosed: bool
    last_thought: tuple[int, int] | None = None  # where it stands in the raw text


def split_thoughts(content: str) -> Thoughts:
    """Tell what a model thought from what it said; never raises."""
    thoughts: list[tuple[int, int]] = []
    spoken: list[tuple[int, int]] = []
    position, inside, depth = 0, "", 0
    marks = list(_MARK.finditer(content)) if _may_think(content) else []
    sides = [_side(mark) for mark in marks]
    for i, mark in enumerate(marks):
        opens, name = sides[i]
        if not inside and (opens is None or name == "turn"):
            continue
        if inside and opens:
            if name == inside:
                thoughts.append((position, mark.start()))
                position, depth = mark.end(), depth + 1
            continue
        if inside and name != inside and not (name == "turn" and inside == "channel"):
            # another family's closing mark: it closes this one only if nothing better follows
            if name == "turn" or _closed_later(sides, i, inside) or _opened_before(sides, i, name):
                continue
            depth = 0
        if opens:
            spoken.append((position, mark.start()))
            inside, depth = name, 1
        elif inside:
            depth -= 1
            thoughts.append((position, mark.start()))
            position = mark.end()
            if depth > 0 and _next_closes(sides, i, inside):
                continue
            inside = ""
        elif not thoughts and name != "channel":  # the chat template opened the block
            thoughts.append((0, mark.start()))
            spoken = []
        else:
            spoken.append((position, mark.start()))
        position = mark.end()
    (thoughts if inside else spoken).append((position, len(content)))
    thinking = "\n\n".join(text for span in thoughts if (text := content[slice(*span)].strip()))
    return Thoughts(
        thinking, _without_control(content, spoken), bool(inside), thoughts[-1] if thoughts else None
    )


def without_control(content: str) -> Visible:
    """A text without leaked control tokens, as `split_thoughts` leaves it."""
    return _without_control(content, [(0, len(content))])


def _side(mark: re.Match[str]) -> tuple[bool | None, str]:
    """(whether it opens a thought, the family's name) of a mark; None if it does neither by itself."""
    if mark["channel"]:
        return mark["what"].lower() != "final", "channel"
    if mark["turn"]:
        return False, "turn"
    if mark["gemma"]:
        return mark[0].startswith("<|"), "gemma"
    if mark["unused"]:
        return "94" in mark[0], "unused"
    if mark["inner"]:
        return "prefix" in mark[0].lower(), "inner"
    if mark["bare"]:
        return mark[0].lower() == "analysis", "bare"
    if mark["ollama"]:
        return "done" not in mark[0].lower(), "ollama"
    if mark["granite"]:
        return "thought" in mark[0].lower(), "granite"
    if mark["name5"]:
        return mark["side"].lower() != "end", mark["name5"].lower()
    name = mark["name"] or mark["name2"] or mark["name3"] or mark["name4"]
    return not (mark["close"] or mark["close2"] or mark["close3"] or mark["close4"]), name.lower()


def _closed_later(sides: Sequence[tuple[bool | None, str]], i: int, name: str) -> bool:
    return any(not opens and other == name for opens, other in sides[i + 1 : i + 64])


def _opened_before(sides: Sequence[tuple[bool | None, str]], i: int, name: str) -> bool:
    return any(opens and other == name for opens, other in sides[max(0, i - 64) : i])


def _next_closes(sides: Sequence[tuple[bool | None, str]], i: int, name: str) -> bool:
    """Whether the next mark of this family closes: the block was opened twice and is closed twice."""
    return next((not opens for opens, other in sides[i + 1 : i + 64] if other == name), False)


def _without_control(content: str, spans: Sequence[tuple[int, int]]) -> Visible:
    kept: list[tuple[int, int]] = []
    user = None
    if any(word in content for word in ("user", "User", "Human", "INST")):
        user = _USER_TURN.search(content, spans[0][0] if spans else 0)
    for start, end in spans:
        if user and user.start() >= start and content[start : user.start()].strip() and user.start() < end:
            end = user.start()
        position = start
        text = content[start:end]
        for token in _control_tokens(text):
            kept.append((position, max(position, start + token.start())))
            position = max(position, start + token.end())
        kept.append((position, end))
        if user and end == user.start():
            break
    kept = [span for span in kept if span[0] < span[1]]
    return Visible("".join(content[slice(*span)] for span in kept), tuple(kept))


def _may_think(content: str) -> bool:
    return any(sign in content for sign in "<[◁") or content[:8].lower() in (
        "analysis",
        "thinking",
        "here is ",
    )


def _control_tokens(text: str) -> list[re.Match[str]]:
    found = list(_CONTROL.finditer(text)) if "<" in text or "[" in text else []
    edges = f"{text[:24]}\n{text[-24:]}".casefold()
    if "assistant" in edges or "model" in edges or "user" in edges:
        found += _ROLE.finditer(text)
        found.sort(key=lambda token: token.start())
    return found
