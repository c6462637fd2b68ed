"""Is run B better than run A on the same items? Paired tests, and the sentence that says so.

All take per-item numbers: `scores` in [0, 1] (means over samples), aligned; clusters are source clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audioreason.stats.intervals import Clusters, Floats, _cluster_sums, _codes, clustered_interval

EXACT_CLUSTERS = 16  # up to here all 2^n sign patterns are counted
_FEW_SIZES = 24  # up to here drawing binomial counts is faster than drawing signs


@dataclass(frozen=True)
class Difference:
    """Mean paired difference B - A (fractions), its interval, p, and how many items and clusters made it."""

    mean: float
    low: float
    high: float
    p: float
    n: int
    clusters: int

    @property
    def significant(self) -> bool:
        """Whether p is below 0.05."""
        return self.p < 0.05


def sign_flip(differences: Sequence[float] | Floats, clusters: Clusters, draws: int = 10_000) -> float:
    """Two-sided p of "the differences are symmetric about 0", flipping the sign of whole clusters.

    Exact up to 16 clusters that differ; beyond, Monte Carlo with a fixed seed and the +1 correction that
    keeps the test valid (Phipson and Smyth 2010). Source: Pitman (1937); Good (2005), section 3.2;
    clusters as in Miller (2024), arXiv 2411.00640.
    """
    sums = _cluster_sums(np.asarray(differences, dtype=float), clusters)
    sums = sums[np.abs(sums) > 1e-12]  # clusters without a difference are the same whatever their sign
    if sums.size == 0:
        return 1.0
    observed = abs(sums.sum()) - 1e-9  # ties count as at least as extreme, whatever the rounding
    if sums.size <= EXACT_CLUSTERS:
        patterns = (np.arange(2**sums.size)[:, None] >> np.arange(sums.size)) & 1
        return float((np.abs((1 - 2 * patterns) @ sums) >= observed).mean())
    random = np.random.default_rng(0)
    # clusters that move the sum by the same amount are flipped together: a binomial count of them
    sizes, counts = np.unique(np.abs(sums).round(12), return_counts=True)
    few = sizes.size <= _FEW_SIZES
    extreme, step = 0, max(1, 2_000_000 // (sizes.size if few else sums.size))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        if few:
            totals = (2 * random.binomial(counts, 0.5, size=(rows, sizes.size)) - counts) @ sizes
        else:
            flipped = random.integers(0, 2, size=(rows, sums.size), dtype=np.int8)
            totals = sums.sum() - 2 * (flipped.astype(float) @ sums)
        extreme += int((np.abs(totals) >= observed).sum())
    return (extreme + 1) / (draws + 1)


def paired_difference(
    a: Sequence[float] | Floats, b: Sequence[float] | Floats, clusters: Clusters, level: float = 0.95
) -> Difference:
    """B minus A over the same items: mean, clustered interval and sign-flip p.

    Raises:
        ValueError: if the sequences are not aligned.
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if not first.shape == second.shape == (len(clusters),):
        raise ValueError("paired scores and clusters must have the same length")
    if first.size == 0:
        return Difference(float("nan"), float("nan"), float("nan"), 1.0, 0, 0)
    differences = second - first
    low, high = clustered_interval(differences, clusters, level)
    return Difference(
        mean=float(differences.mean()),
        low=low,
        high=high,
        p=sign_flip(differences, clusters),
        n=first.size,
        clusters=_codes(clusters)[1],
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided McNemar p from the discordant counts (items right only in A, only in B).

    Source: McNemar (1947), with the exact binomial null of Edwards (1948).
    """
    discordant = only_a + only_b
    if discordant == 0:
        return 1.0
    from scipy import special

    return float(min(1.0, 2 * special.bdtr(min(only_a, only_b), discordant, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given. Source: Holm (1979), Scand. J. Statist. 6:65."""
    count = len(p_values)
    adjusted = [1.0] * count
    running = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def verdict(difference: Difference, a: str = "the baseline", b: str = "this run") -> str:
    """One plain sentence about a difference, in points, that never celebrates noise."""
    if difference.n == 0:
        return f"{b} and {a} share no answered items: nothing to compare."
    numbers = f"{_points(difference.mean)} points, {_bounds(difference)}"
    evidence = f"{numbers}, p {_p(difference.p)}, {difference.n} items"
    if difference.clusters < 10:
        return f"Too few source clips ({difference.clusters}) to tell {b} from {a}: {evidence}."
    if not difference.significant:
        return f"Not distinguishable from noise: {evidence}."
    word = "better" if difference.mean > 0 else "worse"
    return f"{b} is {word} than {a}: {evidence}."


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _bounds(difference: Difference) -> str:
    if not np.isfinite(difference.low):
        return "no interval from one clip"
    return f"95% CI {_points(difference.low)} to {_points(difference.high)}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
