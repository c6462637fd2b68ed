"""What a search's records mean: intervals, lineage, flips, and how much of a winner's score may be luck."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioreason.optimize import view
from audioreason.optimize.config import OptimizeConfig
from audioreason.optimize.record import Candidate, Optimization, Result, State, Trial, Verdict
from audioreason.stats import wilson


def candidate(step: int, parent: int | None, other: int | None = None) -> Candidate:
    name = None if parent is None else f"c{parent}"
    source = "seed" if step == 0 else "merged" if other is not None else "proposed"
    return Candidate(
        f"c{step}", name, "", "", source, step=step, other_parent=None if other is None else f"c{other}"
    )


def trial(n: int, who: str, kind: str, items: tuple[str, ...], score: float) -> Trial:
    return Trial(n, who, kind, "dev", items, score, None, 1.0, 10, len(items), "")  # type: ignore[arg-type]


def verdict(
    who: str, item: str, strict: bool | None, official: bool | None = None, split: str = "dev"
) -> Verdict:
    value = float(bool(strict))
    return Verdict(who, item, 0, split, strict, official, "correct", 0, value, f"{who}{item}")  # type: ignore[arg-type]


def search(candidates: list[Candidate], trials: list[Trial], best: str | None = None) -> Optimization:
    state = State(best=best)
    parts = {"dev": ("a", "b"), "test": ("z",)}
    return Optimization(
        "s", Path(), OptimizeConfig(), parts, None, tuple(candidates), tuple(trials), (), state, False
    )


def test_mean_of_the_largest_normal_draw_is_the_known_one() -> None:
    assert view.expected_maximum(1) == pytest.approx(0, abs=1e-9)
    assert view.expected_maximum(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-9)
    assert view.expected_maximum(3) == pytest.approx(3 / (2 * math.sqrt(math.pi)), abs=1e-9)


def test_score_of_items_of_different_clips_has_wilsons_interval() -> None:
    found = view.share([1.0, 1.0, 0.0, 1.0], ["a", "b", "c", "d"])
    assert found is not None
    assert (found.low, found.high) == pytest.approx(wilson(3, 4))
    assert (found.value, found.n) == (0.75, 4)


def test_items_of_one_clip_widen_the_interval() -> None:
    scores = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    apart, together = view.share(scores, list("abcdefgh")), view.share(scores, list("aabbccdd"))
    assert apart and together
    assert together.high - together.low > apart.high - apart.low


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_interval_of_weighted_scores_holds_the_mean_and_stays_a_share(scores: list[float]) -> None:
    found = view.share(scores, [str(place) for place in range(len(scores))])
    assert found is not None
    assert 0 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 1


def test_full_score_without_every_verdict_claims_no_interval() -> None:
    made = search([candidate(0, None)], [trial(1, "c0", "full", ("a", "b"), 0.5)])
    known = view.by_candidate([verdict("c0", "a", True)])
    found = view.full_share(made, "c0", known, {})
    assert found == view.Share(0.5, 0.0, 1.0, 2)


def test_minibatches_are_put_together_item_by_item_and_kept_apart_from_full_evaluations() -> None:
    trials = [
        trial(1, "c1", "minibatch", ("a", "b"), 0.5),
        trial(2, "c1", "minibatch", ("b", "c", "d", "e"), 1.0),
        trial(3, "c1", "full", ("a", "b"), 0.0),
    ]
    rows = view.rows(search([candidate(0, None), candidate(1, 0)], trials, best="c1"), {}, {})
    assert rows[1].small == pytest.approx(5 / 6)
    assert rows[1].small_n == 5
    assert rows[1].full is not None
    assert rows[1].full.value == 0.0
    assert [row.best for row in rows] == [False, True]


def test_lineage_puts_the_seed_left_and_gives_every_leaf_a_lane() -> None:
    made = [candidate(0, None), candidate(1, 0), candidate(2, 0), candidate(3, 1), candidate(4, 1, other=2)]
    nodes = {node.id: node for node in view.lineage(made)}
    assert [nodes[f"c{step}"].depth for step in range(5)] == [0, 1, 1, 2, 2]
    assert len({nodes[name].lane for name in ("c2", "c3", "c4")}) == 3
    assert nodes["c4"].parents == ("c1", "c2")


def test_lineage_with_a_missing_parent_or_a_circle_still_draws_the_rest() -> None:
    made = [candidate(0, None), candidate(1, 9), candidate(2, 3), candidate(3, 2)]
    nodes = {node.id: node for node in view.lineage(made)}
    assert set(nodes) == {"c0", "c1"}
    assert nodes["c1"].parents == ()


def test_flips_go_by_the_metric_of_the_search_and_count_only_items_both_answered() -> None:
    verdicts = view.by_candidate(
        [
            *(verdict("c0", item, right) for item, right in (("a", False), ("b", True), ("c", None))),
            *(verdict("c1", item, right, official=False) for item, right in (("a", True), ("b", True))),
            verdict("c1", "d", True),
        ]
    )
    strict = view.flips(OptimizeConfig(), verdicts, "c1", "c0")
    assert [(flip.item_id, flip.cell) for flip in strict] == [("a", "won"), ("b", "both_right")]
    official = view.flips(OptimizeConfig(metric="official"), verdicts, "c1", "c0")
    assert {flip.cell for flip in official} == {"both_wrong"}


def test_luck_grows_with_the_candidates_and_needs_two() -> None:
    def of(count: int) -> view.Luck | None:
        items = tuple("abcdefghij")
        trials = [trial(n, f"c{n}", "full", items, 0.5) for n in range(count)]
        return view.luck(search([candidate(n, None) for n in range(count)], trials))

    few, many = of(3), of(20)
    assert of(1) is None
    assert few and many
    assert few.points == pytest.approx(3 / (2 * math.sqrt(math.pi)) * math.sqrt(0.25 / 10))
    assert many.points > few.points
    assert (many.candidates, many.items) == (20, 10)


def test_a_candidate_that_is_tried_twice_in_full_is_one_that_was_tried() -> None:
    again = [trial(n, "c0", "full", ("a", "b"), 0.5) for n in (1, 2)]
    assert view.luck(search([candidate(0, None)], again)) is None


def test_the_kept_candidate_is_the_winner_even_if_another_led() -> None:
    made = search([candidate(0, None)], [], best="c1")
    assert view.winner_of(made) == "c1"
    made.state.result = Result(prompt="x", candidate="c0")
    assert view.winner_of(made) == "c0"


def test_items_that_the_dataset_lost_are_counted() -> None:
    assert view.gone_items(search([], []), ["a"]) == 2
