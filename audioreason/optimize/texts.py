"""Candidate to prompt: what an optimiser writes becomes a template that renders, or is kept as plain text.

DSPy edits instruction texts; we deploy Jinja templates. A proposed text that is no template of ours (stray
braces) is escaped, a user text without question or options gets the seed's behind it, and demos become text
at the end of the system text. So what is tried is byte for byte what is saved. Knows nothing about DSPy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audioreason.errors import PromptError
from audioreason.items import Item
from audioreason.prompts import REVEALING, Prompt, check, letter
from audioreason.runs.rendering import render_for

NO_SYSTEM = "Answer the question about the audio clip."  # what the optimiser sees of an empty system text
LONGEST = 20_000  # characters of a proposed text
_OPENING = re.compile(r"\{(?=[{%#])")
_DEMOS = "Worked examples follow; the clips they are about are not played."


@dataclass(frozen=True)
class Made:
    """A prompt made from what an optimiser wrote; `note` says what was changed about it."""

    prompt: Prompt
    note: str


class Texts:
    """Makes prompts from instructions.

    Args:
        seed: where the search begins.
        both: whether the user text is optimised too.
        items: some items that every prompt must render for.
    """

    def __init__(self, seed: Prompt, both: bool, items: Sequence[Item]) -> None:
        self.seed = seed
        self.both = both
        self._items = items

    @property
    def system(self) -> str:
        """The instruction that stands for the seed's system text."""
        return self.seed.system if self.seed.system.strip() else NO_SYSTEM

    @property
    def user(self) -> str:
        """The instruction that stands for the seed's user text."""
        return self.seed.user

    def make(self, system: str, user: str | None = None, demos: Sequence[Mapping[str, Any]] = ()) -> Made:
        """The prompt for these instructions; the seed's own instructions give the seed's own texts."""
        notes: list[str] = []
        own_system = self.seed.system if system == self.system else self._system(system, notes)
        own_user = self.seed.user
        if self.both and user is not None and user != self.seed.user:
            own_user = self._user(user, notes)
        if demos:
            behind = f"\n\n{_DEMOS}\n\n{escape(_demos_text(demos))}"
            before = own_system.rstrip()
            if not self._renders(self.seed.model_copy(update={"system": before + behind})):
                before = escape(before)
            own_system = (before + behind).lstrip("\n")
        prompt = self.seed.model_copy(update={"system": own_system, "user": own_user})
        return Made(prompt, " ".join(notes))

    def _system(self, text: str, notes: list[str]) -> str:
        text = _cut(text.strip(), notes)
        if self._renders(self.seed.model_copy(update={"system": text})):
            return text
        notes.append("Its braces stand for themselves.")
        return escape(text)

    def _user(self, text: str, notes: list[str]) -> str:
        text = _cut(text.strip(), notes)
        tried = self.seed.model_copy(update={"system": "", "user": text})
        if self._renders(tried) and {"question", "choices"} <= set(check(tried)):
            return text
        notes.append("Its user text lacks question or options, so the seed's follows it.")
        whole = f"{text}\n\n{self.seed.user}"
        # looked at as a whole: an opened comment may be fine at the end of a text and not before another
        if self._renders(self.seed.model_copy(update={"system": "", "user": whole})):
            return whole
        return f"{escape(text)}\n\n{self.seed.user}"

    def _renders(self, prompt: Prompt) -> bool:
        try:
            # a proposal must not learn to read what only the benchmark knows
            if {*REVEALING} & ({*check(prompt)} - {*check(self.seed)}):
                return False
            for item in self._items:
                render_for(prompt, item)
        except PromptError:  # told apart by the caller, who writes a note
            return False
        return True


def escape(text: str) -> str:
    """A template that renders to exactly this text."""
    return _OPENING.sub("{{ '{' }}", text)


def _cut(text: str, notes: list[str]) -> str:
    if len(text) <= LONGEST:
        return text
    notes.append(f"It was cut to {LONGEST:,} characters.")
    return text[:LONGEST]


def _demos_text(demos: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for demo in demos:
        options = "\n".join(f"({letter(n)}) {choice}" for n, choice in enumerate(demo["choices"], 1))
        parts.append(f"Question: {demo['question']}\nOptions:\n{options}\nAnswer:\n{demo['answer']}")
    return "\n\n".join(parts)
