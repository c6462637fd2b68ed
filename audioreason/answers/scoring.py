"""One response -> a choice, two scores and an outcome; stored responses score again without inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from audioreason.answers.official import official_match
from audioreason.answers.reading import Resolution, read
from audioreason.answers.reply import Parsed, RawResponse

Outcome = Literal[
    "correct", "wrong", "unresolved", "truncated", "looped", "refused", "format_broken", "server_error"
]
OUTCOMES: tuple[Outcome, ...] = (
    "correct",
    "wrong",
    "unresolved",
    "truncated",
    "looped",
    "refused",
    "format_broken",
    "server_error",
)


@dataclass(frozen=True)
class Score:
    """What became of one prediction; `strict` and `official` are None without an answer or without gold.

    `format_broken` says that the sections the prompt asked for are not there, although the choice is clear:
    it still has its scores. Without gold a clear choice has outcome "wrong" and no score.
    """

    parsed: Parsed
    resolution: Resolution
    strict: bool | None
    official: bool | None
    outcome: Outcome


def score(
    raw: RawResponse | None,
    *,
    choices: Sequence[str],
    answer: str,
    gold: int | None,
    expected_sections: Sequence[str] = (),
    error: str | None = None,
) -> Score:
    """Score a response against `gold` (index of the right choice; None if it is not among them).

    An `error` is the server's fault: outcome server_error, and no score at all.
    """
    if error is not None or raw is None:
        return Score(Parsed(thinking=""), Resolution(None, "none"), None, None, "server_error")
    reading = read(raw, choices, expected_sections)
    parsed, resolution = reading.parsed, reading.resolution
    strict = None if gold is None else resolution.index == gold
    official = None if gold is None else official_match(parsed.answer, answer, choices)
    return Score(parsed, resolution, strict, official, _outcome(parsed, resolution, gold))


def _outcome(parsed: Parsed, resolution: Resolution, gold: int | None) -> Outcome:
    if resolution.index is not None:
        if not parsed.format_ok:
            return "format_broken"
        return "correct" if resolution.index == gold else "wrong"
    if parsed.looped:
        return "looped"
    if parsed.truncated:
        return "truncated"
    return "refused" if parsed.refused else "unresolved"
