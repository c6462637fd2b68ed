"""Paired tests: their false alarms, their exactness, and sentences that do not celebrate noise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from audioreason.stats import holm, mcnemar, paired_difference, sign_flip, verdict


def test_exact_sign_flip_counts_every_pattern() -> None:
    differences = np.array([0.5, -0.25, 1.0, 0.75, 0.0, 0.5])
    patterns = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=6)]
    expected = np.mean([value >= differences.sum() - 1e-9 for value in patterns])
    assert sign_flip(differences, range(6)) == pytest.approx(expected)


def test_monte_carlo_agrees_with_scipy() -> None:
    differences = np.random.default_rng(1).normal(0.05, 0.3, 300)
    expected = scipy_stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=9999, random_state=0, vectorized=True
    ).pvalue
    assert sign_flip(differences, range(300)) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("samples", [1, 4])
def test_monte_carlo_of_repeated_sizes_agrees_with_plain_signs(samples: int) -> None:
    random = np.random.default_rng(samples)
    differences = random.integers(-samples, samples + 1, 300) / samples + 0.05
    rounded = np.round(differences * samples) / samples  # few sizes
    signs = random.integers(0, 2, size=(20_000, 300)) * 2 - 1
    expected = (np.abs(signs @ rounded) >= abs(rounded.sum()) - 1e-9).mean()
    assert sign_flip(rounded, range(300)) == pytest.approx(expected, abs=0.015)


def test_false_alarms_stay_at_five_percent_with_clusters() -> None:
    random = np.random.default_rng(5)
    clusters = np.repeat(np.arange(80), 3)
    alarms, naive, rounds = 0, 0, 500
    for _ in range(rounds):
        shared = np.repeat(random.normal(0, 1, 80), 3)  # a clip helps or hurts all its questions
        differences = shared + random.normal(0, 0.3, 240)
        alarms += sign_flip(differences, clusters, draws=999) < 0.05
        naive += scipy_stats.ttest_1samp(differences, 0).pvalue < 0.05
    assert alarms / rounds <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / rounds)
    assert naive / rounds > 0.15  # what ignoring the clusters would have cost


def test_no_difference_is_not_significant() -> None:
    assert sign_flip([0.0] * 50, range(50)) == 1.0
    assert sign_flip([], []) == 1.0


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_the_exact_binomial_test(only_a: int, only_b: int) -> None:
    expected = 1.0 if only_a + only_b == 0 else scipy_stats.binomtest(only_a, only_a + only_b).pvalue
    assert mcnemar(only_a, only_b) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


def test_difference_is_b_minus_a_and_needs_aligned_scores() -> None:
    found = paired_difference([0, 0, 1, 1], [1, 1, 1, 1], "abcd")
    assert found.mean == pytest.approx(0.5)
    with pytest.raises(ValueError, match="same length"):
        paired_difference([0, 1], [1], ["a", "b"])


def test_verdict_says_noise_is_noise_and_few_clips_are_few() -> None:
    random = np.random.default_rng(2)
    a = (random.random(400) < 0.6).astype(float)
    noisy = a.copy()
    noisy[:6] = 1 - noisy[:6]
    assert verdict(paired_difference(a, noisy, range(400))).startswith("Not distinguishable from noise")
    better = paired_difference(np.zeros(100), np.r_[np.ones(30), np.zeros(70)], range(100))
    assert verdict(better, "baseline", "structured").startswith(
        "structured is better than baseline: +30.0 points"
    )
    assert verdict(paired_difference([0] * 5, [1] * 5, range(5))).startswith("Too few source clips (5)")
    assert "nothing to compare" in verdict(paired_difference([], [], []))
