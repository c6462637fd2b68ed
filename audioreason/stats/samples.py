"""What several samples of one item tell: pass@k, pass^k, majority, luck, and steadiness."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Chance that at least one of k samples drawn from n (of which `correct` are right) is right.

    Source: Chen et al. (2021), arXiv 2107.03374, equation 1 (unbiased).

    Raises:
        ValueError: if k > n or counts are impossible.
    """
    _check(n, correct, k)
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def pass_all_k(n: int, correct: int, k: int) -> float:
    """Chance that all of k samples drawn from n are right (pass^k).

    Source: Yao et al. (2024), tau-bench, arXiv 2406.12045, section 4.
    """
    _check(n, correct, k)
    return math.comb(correct, k) / math.comb(n, k)


def majority(choices: Sequence[Hashable | None]) -> Hashable | None:
    """The choice given most often, None entries left out; None if there is a tie or nothing."""
    counts = Counter(choice for choice in choices if choice is not None).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]


def majority_at_k(choices: Sequence[Hashable | None], gold: Hashable, k: int) -> float:
    """Chance that a majority vote among k answers drawn from `choices` (without replacement) is right.

    As in `majority`, None entries do not vote and a tie is no answer. Exact: the draws in which gold leads
    are counted by multiplying polynomials, one for each other choice.
    Source: Wang et al. (2023), self-consistency, arXiv 2203.11171, under the draws of Chen et al. (2021).

    Raises:
        ValueError: if k < 1 or k > len(choices).
    """
    counts = Counter(choices)
    silent = counts.pop(None, 0)
    right = counts.pop(gold, 0)
    _check(len(choices), right, k)
    winning = 0
    for votes in range(1, min(right, k) + 1):
        ways = _draws(silent, k)  # ways[j]: how to draw j answers that are not gold, each choice behind gold
        for count in counts.values():
            ways = _product(ways, _draws(count, votes - 1), k)
        others = k - votes
        winning += math.comb(right, votes) * (ways[others] if others < len(ways) else 0)
    return winning / math.comb(len(choices), k)


def consistency(choices: Sequence[Hashable | None]) -> float:
    """Share of pairs of answers that agree (None never agrees); nan for fewer than two answers.

    Used across samples and across permutations of the options (choices named by content, not position).
    """
    n = len(choices)
    if n < 2:
        return float("nan")
    counts = Counter(choice for choice in choices if choice is not None)
    return sum(c * (c - 1) for c in counts.values()) / (n * (n - 1))


def guess_share(options: int, samples: int, low: int, high: int) -> float:
    """Chance that guessing among `options` is right between low and high times (inclusive) of samples."""
    luck = 1 / options
    return math.fsum(
        math.comb(samples, k) * luck**k * (1 - luck) ** (samples - k)
        for k in range(max(low, 0), min(high, samples) + 1)
    )


def _check(n: int, correct: int, k: int) -> None:
    if not (0 <= correct <= n and 1 <= k <= n):
        raise ValueError(f"cannot draw {k} of {n} samples of which {correct} are right")


def _draws(count: int, most: int) -> list[int]:
    """In how many ways 0, 1, ... and at most `most` of `count` things are drawn."""
    return [math.comb(count, drawn) for drawn in range(min(count, most) + 1)]


def _product(a: Sequence[int], b: Sequence[int], most: int) -> list[int]:
    """Coefficients of a product of polynomials, up to degree `most`."""
    product = [0] * (min(len(a) + len(b) - 2, most) + 1)
    for i, left in enumerate(a):
        for j, right in enumerate(b[: max(len(product) - i, 0)]):
            product[i + j] += left * right
    return product
