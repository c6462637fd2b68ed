"""Intervals for a proportion, and standard errors that know that questions about one clip belong together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Interval = tuple[float, float]
Floats = npt.NDArray[np.float64]
Clusters = Sequence[object] | npt.NDArray[np.int64]  # the name of each item's source clip, or its number


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval for a proportion, as fractions in [0, 1]; (0, 1) if n is 0.

    Source: Wilson (1927), JASA 22:209; recommended for reporting by Brown, Cai and DasGupta (2001).
    """
    _check_counts(successes, n)
    if n == 0:
        return 0.0, 1.0
    return _score_interval(successes / n, n, level)


def clustered_wilson(scores: Sequence[float] | Floats, clusters: Clusters, level: float = 0.95) -> Interval:
    """Wilson's interval of the mean of `scores` in [0, 1], with as many items as the clips make them worth.

    The effective number is what independent items would need for the clustered variance, never more than
    there are; where the scores do not vary it is the number of clusters. Right or wrong items of their own
    clips give exactly `wilson`. (0, 1) for no scores. Source: Korn and Graubard (1998), Survey Methodology
    24:193; with Wilson's interval, Dean and Pagano (2015), J. Surv. Stat. Methodol. 3:484.
    """
    values = np.asarray(scores, dtype=float)
    if values.size == 0:
        return 0.0, 1.0
    p = float(values.mean())
    variance = clustered_standard_error(values, clusters) ** 2
    worth = p * (1 - p) / variance if variance > 1e-18 else _codes(clusters)[1]
    return _score_interval(p, min(float(worth), float(values.size)), level)


def _score_interval(p: float, n: float, level: float) -> Interval:
    z = NormalDist().inv_cdf(0.5 + level / 2)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # at the ends the formula is exact up to rounding: say 0 and 1, not 1e-17
    low = 0.0 if p == 0 else max(0.0, centre - half)
    high = 1.0 if p == 1 else min(1.0, centre + half)
    return low, high


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> Interval:
    """The exact binomial interval, which never covers less than `level`; (0, 1) if n is 0.

    Source: Clopper and Pearson (1934), Biometrika 26:404, by quantiles of the beta distribution.
    """
    _check_counts(successes, n)
    if n == 0:
        return 0.0, 1.0
    from scipy import special  # here, because most commands need none of it

    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(special.betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(special.betaincinv(successes + 1, n - successes, 1 - tail))
    return low, high


def clustered_standard_error(scores: Sequence[float] | Floats, clusters: Clusters) -> float:
    """Standard error of the mean of `scores` (items,), with `clusters` (items,) naming each item's source.

    Source: Miller (2024), arXiv 2411.00640, section 2.2: the sum runs over all pairs within a cluster.
    With one item a cluster it is the usual standard error (with n, not n - 1, as there).
    Returns nan for no scores.
    """
    values = np.asarray(scores, dtype=float)
    if values.size == 0:
        return float("nan")
    sums = _cluster_sums(values - values.mean(), clusters)
    return float(np.sqrt((sums**2).sum()) / values.size)


def design_effect(scores: Sequence[float] | Floats, clusters: Clusters) -> float:
    """How many times the variance of the mean grows because clips share questions (1: not at all).

    The clustered variance over the naive one; dividing the number of items by it gives the effective number.
    Source: Kish (1965), Survey Sampling, section 8.2. 1 where the scores do not vary.
    """
    values = np.asarray(scores, dtype=float)
    naive = float(values.var()) / max(values.size, 1)
    return clustered_standard_error(values, clusters) ** 2 / naive if naive > 0 else 1.0


def clustered_interval(scores: Sequence[float] | Floats, clusters: Clusters, level: float = 0.95) -> Interval:
    """Normal interval of the mean with the clustered standard error and t quantiles over clusters - 1."""
    values = np.asarray(scores, dtype=float)
    groups = _codes(clusters)[1]
    if groups < 2:
        return float("-inf"), float("inf")
    from scipy import special

    error = clustered_standard_error(values, clusters)
    # small-sample factor g / (g - 1): Cameron and Miller (2015), section VI.B
    half = float(special.stdtrit(groups - 1, 0.5 + level / 2)) * error * float(np.sqrt(groups / (groups - 1)))
    mean = float(values.mean())
    return mean - half, mean + half


def cluster_bootstrap(
    scores: Sequence[float] | Floats,
    clusters: Clusters,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of the mean when whole clusters are drawn with replacement.

    Source: Davison and Hinkley (1997), section 3.8 (strategy 1: clusters drawn, items within kept).
    """
    values = np.asarray(scores, dtype=float)
    codes, groups = _codes(clusters)
    if groups < 2:
        return float("-inf"), float("inf")
    sums = np.bincount(codes, weights=values, minlength=groups)
    sizes = np.bincount(codes, minlength=groups).astype(float)
    random = np.random.default_rng(seed)
    # multinomial counts of how often each cluster is drawn: (draws, groups), in slices to bound memory
    means = np.empty(draws)
    step = max(1, 4_000_000 // groups)
    for start in range(0, draws, step):
        stop = min(draws, start + step)
        counts = random.multinomial(groups, np.full(groups, 1 / groups), size=stop - start)
        means[start:stop] = (counts @ sums) / (counts @ sizes)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def shrunken(means: Sequence[float], totals: Sequence[int], variance: float) -> list[float]:
    """Group means pulled towards the common one, small groups more: what to expect of them next time.

    Empirical Bayes with normal groups. `variance` is that of one item within its group (times the design
    effect, where items of a clip belong together). The groups' own spread is the ANOVA estimate: where they
    differ no more than chance makes them, all get the common mean, as does a group without items.
    Sources: Efron and Morris (1975), JASA 70:311; the spread by Searle, Casella and McCulloch (1992),
    Variance Components, section 3.6. nan where there is no item at all.
    """
    m, n = np.asarray(means, dtype=float), np.asarray(totals, dtype=float)
    seen = n > 0
    if not seen.any():
        return [float("nan")] * len(n)
    common = float((n[seen] * m[seen]).sum() / n[seen].sum())
    weight = float(n.sum() - (n**2).sum() / n.sum())
    between = float((n[seen] * (m[seen] - common) ** 2).sum())
    spread = max(0.0, (between - (int(seen.sum()) - 1) * variance) / weight) if weight > 0 else 0.0
    if spread == 0:
        return [common] * len(n)
    kept = spread / (spread + variance / np.where(seen, n, 1))
    return [
        float(common + (k * (mean - common) if one else 0))
        for k, mean, one in zip(kept, m, seen, strict=True)
    ]


def _cluster_sums(values: Floats, clusters: Clusters) -> Floats:
    codes, groups = _codes(clusters)
    return np.bincount(codes, weights=values, minlength=groups).astype(float)


def _codes(clusters: Clusters) -> tuple[npt.NDArray[np.intp], int]:
    """Clusters as codes 0..groups-1, in order of appearance; numbers, which is faster, in their own order."""
    if isinstance(clusters, np.ndarray):
        names, codes = np.unique(clusters, return_inverse=True)
        return codes, names.size
    index: dict[object, int] = {}
    codes = np.fromiter(
        (index.setdefault(c, len(index)) for c in clusters), dtype=np.intp, count=len(clusters)
    )
    return codes, len(index)


def _check_counts(successes: int, n: int) -> None:
    if n < 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} is not a proportion")
