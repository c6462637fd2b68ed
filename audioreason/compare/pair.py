"""One run against the baseline, item by item: difference, grid, groups, and the sentence that says it all.

Everything is over the items that both were asked in the same words and both answered. Knows arrays and
tests; knows nothing about where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audioreason.compare.loading import Booleans, Floats, Integers
from audioreason.errors import RunError
from audioreason.stats import (
    Difference,
    clustered_wilson,
    design_effect,
    holm,
    mcnemar,
    minimum_detectable_effect,
    paired_difference,
    required_items,
    shrunken,
    verdict,
)

if TYPE_CHECKING:
    import pandas as pd

SMALL = 20  # items; a group below it is marked, not celebrated
SIGNIFICANT = 0.05
CELLS = ("both_right", "won", "lost", "both_wrong")
_GROUP_COLUMNS = (
    "group",
    "layer",
    "n",
    "baseline",
    "run",
    "run_low",
    "run_high",
    "delta",
    "low",
    "high",
    "shrunken",
    "p",
    "p_holm",
    "significant",
    "small",
)
_OUTCOMES = (
    "correct",
    "wrong",
    "unresolved",
    "format_broken",
    "truncated",
    "looped",
    "refused",
    "server_error",
)


@dataclass(frozen=True)
class Overlap:
    """Why an item of one run is not compared, in numbers of items."""

    only_run: int = 0
    only_baseline: int = 0
    changed: int = 0
    run_unanswered: int = 0
    baseline_unanswered: int = 0
    unrated: int = 0
    same_dataset: bool = True


@dataclass(frozen=True, eq=False)
class Aligned:
    """Both runs on the compared items, all arrays (items,) in the baseline's order."""

    item_ids: npt.NDArray[np.object_]
    baseline: Floats
    run: Floats
    clusters: Integers
    kept: Booleans  # which of the baseline's items these are
    all_groups: dict[str, npt.NDArray[np.object_]]  # of all of the baseline's items, by column

    def groups(self, column: str) -> npt.NDArray[np.object_]:
        """Each item's group, as text.

        Raises:
            RunError: if items have no such column.
        """
        if column not in self.all_groups:
            raise RunError(
                f"A difference cannot be split by {column!r}.",
                f"Choose one of {', '.join(self.all_groups)}.",
            )
        return self.all_groups[column][self.kept]


@dataclass(frozen=True, eq=False)
class Pair:
    """One run against the baseline.

    `labels` are what baseline and run are called. `difference` is run minus baseline, as fractions. `grid`
    has the ids of the items in each of `CELLS`; with several samples an item counts as right if more than
    half of its answered samples are. `mde` is the smallest true difference (fraction) that these items reveal
    four times in five, `needed` how many items it would take to see `effect`. `mcnemar` is its exact p, None
    with several samples. `p_holm` is the p corrected for how many runs were compared with the baseline;
    whatever is said or coloured as a difference goes by it alone.
    """

    run_id: str
    baseline: str
    labels: tuple[str, str]
    n: int
    difference: Difference
    p_holm: float
    verdict: str
    note: str
    grid: dict[str, tuple[str, ...]]
    mcnemar: float | None
    effect: float
    mde: float
    needed: int
    overlap: Overlap
    tokens: tuple[float, float]  # mean completion tokens of baseline and run on the compared items
    seconds: tuple[float, float]
    aligned: Aligned = field(repr=False)
    _outcomes: pd.DataFrame = field(repr=False)
    _counted: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def significant(self) -> bool:
        """Whether the difference is more than noise, given how many runs were compared with the baseline."""
        return self.p_holm < SIGNIFICANT

    def by(self, column: str) -> pd.DataFrame:
        """The difference by a column of the items (see `runs.COLUMNS`), in the groups' own order.

        Returns:
            One row per group: group, layer (of a subcategory; None for other columns), n (items), baseline
            and run (accuracies), run_low and run_high (95%), delta (run minus baseline), low, high (95%,
            clustered), shrunken (the delta pulled towards all items, of few items more: what to expect next
            time), p, p_holm (over the groups), significant (p_holm < 0.05 and not small), small (fewer than
            20 items).

        Raises:
            RunError: if the column is not one of `runs.COLUMNS`.
        """
        if column not in self._counted:
            self._counted[column] = _by(self.aligned, column)
        return self._counted[column].copy()

    def outcome_shift(self) -> pd.DataFrame:
        """What became of the predictions about the items that both were asked, server errors included.

        Returns:
            One row per outcome that occurs: outcome, baseline and run (numbers of predictions),
            baseline_share and run_share (fractions of each run's predictions), shift (their difference).
        """
        import pandas as pd

        counts = self._outcomes.pivot_table(index="outcome", columns="side", values="n", aggfunc="sum")
        counts = counts.reindex(index=[name for name in _OUTCOMES if name in counts.index])
        counts = counts.reindex(columns=["baseline", "run"]).fillna(0).astype(int)
        shares = counts / counts.sum().clip(lower=1)
        return pd.DataFrame(
            {
                "outcome": list(counts.index),
                "baseline": counts["baseline"].to_numpy(),
                "run": counts["run"].to_numpy(),
                "baseline_share": shares["baseline"].to_numpy(),
                "run_share": shares["run"].to_numpy(),
                "shift": (shares["run"] - shares["baseline"]).to_numpy(),
            }
        )

    @property
    def flips(self) -> tuple[str, ...]:
        """Ids of the items that only one of the two got right, in the baseline's order."""
        moved = {*self.grid["won"], *self.grid["lost"]}
        return tuple(item_id for item_id in self.aligned.item_ids if item_id in moved)


