"""The curriculum: problems made for this model, where it is right sometimes and wrong sometimes.

Most problems of a fixed dataset teach nothing: they are always right, or never. Soundcheck makes problems of
a family and a difficulty at will, so a few of each such cell are asked first (the probe), and the round's
problems are made in the cells whose problems lie in the learning zone most often. Within a cell problems
differ too, so several are tried for each that is wanted, with few answers each, and those that were right
sometimes are kept.

Three traps are minded. A model that guesses among four choices is right between 26 and 75% of the time in 37%
of all problems: families in which hearing does not beat silence are left out. Of many cells measured with few
problems the best look better than they are: each cell's figure is shrunk to its family's, and that to the
common one. And a curriculum that follows one number ends with one kind of problem: a family takes no more
than its share, and a part of the problems comes from all cells alike.

Knows nothing about servers, runs or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from audioreason.errors import RestError
from audioreason.rest.zones import FEWEST_CHOICES, Zones, heard_groups
from audioreason.soundcheck import DIFFICULTIES, families
from audioreason.stats import shrunken
from audioreason.wording import counted

if TYPE_CHECKING:
    import pandas as pd

_PRIOR = 0.5  # of right and of wrong answers: Jeffreys' prior for a share
DEAF, UNHEARD = "hearing does not beat silence", "no answers to compare with silence"  # why left out
FAMILY_SHARE = 0.1  # of the aimed problems, at most
CELL_SHARE = 0.04
EXPLORE = 0.1  # of all problems, from all cells alike


class Cell(NamedTuple):
    """A kind of generated problem."""

    family: str
    difficulty: int


@dataclass(frozen=True)
class Measured:
    """What the probe says of a cell.

    Attributes:
        cell: the family and difficulty.
        problems: how many were asked and answered.
        right: share of right answers.
        chance: mean chance that a problem of it lies in the learning zone, as measured.
        expected: the same after shrinkage, what to expect of fresh problems.
        left_out: why no problems are aimed there; empty if they may be.
    """

    cell: Cell
    problems: int
    right: float
    chance: float
    expected: float
    left_out: str = ""


def all_cells() -> list[Cell]:
    """Every cell that may be trained on: families that are not held out, each difficulty."""
    return [
        Cell(name, level)
        for name, family in families().items()
        if not family.held_out
        for level in DIFFICULTIES
    ]


def zone_chance(k: int, n: int, samples: int, zones: Zones) -> float:
    """The chance that a problem with `k` of `n` right has a learning zone's share of `samples` other answers.

    Beta-binomial with Jeffreys' prior (Gelman et al., Bayesian Data Analysis, section 2.4). A problem that
    nobody answered has 0.
    """
    return _chance(k, n, samples, zones) if n else 0.0


@cache
def _chance(k: int, n: int, samples: int, zones: Zones) -> float:
    from scipy import special

    a, b = k + _PRIOR, n - k + _PRIOR
    inside = [good for good in range(samples + 1) if zones.of(good, samples) == "learning"]
    return float(
        sum(
            special.binom(samples, good)
            * np.exp(special.betaln(good + a, samples - good + b) - special.betaln(a, b))
            for good in inside
        )
    )


def measure(probe: pd.DataFrame, silent: Mapping[str, float], samples: int, zones: Zones) -> list[Measured]:
    """What a probe says of each cell, the best first.

    Args:
        probe: one row a problem: `item_id`, `family`, `difficulty`, `n_choices`, `n` answered, `k` right.
        silent: share of right answers by item with a silent clip.
        samples: how many candidates a problem will have.
        zones: the edges.
    """
    beats = heard_groups(
        [k / n if n else float("nan") for k, n in zip(probe["k"], probe["n"], strict=True)],
        [silent.get(item) for item in probe["item_id"]],
        list(probe["family"]),
    )
    rows: dict[Cell, list[tuple[int, int, int]]] = {}
    for family, level, choices, n, k in zip(
        probe["family"], probe["difficulty"], probe["n_choices"], probe["n"], probe["k"], strict=True
    ):
        if n:
            rows.setdefault(Cell(str(family), int(level)), []).append((int(choices), int(n), int(k)))
    if not rows:
        raise RestError("The probe has no answers, so no problems can be aimed.", "Look at the server.")
    compared = {
        family
        for item, family, n in zip(probe["item_id"], probe["family"], probe["n"], strict=True)
        if n and silent.get(item) is not None
    }
    chances = {
        cell: [zone_chance(k, n, samples, zones) for _, n, k in problems] for cell, problems in rows.items()
    }
    expected = _shrunken(chances)
    measured = []
    for cell, problems in rows.items():
        reason = ""
        if min(choices for choices, _, _ in problems) < FEWEST_CHOICES:
            reason = "fewer than four choices"
        elif cell.family not in compared:
            reason = UNHEARD
        elif not beats.get(cell.family, False):
            reason = DEAF
        measured.append(
            Measured(
                cell,
                len(problems),
                sum(k for _, _, k in problems) / sum(n for _, n, _ in problems),
                float(np.mean(chances[cell])),
                expected[cell],
                reason,
            )
        )
    return sorted(measured, key=lambda one: (bool(one.left_out), -one.expected, one.cell))


def _shrunken(chances: Mapping[Cell, Sequence[float]]) -> dict[Cell, float]:
    """Each cell's mean, pulled to its family's as far as chance explains it; families likewise."""
    within = _pooled(list(chances.values()))
    names = sorted({cell.family for cell in chances})
    of_family = {
        name: [value for cell, values in chances.items() if cell.family == name for value in values]
        for name in names
    }
    means = shrunken(
        [float(np.mean(of_family[name])) for name in names],
        [len(of_family[name]) for name in names],
        _pooled(list(of_family.values())),
    )
    family = dict(zip(names, means, strict=True))
    cells = list(chances)
    apart = shrunken(
        [float(np.mean(chances[cell])) - family[cell.family] for cell in cells],
        [len(chances[cell]) for cell in cells],
        within,
    )
    return {
        cell: min(1.0, max(0.0, family[cell.family] + extra))
        for cell, extra in zip(cells, apart, strict=True)
    }


def _pooled(groups: Sequence[Sequence[float]]) -> float:
    """Variance within groups."""
    freedom = sum(len(group) - 1 for group in groups)
    if freedom <= 0:
        return 0.25
    return float(sum(np.sum((np.asarray(group) - np.mean(group)) ** 2) for group in groups) / freedom)


def allocate(measured: Sequence[Measured], problems: int) -> dict[Cell, int]:
    """How many problems each cell gives.

    A tenth comes from all cells with four choices alike; the rest from the best cells, at most a tenth of it
    from one family and 4% from one cell, as long as there are others to take.

    Raises:
        RestError: if no cell may be aimed at, which a curriculum cannot mend.
    """
    able = [one for one in measured if not one.left_out]
    if not able:
        unheard = {one.cell.family for one in measured if one.left_out == UNHEARD}
        deaf = {one.cell.family for one in measured if one.left_out == DEAF}
        if unheard:
            raise RestError(
                f"No family of problems may be aimed at: {len(unheard)} without answers to compare with"
                f" silence, {len(deaf)} in which hearing does not beat silence.",
                "See the errors of the probe's runs, and resume.",
            )
        raise RestError(
            "No family of problems may be aimed at: in none of them hearing beats silence.",
            "Probe with more problems a cell, or learn from a dataset instead.",
        )
    wide = [one.cell for one in measured if one.left_out != "fewer than four choices"]
    explored = round(EXPLORE * problems)
    counts = dict.fromkeys((one.cell for one in measured), 0)
    for place in range(explored):  # evenly spread, whatever the number
        counts[wide[place * len(wide) // explored]] += 1
    left = problems - explored
    loosened = 1.0
    aimed = dict.fromkeys(counts, 0)
    family: dict[str, int] = {}
    while left:
        most_cell = max(1, round(CELL_SHARE * loosened * problems))
        most_family = max(1, round(FAMILY_SHARE * loosened * problems))
        for one in able:
            name = one.cell.family
            room = min(most_cell - aimed[one.cell], most_family - family.get(name, 0), left)
            if room > 0:
                aimed[one.cell] += room
                family[name] = family.get(name, 0) + room
                left -= room
        loosened *= 1.5
    return {cell: counts[cell] + aimed[cell] for cell in counts if counts[cell] + aimed[cell]}


def keep_tried(
    tried: Sequence[tuple[str, str, int, int]], problems: int, samples: int, zones: Zones
) -> list[str]:
    """Which of the problems that were tried are kept.

    Args:
        tried: (item id, family, right, answered) of each.
        problems: how many to keep.
        samples: how many candidates a problem will have.
        zones: the edges.

    Returns:
        Ids in the order of `tried`: a tenth of them whatever they did, evenly from all, the rest by the
        chance of the learning zone, at most a tenth from one family as long as there are others.
    """
    if problems >= len(tried):
        return [item_id for item_id, *_ in tried]
    explored = round(EXPLORE * problems)
    kept = {place * len(tried) // explored for place in range(explored)}
    best = sorted(
        (place for place in range(len(tried)) if place not in kept),
        key=lambda place: (-zone_chance(tried[place][2], tried[place][3], samples, zones), place),
    )
    family: dict[str, int] = {}
    loosened = 1.0
    while len(kept) < problems:
        for place in best:
            name = tried[place][1]
            if place not in kept and family.get(name, 0) < FAMILY_SHARE * loosened * problems:
                kept.add(place)
                family[name] = family.get(name, 0) + 1
                if len(kept) == problems:
                    break
        loosened *= 1.5
    return [tried[place][0] for place in sorted(kept)]


def words(measured: Sequence[Measured], allocation: Mapping[Cell, int]) -> str:
    """What was decided, in two sentences."""
    expected = {one.cell: one.expected for one in measured}
    total = sum(allocation.values())
    share = sum(count * expected[cell] for cell, count in allocation.items()) / total
    aimed = len({cell.family for cell in allocation})
    left = len({one.cell.family for one in measured if one.left_out == DEAF})
    said = (
        f"{counted(total, 'problem')} of {counted(len(allocation), 'cell')}"
        f" ({counted(aimed, 'family', 'families')}) to make; the probe lets expect"
        f" {100 * share:.0f}% of them in the learning zone."
    )
    return (
        f"{said} Not aimed at, because hearing does not beat silence: {counted(left, 'family', 'families')}."
        if left
        else said
    )
