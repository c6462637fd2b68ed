"""What a comparison says is what the runs did: paired, on what both answered, never more than it knows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from audioreason.compare import compare
from audioreason.errors import RunError
from audioreason.inference.endpoint import Sampling
from audioreason.runs import Catalog
from audioreason.stats import paired_difference, wilson
from audioreason.workspace import Workspace
from tests.compare.conftest import Marks, Say, samples_of
from tests.conftest import TinyDataset
from tests.runs.conftest import PROMPT, MakeRun

N = 60


@pytest.fixture
def catalog(workspace: Workspace) -> Catalog:
    """Asked after the runs are made."""
    return Catalog(workspace)


def test_a_pair_is_what_the_runs_did(
    workspace: Workspace, tiny_dataset: TinyDataset, say: Say, catalog: Catalog
) -> None:
    data = tiny_dataset(n=N)
    before, after = set(range(30)), set(range(5, 50))
    say(data, "before", before)
    say(data, "after", after, prompt=PROMPT.model_copy(update={"name": "better", "version": "f" * 12}))
    found = compare(catalog, None, ["before", "after"], "before")
    pair = found.pair("after")
    ids = [item.id for item in data.items]
    assert pair.grid["won"] == tuple(ids[30:50])
    assert pair.grid["lost"] == tuple(ids[:5])
    assert pair.grid["both_right"] == tuple(ids[5:30])
    assert pair.grid["both_wrong"] == tuple(ids[50:])
    assert pair.flips == tuple(ids[:5] + ids[30:50])
    expected = paired_difference(
        [float(k in before) for k in range(N)], [float(k in after) for k in range(N)], ids
    )
    assert pair.difference == expected
    assert pair.difference.mean == pytest.approx(15 / N)
    assert pair.mcnemar == pytest.approx(0.004077, abs=1e-5)  # 5 against 20, exact binomial
    assert pair.verdict.startswith("better is better than baseline: +25.0 points")
    board = found.leaderboard.set_index("run_id")
    assert board.loc["after", "accuracy"] == 45 / N
    assert (board.loc["after", "low"], board.loc["after", "high"]) == pytest.approx(wilson(45, N))
    assert found.prompts_tried == 2


def test_noise_is_called_noise_with_what_it_would_take(
    tiny_dataset: TinyDataset, say: Say, catalog: Catalog
) -> None:
    data = tiny_dataset(n=N)
    say(data, "before", set(range(30)))
    say(data, "after", set(range(2, 34)))
    pair = compare(catalog, None, ["after"], "before").pairs[0]
    assert pair.verdict.startswith("Not distinguishable from noise: +3.3 points")
    assert f"about {pair.needed:,} items" in pair.verdict
    groups, common = pair.by("subcategory"), pair.difference.mean
    assert (groups["delta"] - common).abs().max() > 0.01
    assert list(groups["shrunken"]) == pytest.approx([common] * len(groups))  # they differ by chance alone
    assert pair.needed > N
    assert pair.mde > 0.02


def test_a_large_steady_effect_does_not_count_as_noise(
    tiny_dataset: TinyDataset, say: Say, catalog: Catalog
) -> None:
    data = tiny_dataset(n=N)
    say(data, "before", set())
    say(data, "after", set(range(N)))
    pair = compare(catalog, None, ["after"], "before").pairs[0]
    assert pair.mde == 0  # every item moved alike: nothing varies
    assert pair.verdict.endswith("60 items.")


def test_server_errors_leave_the_denominator_and_are_counted(
    tiny_dataset: TinyDataset, say: Say, catalog: Catalog
) -> None:
    data = tiny_dataset(n=N)
    say(data, "before", set(range(30)), failed={0, 1})
    say(data, "after", set(range(30)), failed={1, 40, 41})
    found = compare(catalog, None, ["before", "after"], "before")
    board = found.leaderboard.set_index("run_id")
    assert list(board["n"]) == [N - 2, N - 3]
    assert list(board["errors"]) == [2, 3]
    assert board.loc["before", "accuracy"] == 28 / (N - 2)
    pair = found.pairs[0]
    assert pair.n == N - 4
    assert (pair.overlap.baseline_unanswered, pair.overlap.run_unanswered) == (2, 2)
    assert "Compared on the 56 items that both answered" in pair.note
    shift = pair.outcome_shift().set_index("outcome")
    assert list(shift.loc["server_error", ["baseline", "run"]]) == [2, 3]
    assert shift["baseline"].sum() == shift["run"].sum() == N


def test_runs_of_different_datasets_compare_on_what_they_share(
    workspace: Workspace, tiny_dataset: TinyDataset, say: Say, catalog: Catalog
) -> None:
    data = tiny_dataset(n=N)
    say(data, "before", set(range(30)))
    changed = tiny_dataset(n=N - 10)
    items = list(changed.items)
    items[0] = items[0].model_copy(update={"answer": "four"})
    info = changed.info.model_copy(update={"hash": "other"})
    say(type(data)(changed.root, info, tuple(items)), "after", set(range(30)))
    found = compare(catalog, None, ["before", "after"], "before")
    pair = found.pairs[0]
    assert pair.n == N - 11
    assert (pair.overlap.only_baseline, pair.overlap.changed) == (10, 1)
    assert not pair.overlap.same_dataset
    assert "different datasets or versions" in pair.note
    assert "Not all runs were asked the same items" in found.note
    assert data.items[0].id not in {item_id for cell in pair.grid.values() for item_id in cell}


def test_runs_without_a_common_item_are_not_compared(
    tiny_dataset: TinyDataset, say: Say, catalog: Catalog
) -> None:
    say(tiny_dataset("one", n=12), "before", {0})
    say(tiny_dataset("two", n=12), "after", {0})
    pair = compare(catalog, None, ["after"], "before").pairs[0]
    assert pair.n == 0
    assert "share no answered items" in pair.verdict
    assert not any(pair.grid.values())
    assert pair.by("subcategory").empty
    assert pair.outcome_shift().empty
    assert math.isinf(pair.mde)


def test_several_samples_are_means_and_the_grid_goes_by_majority(
    tiny_dataset: TinyDataset, make_run: MakeRun, catalog: Catalog
) -> None:
    data = tiny_dataset(n=12)
    four = Sampling(samples=4)
    make_run(data, samples_of(data, {0: 2, 1: 3, 2: 4}, 4), "before", sampling=four)
    make_run(data, samples_of(data, {0: 3, 1: 2, 2: 4}, 4), "after", sampling=four)
    pair = compare(catalog, None, ["after"], "before").pairs[0]
    ids = [item.id for item in data.items]
    assert pair.grid["won"] == (ids[0],)  # 2 of 4 is no majority, 3 of 4 is
    assert pair.grid["lost"] == (ids[1],)
    assert pair.grid["both_right"] == (ids[2],)
    assert pair.difference.mean == pytest.approx(0)
    assert pair.mcnemar is None
    assert "more than half" in pair.note


def test_groups_are_corrected_together_and_small_ones_are_never_celebrated(
    tiny_dataset: TinyDataset, say: Say, catalog: Catalog
) -> None:
    data = tiny_dataset(n=57)  # three subcategories of 19
    say(data, "before", set())
    say(data, "after", set(range(0, 57, 3)))  # all of the first
    pair = compare(catalog, None, ["after"], "before").pairs[0]
    table = pair.by("subcategory").set_index("group")
    row = table.loc["Counting"]
    assert (row["n"], row["delta"], row["layer"]) == (19, 1.0, "Signal Layer")
    assert row["p_holm"] < 0.05
    assert row["p_holm"] == pytest.approx(3 * row["p"])
    assert row["small"]
    assert not row["significant"]
    assert row["shrunken"] == 1  # nothing varies within these groups: there is no noise to pull out
    layers = pair.by("layer")
    assert list(layers["n"]) == [19, 19, 19]
    assert layers["layer"].isna().all()
    positions = pair.by("gold")
    assert list(positions["group"]) == ["0", "1", "2", "3"]
    with pytest.raises(RunError, match="cannot be split by 'colour'"):
        pair.by("colour")


def test_splits_scores_and_errata_each_count_their_own_items(
    tiny_dataset: TinyDataset, say: Say, catalog: Catalog
) -> None:
    data = tiny_dataset(n=40, kind="benchmark")
    say(data, "before", set(range(20)))
    say(data, "after", set(range(25)))
    marks = Marks(data.items[0].id, data.items[39].id, "not here")
    halves = [
        compare(catalog, marks, ["after"], "before", split=split).pairs[0] for split in ("explore", "sealed")
    ]
    whole = compare(catalog, marks, ["after"], "before")
    assert sum(half.n for half in halves) == whole.pairs[0].n == 40
    assert {*halves[0].flips, *halves[1].flips} == {*whole.pairs[0].flips}
    without = compare(catalog, marks, ["after"], "before", without_errata=True)
    assert without.pairs[0].n == 38
    assert without.errata == whole.errata == 2
    assert without.pairs[0].outcome_shift()["run"].sum() == 38
    views = whole.views().set_index(["run_id", "split", "score", "errata"])
    assert views.loc[("after", "full", "strict", "with"), "accuracy"] == 25 / 40
    assert views.loc[("after", "full", "strict", "without"), "accuracy"] == 24 / 38
    assert views.loc[("after", "explore", "official", "with"), "n"] == halves[0].n
    for row in whole.leaderboard.itertuples():
        assert views.loc[(row.run_id, "full", "strict", "with"), "low"] == row.low
    with pytest.raises(RunError, match="split 'train'"):
        compare(catalog, None, ["after"], "before", split="train")


def test_many_runs_against_one_are_corrected_for_being_many(
    tiny_dataset: TinyDataset, say: Say, catalog: Catalog
) -> None:
    data = tiny_dataset(n=N)
    say(data, "before", set(range(20)))
    others = [f"try-{k}" for k in range(6)]
    for k, run_id in enumerate(others):
        # the first alone would be significant (p = 0.04), as one of six tries often is
        say(data, run_id, set(range(1, 28)) if k == 0 else set(range(20)))
    found = compare(catalog, None, others, "before")
    best = found.pair("try-0")
    assert 0.02 < best.difference.p < 0.05
    assert best.p_holm == pytest.approx(min(1, 6 * best.difference.p))
    assert best.verdict.startswith("Not distinguishable from noise")
    assert "better" not in best.verdict
    assert "6 runs were compared" in best.verdict
    assert f"Alone, its p would be {best.difference.p:.3f}" in best.verdict
    alone = compare(catalog, None, ["try-0"], "before").pair("try-0")
    assert "is better than" in alone.verdict


def test_what_cannot_be_compared_is_refused(tiny_dataset: TinyDataset, say: Say, catalog: Catalog) -> None:
    say(tiny_dataset(), "before", {0})
    with pytest.raises(RunError, match="no run 'gone'"):
        compare(catalog, None, ["gone"], "before")
    with pytest.raises(RunError, match="no score 'lenient'"):
        compare(catalog, None, ["before"], "before", score="lenient")  # type: ignore[arg-type]
    alone = compare(catalog, None, ["before"], "before")
    assert alone.pairs == ()
    assert len(alone.leaderboard) == 1
    assert np.isfinite(alone.leaderboard["accuracy"]).all()
