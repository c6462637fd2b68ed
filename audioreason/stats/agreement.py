"""Do two raters, or many, say the same beyond chance?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Cohen's kappa for two raters of the same things; nan where both always say the same single thing.

    Source: Cohen (1960), Educ. Psychol. Meas. 20:37.
    """
    if len(first) != len(second):
        raise ValueError("two raters must rate the same things")
    n = len(first)
    if n == 0:
        return float("nan")
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    left, right = Counter(first), Counter(second)
    expected = sum(left[label] * right[label] for label in left) / (n * n)
    return float("nan") if expected == 1 else (observed - expected) / (1 - expected)


def krippendorff_alpha(ratings: Sequence[Sequence[Hashable | None]]) -> float:
    """Krippendorff's alpha for nominal labels; `ratings` is (things, raters), None for not rated.

    Source: Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section C.
    nan if nothing was rated twice or only one label was ever given.
    """
    coincidences: Counter[tuple[Hashable, Hashable]] = Counter()
    for row in ratings:
        given = Counter(label for label in row if label is not None)
        total = sum(given.values())
        if total < 2:
            continue
        for a, count_a in given.items():
            for b, count_b in given.items():
                coincidences[a, b] += count_a * (count_b - (a == b)) / (total - 1)  # type: ignore[assignment]
    marginals: Counter[Hashable] = Counter()
    for (a, _), count in coincidences.items():
        marginals[a] += count
    n = sum(marginals.values())
    if n == 0:
        return float("nan")
    disagreement = sum(count for (a, b), count in coincidences.items() if a != b)
    expected = sum(marginals[a] * marginals[b] for a in marginals for b in marginals if a != b) / (n - 1)
    return float("nan") if expected == 0 else 1 - disagreement / expected
