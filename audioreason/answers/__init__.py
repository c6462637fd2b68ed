"""Raw text -> think / HEARD / ANALYSIS / ANSWER -> one choice -> scored. Pure functions.

`parse` takes a response apart, `resolve` finds the choice it states, `official` is the published match,
`score` puts them together. Knows nothing about runs or items beyond their choices.
"""

from audioreason.answers.objects import last_object
from audioreason.answers.official import official_match
from audioreason.answers.reading import Reading, Resolution, read, resolve
from audioreason.answers.reply import SECTIONS, Parsed, RawResponse, is_looped, parse, split_sections
from audioreason.answers.score import OUTCOMES, SCORER_VERSION, Outcome, Score, score

__all__ = [
    "OUTCOMES",
    "SCORER_VERSION",
    "SECTIONS",
    "Outcome",
    "Parsed",
    "RawResponse",
    "Reading",
    "Resolution",
    "Score",
    "is_looped",
    "last_object",
    "official_match",
    "parse",
    "read",
    "resolve",
    "score",
    "split_sections",
]
