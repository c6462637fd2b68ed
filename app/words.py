"""Small words for the screen: when something was, how long it took, how good it was. Pure text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from audioreason.wording import counted


def when(moment: datetime | str, now: datetime | None = None) -> str:
    """A moment as people say it: 14:05 today, yesterday, 11 Nov, or 11 Nov 2025 in another year."""
    moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    now = (now or datetime.now(UTC)).astimezone()
    local = moment.astimezone()
    days = (now.date() - local.date()).days
    if days == 0:
        return f"{local:%H:%M}"
    if days == 1:
        return "yesterday"
    return f"{local.day} {local:%b}" + ("" if local.year == now.year else f" {local.year}")


def tokens(count: int, estimated: bool = False) -> str:
    """How long an answer was; "about" where nobody counted it alone (the words of `audioreason show`)."""
    return f"{'about ' if estimated else ''}{counted(count, 'token')}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 0.41 s, 12 s, 2 m 05."""
    if seconds < 9.95:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d}" if hours else f"{minutes} m {rest:02d}"


# how a choice was read from a reply, by the reader's rule (docs/reading-answers.md)
_RULES: Mapping[str, str] = {
    "exact": "its exact text",
    "normalised": "its text",
    "contained": "its text inside a sentence",
    "lettered_text": "its letter and text",
    "letter": "its letter",
    "quoted": "the words in bold",
    "ticked": "the option that is ticked",
    "cut": "the beginning of its text",
    "words": "its words in another order",
    "spread": "its words with others between",
    "stem": "a word of the same stem",
    "fuzzy": "its text, misspelt",
    "number": "its number",
    "ordinal": "its place in the list",
    "special": "none, all or both of the choices",
    "polarity": "a yes or a no",
    "opposite": "a negated opposite",
    "none": "no choice is stated",
    "ambiguous": "more than one choice is stated",
    "conflict": "letter and text disagree",
    "denied": "choices are only denied",
    "declined": "the reply declines to choose",
}
_STATE_NOTHING = ("none", "ambiguous", "conflict", "denied", "declined")


def rule_words(rule: str) -> str:
    """The rule by which a choice was read, or why none was, as words."""
    return _RULES.get(rule, f"“{rule.replace('_', ' ')}”")


def read_by(rule: str) -> str:
    """What a mark on the words that were read says."""
    words = rule_words(rule)
    return (
        f"No choice was read: {words}" if rule in _STATE_NOTHING else f"The choice was read here, by {words}"
    )
