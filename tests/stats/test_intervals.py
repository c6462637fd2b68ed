"""Intervals against published implementations, and by simulation where a claim is about coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import proportion_confint

from audioreason.stats import (
    clopper_pearson,
    cluster_bootstrap,
    clustered_interval,
    clustered_standard_error,
    clustered_wilson,
    design_effect,
    paired_difference,
    shrunken,
    wilson,
)


@pytest.mark.parametrize(("k", "n"), [(0, 8), (3, 8), (8, 8), (671, 1000), (1, 3), (999, 1000)])
def test_intervals_equal_statsmodels(k: int, n: int) -> None:
    assert wilson(k, n) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-9)
    assert clopper_pearson(k, n) == pytest.approx(proportion_confint(k, n, method="beta"), abs=1e-9)


@given(st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_hold_the_estimate_and_stay_in_range(counts: tuple[int, int]) -> None:
    k, n = counts
    for low, high in (wilson(k, n), clopper_pearson(k, n)):
        assert 0 <= low <= high <= 1
        assert n == 0 or low <= k / n <= high


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (0, -1)])
def test_impossible_counts_are_refused(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="not a proportion"):
        wilson(k, n)


@pytest.mark.parametrize("n", [8, 20, 100, 1000])
def test_clopper_pearson_never_covers_less_than_it_says(n: int) -> None:
    low, high = np.array([clopper_pearson(k, n) for k in range(n + 1)]).T
    for p in np.linspace(0.001, 0.999, 211):
        weights = scipy_stats.binom.pmf(np.arange(n + 1), n, p)
        assert weights[(low <= p) & (p <= high)].sum() >= 0.95


def test_wilson_covers_95_percent_averaged_over_p() -> None:
    n = 1000
    low, high = np.array([wilson(k, n) for k in range(n + 1)]).T
    coverage = [
        scipy_stats.binom.pmf(np.arange(n + 1), n, p)[(low <= p) & (p <= high)].sum()
        for p in np.linspace(0.01, 0.99, 393)
    ]
    assert 0.94 <= float(np.mean(coverage)) <= 0.96


def test_clustered_error_is_the_usual_one_when_every_item_has_its_own_clip() -> None:
    scores = np.random.default_rng(3).random(200)
    assert clustered_standard_error(scores, range(200)) == pytest.approx(scores.std() / np.sqrt(200))


def test_clustered_error_beats_the_naive_one_where_clips_correlate() -> None:
    random = np.random.default_rng(7)
    clusters = np.repeat(np.arange(60), 4)
    naive = clustered = bootstrap = 0
    rounds = 400
    for _ in range(rounds):
        chance = np.repeat(random.beta(1.2, 0.8, 60), 4)  # items of one clip share their difficulty
        scores = (random.random(240) < chance).astype(float)
        low, high = clustered_interval(scores, clusters)
        clustered += low <= 0.6 <= high
        half = 1.96 * scores.std() / np.sqrt(240)
        naive += scores.mean() - half <= 0.6 <= scores.mean() + half
        low, high = cluster_bootstrap(scores, clusters, draws=300)
        bootstrap += low <= 0.6 <= high
    assert clustered / rounds >= 0.92
    assert bootstrap / rounds >= 0.90
    assert naive / rounds <= 0.85


def test_clustered_wilson_is_wilson_when_every_item_has_its_own_clip() -> None:
    for k in (0, 3, 19, 20):
        assert clustered_wilson([1.0] * k + [0.0] * (20 - k), range(20)) == pytest.approx(wilson(k, 20))
    assert clustered_wilson([], []) == (0.0, 1.0)


def test_clustered_wilson_covers_where_clips_correlate_and_stays_in_range_where_they_all_agree() -> None:
    random = np.random.default_rng(11)
    clusters = np.repeat(np.arange(80), 3)
    covered, rounds = 0, 600
    for _ in range(rounds):
        scores = (random.random(240) < np.repeat(random.beta(3, 0.6, 80), 3)).astype(float)
        low, high = clustered_wilson(scores, clusters)
        assert 0 <= low <= scores.mean() <= high <= 1
        covered += low <= 3 / 3.6 <= high
    assert 0.92 <= covered / rounds <= 0.98
    # eight right items of two clips are worth two, not eight
    assert clustered_wilson([1.0] * 8, np.repeat([1, 2], 4)) == pytest.approx(wilson(2, 2))


def test_clusters_may_be_names_or_numbers() -> None:
    scores = np.random.default_rng(5).random(40)
    numbers = np.repeat(np.arange(20), 2)
    names = [f"clip {k}" for k in numbers]
    assert clustered_interval(scores, names) == pytest.approx(clustered_interval(scores, numbers))
    assert paired_difference(scores, scores[::-1], names) == paired_difference(scores, scores[::-1], numbers)


def test_clusters_that_agree_cost_their_whole_size() -> None:
    scores = np.repeat(np.random.default_rng(1).integers(0, 2, 300), 4)
    assert design_effect(scores, np.repeat(np.arange(300), 4)) == pytest.approx(4)
    assert design_effect(scores, range(1200)) == pytest.approx(1)
    assert design_effect([1.0] * 5, "aabbc") == 1


def test_one_clip_gives_no_interval() -> None:
    assert clustered_interval([1.0, 0.0], ["a", "a"]) == (float("-inf"), float("inf"))


def test_small_groups_are_pulled_further_to_the_common_mean() -> None:
    pulled = shrunken([1.0, 0.9, 0.5, 0.5], [8, 100, 120, 400], 0.245)
    common = 358 / 628
    assert common < pulled[0] < 1.0
    assert (1.0 - pulled[0]) / (1.0 - common) > (0.9 - pulled[1]) / (0.9 - common)


def test_groups_that_differ_by_chance_alone_share_one_estimate() -> None:
    assert shrunken([0.5, 0.5, 0.51], [100, 100, 100], 0.25) == pytest.approx([151 / 300] * 3)
    assert shrunken([0.2, 0.0], [10, 0], 0.1) == [0.2, 0.2]
    assert np.isnan(shrunken([0.0], [0], 0.1)).all()


def test_shrunken_means_are_nearer_to_the_truth() -> None:
    """Groups of unequal size around a common effect, as subcategories are; several seeds, summed."""
    random = np.random.default_rng(5)
    sizes = [6, 9, 12, 20, 40, 80, 120, 200]
    raw = pulled = 0.0
    for _ in range(200):
        truth = random.normal(0.03, 0.04, len(sizes))
        means = [random.normal(t, 0.6 / np.sqrt(n)) for t, n in zip(truth, sizes, strict=True)]
        raw += float(((np.array(means) - truth) ** 2).sum())
        pulled += float(((np.array(shrunken(means, sizes, 0.36)) - truth) ** 2).sum())
    assert pulled < 0.4 * raw
