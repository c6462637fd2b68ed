"""Raw text -> think / HEARD / ANALYSIS / ANSWER -> one choice -> scored. Pure functions.

`parse` takes a response apart, `resolve` finds the choice it states, `official` is the published match,
`score` puts them together. Knows nothing about runs or items beyond their choices.

The reader is loaded when something of it is first used: compiling its patterns takes longer than most
commands do, and a list of runs needs none of them.
"""

import importlib
from typing import TYPE_CHECKING, Any

# raise when a change of the reader or of score can change a stored score: derived files carry it
SCORER_VERSION = "3"

if TYPE_CHECKING:
    from audioreason.answers.objects import last_object
    from audioreason.answers.official import official_match
    from audioreason.answers.reading import Reading, Resolution, read, resolve
    from audioreason.answers.reply import SECTIONS, Parsed, RawResponse, is_looped, parse, split_sections
    from audioreason.answers.scoring import OUTCOMES, Outcome, Score, score

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

_MODULES = ("objects", "official", "reading", "reply", "scoring")


def __getattr__(name: str) -> Any:
    """A name of `__all__`, from the module that defines it."""
    if name in __all__:
        for module in _MODULES:
            found = vars(importlib.import_module(f"{__name__}.{module}")).get(name)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
