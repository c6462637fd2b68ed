"""The Compare page's words, colours, charts and files: numbers are said the same way wherever they stand."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

from app.compare import charts, words
from app.compare.export import chart_file
from app.theme import Palette
from app.widgets.runs import most_runs, run_colours
from audioreason.stats import Difference, verdict

PALETTE = Palette(
    text="#1C2127",
    grey="#646C77",
    line="#E2E5E9",
    background="#FFFFFF",
    surface="#F6F7F8",
    accent="#4A54C4",
    right="#0E7C6B",
    wrong="#C2452D",
    series=("#4A54C4", "#CF9140", "#19A7F1", "#933C71", "#76752D", "#52187F", "#8C93A0"),
)
CALLED = {"a": "direct", "b": "heard"}


def pair(mean: float, p: float, clusters: int = 900, **grid: int) -> Any:
    """What the words read of a comparison whose p after Holm is `p`."""
    difference = Difference(mean, mean - 0.03, mean + 0.03, p, 1_000, clusters)
    items = {name: ("item",) * grid.get(name, 0) for name in ("won", "lost", "both_right", "both_wrong")}
    return SimpleNamespace(
        run_id="b",
        baseline="a",
        labels=("direct model-1", "heard"),
        n=1_000,
        difference=difference,
        p_holm=p,
        significant=p < 0.05,
        verdict=f"{verdict(difference, 'direct model-1', 'heard')} This p is after Holm.",
        grid=items,
        mde=0.039,
    )


def groups() -> pd.DataFrame:
    """Two subcategories: one differs, the other is small."""
    return pd.DataFrame(
        {
            "group": ["Counting", "Imagination"],
            "n": [99, 10],
            "delta": [0.25, -0.2],
            "low": [0.1, -np.inf],
            "high": [0.4, np.inf],
            "shrunken": [0.2, -0.05],
            "p_holm": [0.003, 1.0],
            "significant": [True, False],
            "small": [False, True],
        }
    )


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.036, "+3.6"), (-0.004, "−0.4"), (0.0001, "0.0"), (-0.0004, "0.0"), (np.inf, "")]
)
def test_points_have_a_sign_unless_they_are_none(fraction: float, text: str) -> None:
    assert words.points(fraction) == text


def test_the_claim_names_both_runs_as_the_page_does_and_never_calls_noise_better() -> None:
    assert words.claim(pair(0.02, 0.051), CALLED) == (
        "heard against direct: not distinguishable from noise: +2.0 points, 95% CI −1.0 to +5.0."
    )
    assert words.claim(pair(0.02, 0.049), CALLED).startswith("heard is better than direct: +2.0 points")
    assert words.claim(pair(-0.02, 0.001), CALLED).startswith("heard is worse than direct: −2.0 points")


def test_one_line_says_what_the_claim_says() -> None:
    assert words.brief(pair(0.02, 0.06), CALLED) == (
        "heard against direct: not distinguishable from noise: +2.0 points."
    )
    assert words.brief(pair(0.02, 0.01), CALLED) == "heard is better than direct: +2.0 points."


def test_the_evidence_names_what_survives_correction_and_nothing_else() -> None:
    said = words.evidence(pair(0.02, 0.02, won=7, lost=5), CALLED, groups(), prompts_tried=12)
    assert said.startswith(
        "p = 0.020, 1000 items. This p is after Holm. It gains 25.0 points on Counting (99 items) after Holm."
    )
    assert "Imagination" not in said
    assert "12 items flip." in said
    assert "below 3.9 points would mostly go unseen" in said
    assert "12 prompts have been tried" in said


def test_a_run_keeps_its_colour_whatever_the_order_and_never_has_the_baselines() -> None:
    runs = ["run-1", "run-2", "run-3", "run-4"]
    expected = run_colours(runs, PALETTE, "run-2")
    for order in itertools.permutations(runs):
        assert run_colours(order, PALETTE, "run-2") == expected
    assert expected["run-2"] == PALETTE.series[-1]
    assert len(set(expected.values())) == 4


def test_as_many_runs_as_may_be_chosen_have_colours_of_their_own() -> None:
    runs = [f"run-{k}" for k in range(most_runs(PALETTE))]
    assert len(set(run_colours(runs, PALETTE, runs[3]).values())) == len(runs)


def test_a_chart_greys_marks_of_small_groups_and_keeps_an_unknown_interval_inside() -> None:
    overall = Difference(0.02, -0.01, 0.05, 0.2, 1_000, 900)
    drawn = charts.differences(groups(), overall, "points", PALETTE)
    assert list(drawn.frame["tone"]) == ["right", ""]
    assert np.isfinite(drawn.frame[["low", "high"]].to_numpy()).all()
    document = orjson.loads(chart_file(lambda: drawn, PALETTE, "json"))
    assert [row["points"] for row in document["data"]["values"]] == ["+25.0", "−20.0"]
    texts = [layer for layer in document["layer"] if layer["mark"]["type"] == "text"]
    assert len(texts) == 2
    assert not any("opacity" in layer["encoding"] for layer in texts)


def test_a_chart_as_a_file_shows_its_numbers() -> None:
    drawn = charts.differences(groups(), Difference(0.02, -0.01, 0.05, 0.2, 1_000, 900), "points", PALETTE)
    assert "+25.0" in chart_file(lambda: drawn, PALETTE, "svg").decode()
    assert chart_file(lambda: drawn, PALETTE, "png").startswith(b"\x89PNG")
