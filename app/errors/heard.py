"""What HEARD makes of the clips' events, for runs where that can be told: read once a run, in the background.

Knows when to ask; the rule, and how far it can be trusted, is `review.cues`.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from app import session
from app.errors import look
from audioreason.errors import LabError
from audioreason.review.cues import CUE_OUTCOMES, Cues, run_cues

_MOST = 20_000  # predictions of a run whose texts are read for a page
_PATIENCE = 0.2  # seconds that a page waits for the first answer

_readers = ThreadPoolExecutor(1, thread_name_prefix="errors-cues")


@dataclass(frozen=True)
class _Read:
    """A run's cue outcomes, and the same by (item id, sample)."""

    cues: Cues
    by_place: Mapping[tuple[str, int], str]


def cues(run: Mapping[str, Any]) -> Cues | None:
    """The cue outcomes of a run, or why there are none; None while they are being read."""
    read = _look(run)
    return None if read is None else read.cues


def counts(found: Cues) -> dict[str, int]:
    """Predictions by cue outcome, those that there are."""
    counted = Counter(row.outcome for row in found.rows)
    return {name: counted[name] for name in CUE_OUTCOMES if counted[name]}


def outcome_of(run: Mapping[str, Any], item_id: str, sample: int) -> str:
    """The cue outcome of one prediction, "" where there is none or it is not known yet."""
    read = _look(run)
    return "" if read is None else read.by_place.get((item_id, sample), "")


def _look(run: Mapping[str, Any]) -> _Read | None:
    if run["status"] == "running":
        return _Read(Cues(why_not="What HEARD claims is told once the run has ended."), {})
    if int(run["recorded"]) * int(run["samples"]) > _MOST:
        why = f"What HEARD claims is told on this page for up to {_MOST:,} predictions."
        return _Read(Cues(why_not=why), {})
    try:
        return _asked(str(run["run_id"]), look.stamp(run)).result(_PATIENCE)
    except TimeoutError:
        return None
    except LabError as error:
        return _Read(Cues(why_not=error.message), {})


@functools.lru_cache(maxsize=64)
def _asked(run_id: str, stamp: look.Stamp) -> Future[_Read]:
    return _readers.submit(_read, run_id)


def _read(run_id: str) -> _Read:
    found = run_cues(session.workspace(), run_id)
    return _Read(found, {(row.item_id, row.sample): row.outcome for row in found.rows})
