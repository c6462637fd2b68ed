"""What was published about ReST on audio reasoning, to be held beside one's own rounds.

Figures as they were reported; the lab did not measure them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """The published experiment: 16 candidates a problem, MMAR for the accuracies (fractions)."""

    problems: int = 4_153
    candidates: int = 66_448
    right_share: float = 0.650
    solved: int = 3_669  # at least once
    learning: int = 889
    training: int = 4_361
    before: float = 0.671
    after: float = 0.647
    benchmark: int = 1_000  # items behind both accuracies
    better: int = 6  # subcategories
    worse: int = 10

    @property
    def solved_share(self) -> float:
        """Problems solved at least once, as a fraction."""
        return self.solved / self.problems

    @property
    def learning_share(self) -> float:
        """Problems in the learning zone, as a fraction."""
        return self.learning / self.problems

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be said beside these figures."""
        return (
            f"Neither published rule of filtering explains {self.training:,} training samples.",
            "The published learning zone was not corrected for guessing, and its accuracies have no"
            " intervals beside them; those shown here are Wilson's for 1,000 items.",
            f"After training it was better on {self.better} subcategories and worse on {self.worse}.",
        )


PAPER = Published()
