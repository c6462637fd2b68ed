"""A comparison as plain values: what `audioreason compare --json` prints. Knows nothing about files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from audioreason.runs import records

if TYPE_CHECKING:
    from audioreason.compare.comparison import Comparison
    from audioreason.compare.pair import Pair


def summary(found: Comparison, by: str | None = None) -> dict[str, Any]:
    """Everything a comparison says: fractions throughout, None where something is unknown.

    Raises:
        RunError: if the column `by` is none that items have.
    """
    return {
        "baseline": found.baseline,
        "score": found.score,
        "split": found.split,
        "without_errata": found.without_errata,
        "errata": found.errata,
        "prompts_tried": found.prompts_tried,
        "note": found.note,
        "leaderboard": records(found.leaderboard),
        "views": records(found.views()),
        "score_disagreements": found.disagreements(),
        "pairs": [_pair(pair, by) for pair in found.pairs],
    }


def _pair(pair: Pair, by: str | None) -> dict[str, Any]:
    return {
        "run_id": pair.run_id,
        "baseline": pair.baseline,
        "n": pair.n,
        "difference": asdict(pair.difference),
        "p_holm": pair.p_holm,
        "mcnemar": pair.mcnemar,
        "verdict": pair.verdict,
        "note": pair.note,
        "effect": pair.effect,
        "minimum_detectable_effect": pair.mde,
        "items_needed": pair.needed,
        "left_out": asdict(pair.overlap),
        "tokens": dict(zip(("baseline", "run"), pair.tokens, strict=True)),
        "seconds": dict(zip(("baseline", "run"), pair.seconds, strict=True)),
        "grid": {cell: list(ids) for cell, ids in pair.grid.items()},
        "outcome_shift": records(pair.outcome_shift()),
        "by": {by: records(pair.by(by))} if by else {},
    }
