"""pass@k, luck, power and agreement against enumeration, simulation and published tables."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa, to_table

from audioreason.stats import (
    cohen_kappa,
    consistency,
    guess_share,
    krippendorff_alpha,
    majority,
    majority_at_k,
    minimum_detectable_effect,
    paired_difference,
    pass_all_k,
    pass_at_k,
    required_items,
)


@pytest.mark.parametrize(("n", "correct", "k"), [(6, 2, 3), (5, 0, 2), (4, 4, 1), (7, 3, 7)])
def test_pass_at_k_and_pass_all_k_equal_enumeration(n: int, correct: int, k: int) -> None:
    draws = list(itertools.combinations([True] * correct + [False] * (n - correct), k))
    assert pass_at_k(n, correct, k) == pytest.approx(np.mean([any(draw) for draw in draws]))
    assert pass_all_k(n, correct, k) == pytest.approx(np.mean([all(draw) for draw in draws]))


def test_impossible_draws_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot draw 5 of 4"):
        pass_at_k(4, 1, 5)


def test_a_tie_has_no_majority() -> None:
    assert majority([0, 0, 1]) == 0
    assert majority([0, 1, None]) is None
    assert majority([None, None]) is None


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 7])
def test_majority_at_k_equals_enumeration(k: int) -> None:
    answers = [0, 0, 0, 1, 1, 2, None]
    votes = [majority(draw) == 0 for draw in itertools.combinations(answers, k)]
    assert majority_at_k(answers, 0, k) == pytest.approx(np.mean(votes))
    assert majority_at_k(answers, 3, k) == 0.0
    with pytest.raises(ValueError, match="cannot draw 8 of 7"):
        majority_at_k(answers, 0, 8)


def test_consistency_is_the_share_of_agreeing_pairs() -> None:
    assert consistency([1, 1, 1, 2]) == pytest.approx(3 / 6)
    assert consistency([None, None]) == 0.0
    assert math.isnan(consistency([1]))


def test_guessing_fills_37_percent_of_the_learning_zone() -> None:
    # four choices, 16 samples, right 26 to 75% of the time: 5 to 12 times
    assert guess_share(4, 16, 5, 12) == pytest.approx(0.37, abs=0.005)


def test_promised_power_is_kept_in_simulation() -> None:
    effect, discordance = 0.1, 0.3
    n = required_items(effect, discordance)
    assert minimum_detectable_effect(n, discordance) == pytest.approx(effect, rel=0.01)
    random = np.random.default_rng(11)
    chances = [(discordance + effect) / 2, (discordance - effect) / 2, 1 - discordance]
    found = 0
    for _ in range(300):
        differences = random.choice([1.0, -1.0, 0.0], size=n, p=chances)
        found += paired_difference(np.zeros(n), differences, range(n)).significant
    assert found / 300 == pytest.approx(0.8, abs=0.08)


def test_kappa_equals_statsmodels() -> None:
    random = np.random.default_rng(4)
    first = random.integers(0, 3, 120)
    second = np.where(random.random(120) < 0.7, first, random.integers(0, 3, 120))
    table = to_table(np.c_[first, second], bins=3)[0]
    assert cohen_kappa(list(first), list(second)) == pytest.approx(cohens_kappa(table).kappa)
    assert math.isnan(cohen_kappa(["a", "a"], ["a", "a"]))


def test_alpha_equals_krippendorffs_worked_example() -> None:
    # Krippendorff (2011), section C: four observers, twelve units, nominal alpha 0.743
    missing = None
    by_rater = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, missing, missing, missing],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, missing, 3],
        [missing, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, missing],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, missing],
    ]
    ratings = [list(row) for row in zip(*by_rater, strict=True)]
    assert krippendorff_alpha(ratings) == pytest.approx(0.743, abs=0.001)
