"""What an answer is worth to a search, and what GEPA is told about it: our scorer, and nothing else.

Pure. An answer that never came is not judged here: it is asked for again (see `asking`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audioreason.answers import RawResponse, Score, score
from audioreason.items import Item
from audioreason.optimize.config import OptimizeConfig
from audioreason.optimize.shapes import AnswerRecord

_CHARACTERS_A_TOKEN = 4  # where a server does not count
_QUOTED = 600


@dataclass(frozen=True)
class Judged:
    """An answer with its scores and what the metric makes of it, 0 to 1."""

    item: Item
    answer: AnswerRecord
    score: Score
    value: float


def judge(item: Item, answer: AnswerRecord, sections: Sequence[str], config: OptimizeConfig) -> Judged:
    """Score one answer by the search's metric.

    `weighted` is strict x (1 - format_weight x (format broken) - length_weight x min(1, tokens / longest)),
    so a wrong answer is worth nothing however short it is.
    """
    raw = RawResponse(answer.content, answer.reasoning, answer.finish_reason)
    found = score(raw, choices=item.choices, answer=item.answer, gold=item.gold, expected_sections=sections)
    if config.metric == "official":
        value = float(bool(found.official))
    elif config.metric == "strict":
        value = float(bool(found.strict))
    else:
        value = float(bool(found.strict)) * (
            1.0
            - config.format_weight * (not found.parsed.format_ok)
            - config.length_weight * min(1.0, _tokens(answer) / config.length_tokens)
        )
    return Judged(item, answer, found, value)


def feedback(judged: Judged, tell_gold: bool) -> str:
    """What a proposer reads about one answer: outcome, what was heard and chosen, and the right choice.

    `tell_gold` is for train items only: a dev item's right choice must not reach a proposer.
    """
    item, found = judged.item, judged.score
    choice = found.resolution.index
    lines = [f"Outcome: {found.outcome.replace('_', ' ')} (score {judged.value:.2f})."]
    lines.append(
        f'The answer was taken as "{item.choices[choice]}".'
        if choice is not None
        else "No single option could be read from the answer."
    )
    if heard := found.parsed.sections.get("HEARD"):
        lines.append(f'It says it heard: "{_short(heard)}".')
    if not found.parsed.format_ok:
        lines.append("The sections that the prompt asks for are missing or out of order.")
    if tell_gold:
        lines.append(f'The right option is "{item.answer}".')
    return " ".join(lines)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _QUOTED else text[:_QUOTED] + " ..."


def _tokens(answer: AnswerRecord) -> float:
    if answer.completion_tokens is not None:
        return answer.completion_tokens
    return (len(answer.content or "") + len(answer.reasoning or "")) / _CHARACTERS_A_TOKEN