def _by(aligned: Aligned, column: str) -> pd.DataFrame:
    import pandas as pd

    groups = aligned.groups(column)
    layers = aligned.groups("layer") if column == "subcategory" else None
    rows: list[dict[str, Any]] = []
    for name in sorted(set(groups), key=_natural):
        here = groups == name
        found = paired_difference(aligned.baseline[here], aligned.run[here], aligned.clusters[here])
        low, high = clustered_wilson(aligned.run[here], aligned.clusters[here])
        rows.append(
            {
                "group": name,
                "layer": None if layers is None else layers[here][0],
                "n": found.n,
                "baseline": float(aligned.baseline[here].mean()),
                "run": float(aligned.run[here].mean()),
                "run_low": low,
                "run_high": high,
                "delta": found.mean,
                "low": found.low,
                "high": found.high,
                "p": found.p,
            }
        )
    for row, expected in zip(rows, _shrunken(aligned, groups, rows), strict=True):
        row["shrunken"] = expected
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
        row["small"] = row["n"] < SMALL
        row["significant"] = p < SIGNIFICANT and not row["small"]
    return pd.DataFrame(rows, columns=list(_GROUP_COLUMNS))


def _shrunken(aligned: Aligned, groups: npt.NDArray[np.object_], rows: list[dict[str, Any]]) -> list[float]:
    """Each group's difference, pulled towards that of all groups."""
    if not rows:
        return []
    changes = aligned.run - aligned.baseline
    means = {row["group"]: row["delta"] for row in rows}
    within = changes - np.array([means[name] for name in groups])
    freedom = max(1, changes.size - len(rows))
    variance = float((within**2).sum()) / freedom * max(1.0, design_effect(within, aligned.clusters))
    return shrunken([row["delta"] for row in rows], [row["n"] for row in rows], variance)


def _natural(name: str) -> tuple[int, int, str]:
    """Numbers by value, then names, then what has none."""
    return (0, int(name), "") if name.isdigit() else (2 if name == "none" else 1, 0, name)


