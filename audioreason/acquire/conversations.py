"""AudioSkills' form of a question: a conversation between `human` and `gpt`, choices within the text if any.

    {"id": "a", "sound": "a.wav", "conversations": [
        {"from": "human", "value": "<sound>\\nHow fast is it?\\n(A) Lento\\n(B) Vivace"},
        {"from": "gpt", "value": "(B) Vivace"}]}

Source: nvidia/AudioSkills, and its relatives AF-Think, AF-Chat and LongAudio. Pure: a row in, a row out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from audioreason.errors import ItemError
from audioreason.items.texts import split_choices

COLUMNS = ("sound", "conversations")
_MARKER = re.compile(r"[ \t]*</?(?:sound|audio|speech|music)(?:-?\d+)?>[ \t]*\n?", re.IGNORECASE)
_ANSWER = re.compile(r"\(?([A-Za-z])(?:[).:]+\s*|$)(.*)", re.DOTALL)


def row_of_conversation(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with question, answer, audio_path and, where the text has them, choices.

    The first question and its answer are taken: a later one may mean what was said before it.

    Raises:
        ItemError: if there is no question or no answer, it is about several clips, or the answer is none of
            the choices.
    """
    question = answer = ""
    for turn in row.get("conversations") or ():
        who, value = str(turn.get("from", "")), str(turn.get("value") or "")
        if who in ("human", "user") and not question:
            question = value
        elif who in ("gpt", "assistant") and question:
            answer = value.strip()
            break
    sound = row.get("sound")
    if isinstance(sound, Sequence) and not isinstance(sound, str):
        if len(sound) > 1:
            raise ItemError(f"it is about {len(sound)} clips.", "An item has one.")
        sound = sound[0] if sound else None
    text, choices = split_choices(_MARKER.sub("", question).strip())
    if not text or not answer:
        raise ItemError("it has no question or no answer.")
    rest = {key: value for key, value in row.items() if key not in COLUMNS}
    made = {**rest, "question": text, "answer": answer, "audio_path": sound}
    if choices:
        made |= {"choices": choices, "answer": gold_of(answer, choices)}
    return made


def gold_of(answer: str, choices: Sequence[str]) -> str:
    """The choice that an answer names by its text, its letter, or both.

    Raises:
        ItemError: if it names none, or its letter and its text name different ones.
    """
    plain = [_plain(choice) for choice in choices]
    if plain.count(_plain(answer)) == 1:
        return choices[plain.index(_plain(answer))]
    match = _ANSWER.fullmatch(answer.strip())
    place = ord(match.group(1).upper()) - ord("A") if match else len(choices)
    if match is None or place >= len(choices) or _plain(match.group(2)) not in ("", plain[place]):
        raise ItemError("its answer is none of its choices.")
    return choices[place]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")