def make_pair(
    run_id: str,
    baseline: str,
    labels: tuple[str, str],
    aligned: Aligned,
    overlap: Overlap,
    outcomes: pd.DataFrame,
    *,
    samples: tuple[int, int],
    costs: dict[str, tuple[float, float]],
    effect: float,
    remarks: list[str],
) -> Pair:
    """Compare two runs as if nothing else were compared; `labels` and `samples` are baseline's and run's."""
    found = paired_difference(aligned.baseline, aligned.run, aligned.clusters)
    several = max(samples) > 1
    grid = _grid(aligned)
    changes = aligned.run - aligned.baseline
    # for one sample and a small effect this is the share of items that flip
    variance = float(changes.var()) if found.n else 0.0
    spread = max(1.0, design_effect(changes, aligned.clusters)) if found.n else 1.0
    needed = required_items(effect, variance, design_effect=spread) if found.n else 0
    return Pair(
        run_id=run_id,
        baseline=baseline,
        labels=labels,
        n=found.n,
        difference=found,
        p_holm=found.p,
        verdict=_verdict(found, labels, found.p, 1, effect, needed),
        note=_note(labels, found.n, overlap, several, remarks),
        grid=grid,
        mcnemar=None if several else mcnemar(len(grid["lost"]), len(grid["won"])),
        effect=effect,
        mde=minimum_detectable_effect(found.n, variance, design_effect=spread),
        needed=needed,
        overlap=overlap,
        tokens=costs["tokens"],
        seconds=costs["seconds"],
        aligned=aligned,
        _outcomes=outcomes,
    )


def corrected(pairs: list[Pair]) -> tuple[Pair, ...]:
    """The pairs with their p corrected for how many they are, and verdicts that say so where it matters."""
    return tuple(
        replace(
            pair,
            p_holm=p,
            verdict=_verdict(pair.difference, pair.labels, p, len(pairs), pair.effect, pair.needed),
        )
        for pair, p in zip(pairs, holm([pair.difference.p for pair in pairs]), strict=True)
    )


def _grid(aligned: Aligned) -> dict[str, tuple[str, ...]]:
    before, after = aligned.baseline > 0.5, aligned.run > 0.5

    def ids(mask: Booleans) -> tuple[str, ...]:
        return tuple(aligned.item_ids[mask].tolist())

    return {
        "both_right": ids(before & after),
        "won": ids(~before & after),
        "lost": ids(before & ~after),
        "both_wrong": ids(~before & ~after),
    }


def _verdict(
    found: Difference, labels: tuple[str, str], p_holm: float, pairs: int, effect: float, needed: int
) -> str:
    # the p that counts is the one after Holm: one of many tries is often "better" by luck
    sentence = verdict(replace(found, p=p_holm), *labels)
    if found.n == 0:
        return sentence
    if found.significant and p_holm >= SIGNIFICANT:
        sentence += (
            f" It may be luck: {pairs} runs were compared with {labels[0]}."
            f" Alone, its p would be {found.p:.3f}."
        )
    elif pairs > 1:
        sentence += f" This p is after Holm, for {pairs} runs compared with {labels[0]}."
    if p_holm >= SIGNIFICANT and needed > found.n:
        sentence += f" Seeing {100 * effect:g} points takes about {needed:,} items with so many flips."
    return sentence


def _note(labels: tuple[str, str], n: int, overlap: Overlap, several: bool, remarks: list[str]) -> str:
    baseline, run = labels
    reasons = []
    if not overlap.same_dataset:
        reasons.append("the runs were asked different datasets or versions")
    reasons += [
        f"{count:,} {'item' if count == 1 else 'items'} {sentence}"
        for count, sentence in (
            (overlap.only_baseline, f"only in {baseline}"),
            (overlap.only_run, f"only in {run}"),
            (overlap.changed, "with another question, choices or answer"),
            (overlap.baseline_unanswered, f"not answered in {baseline}"),
            (overlap.run_unanswered, f"not answered in {run}"),
            (overlap.unrated, "without a gold choice"),
        )
        if count
    ]
    sentences = list(remarks)
    if reasons:
        sentences.insert(0, f"Compared on the {n:,} items that both answered: {'; '.join(reasons)}.")
    if several:
        sentences.append(
            "Several samples: an item's score is the mean of them, and it counts as right in the grid if"
            " more than half are right."
        )
    return " ".join(sentences)
