"""The filter: zones, gates, ranking and weights; nothing is lost, nothing wrong is kept."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioreason.errors import RestError
from audioreason.rest.filter import PRESETS, FilterConfig, filter_config, select
from audioreason.rest.zones import CODE, NAMES, PAPER, Zones, drift, heard_groups


def tables(
    right: dict[str, list[bool | None]], outcomes: dict[tuple[str, int], str] | None = None, choices: int = 4
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Candidates (None: a server error) whose length grows with the sample, each with its own words."""
    rows = []
    for item, answers in right.items():
        for sample, good in enumerate(answers):
            usual = "server_error" if good is None else "correct" if good else "wrong"
            text = " ".join(f"{item}{sample}w{n}" for n in range(10 + sample))
            outcome = (outcomes or {}).get((item, sample), usual)
            rows.append((item, sample, good, outcome, 0, 10 + sample, len(text), text))
    columns = ["item_id", "sample", "strict", "outcome", "choice", "tokens", "chars", "text"]
    frame = pd.DataFrame(rows, columns=columns).astype({"strict": "boolean", "tokens": "Int64"})
    problems = pd.DataFrame(
        [(item, "Counting", "Signal Layer", "family", choices) for item in right],
        columns=["item_id", "subcategory", "layer", "family", "n_choices"],
    )
    return frame, problems


def of(k: int, n: int = 16) -> list[bool | None]:
    return [index < k for index in range(n)]


@pytest.mark.parametrize(
    ("zones", "ends"),
    [
        (PAPER, {0: 0, 1: 1, 4: 1, 5: 2, 12: 2, 13: 3, 15: 3, 16: 4}),
        (CODE, {0: 0, 1: 1, 3: 1, 4: 2, 11: 2, 12: 3, 14: 3, 15: 4, 16: 4}),
    ],
)
def test_the_published_edges(zones: Zones, ends: dict[int, int]) -> None:
    assert {k: NAMES.index(zones.of(k, 16)) for k in ends} == ends


def test_guessing_alone_fills_the_learning_zone_of_four_choices_with_a_third() -> None:
    assert PAPER.guessed(4, 16)["learning"] == pytest.approx(0.37, abs=0.005)
    for choices in (2, 3, 4, 5):
        assert sum(CODE.guessed(choices, 8).values()) == pytest.approx(1.0)


def test_the_code_preset_keeps_what_it_says_with_its_weights() -> None:
    made = select(
        *tables({"hard": of(2), "half": of(8), "good": of(13), "easy": of(16), "never": of(0)}),
        PRESETS["code"],
    )
    kept = made.candidates[made.candidates["kept"]].groupby("item_id")
    assert kept.size().to_dict() == {"good": 1, "half": 3, "hard": 2}
    assert kept["weight"].first().to_dict() == {"good": 0.5, "half": 1.5, "hard": 1.0}
    assert sorted(made.candidates.query("item_id == 'half' and kept")["sample"]) == [0, 1, 2]  # the shortest
    reasons = made.candidates.set_index(["item_id", "sample"])["reason"]
    assert reasons["half", 5] == "longer than the best 3" and reasons["half", 9] == "wrong answer"
    assert reasons["easy", 0] == "the zone mastered is not learned from" and reasons["hard", 0] == ""
    assert made.words.startswith("6 of 80 candidates for 5 problems are kept")


def test_server_errors_leave_the_denominator() -> None:
    made = select(*tables({"one": [True, False, None, None]}), PRESETS["paper"])
    row = made.problems.iloc[0]
    assert (row["n"], row["k"], row["errors"], row["zone"]) == (2, 1, 2, "learning")
    assert made.candidates["reason"].tolist() == ["", "wrong answer", "server error", "server error"]


def test_gates_keep_out_what_is_right_but_badly_said_and_near_duplicates() -> None:
    outcomes = {("half", 0): "looped", ("half", 1): "truncated", ("half", 2): "format_broken"}
    candidates, problems = tables({"half": of(8)}, outcomes)
    same = candidates.loc[3, "text"]
    candidates.loc[4, "text"] = f"{same} and"  # nine tenths of its three-word sequences are the other's
    candidates.loc[5, "text"] = str(same).upper()
    made = select(candidates, problems, filter_config("paper", {"near_duplicate": 0.8}))
    assert made.candidates.loc[made.candidates["kept"], "sample"].tolist() == [3, 6, 7]
    assert made.candidates["reason"].tolist()[:6] == [
        "repeats itself", "cut off at the longest length", "format broken", "",
        "nearly the same as a kept one", "nearly the same as a kept one",
    ]  # fmt: skip


def test_only_groups_where_hearing_beats_silence_count() -> None:
    beats = heard_groups(
        [0.9, 0.7] * 4 + [0.5] * 8 + [1.0] * 3,
        [0.2, 0.1] * 4 + [0.5] * 8 + [0.0] * 3,
        ["a"] * 8 + ["b"] * 8 + ["c"] * 3,
    )
    assert beats == {"a": True, "b": False, "c": False}  # three problems say nothing
    candidates, problems = tables({f"p{n}": of(12) for n in range(8)})
    silent = {f"p{n}": 0.25 for n in range(8)}
    assert select(candidates, problems, PRESETS["paper"], silent=silent).problems["counts"].all()
    deaf = dict.fromkeys(silent, 0.75)
    made = select(candidates, problems, PRESETS["paper"], silent=deaf)
    assert not made.problems["counts"].any() and made.summary["control"] == "silent control"
    three = tables({"p": of(8)}, choices=3)
    assert not select(*three, PRESETS["paper"]).problems["counts"].any()


def test_rehearsal_adds_mastered_problems_the_same_for_the_same_seed() -> None:
    right = {"half": of(8)} | {f"easy{n}": of(16) for n in range(20)}
    picks = []
    for seed in (1, 1, 2):
        made = select(*tables(right), PRESETS["paper"], rehearsal=0.5, seed=seed)
        kept = made.candidates[made.candidates["kept"]]
        picks.append(sorted(kept.loc[kept["zone"] == "mastered", "item_id"]))
        assert (kept["zone"] == "mastered").sum() == 4  # half of eight
    assert picks[0] == picks[1] != picks[2]


def test_rehearsal_passes_the_same_gates() -> None:
    candidates, problems = tables({"half": of(8)} | {f"easy{n}": of(16) for n in range(6)})
    candidates["mentions"] = candidates["item_id"] == "half"
    made = select(candidates, problems, filter_config("paper", {"cues": True}), rehearsal=1.0).candidates
    assert set(made.loc[made["kept"], "item_id"]) == {"half"}


def test_a_candidate_without_its_problem_is_named() -> None:
    candidates, problems = tables({"a": of(8), "b": of(8)})
    with pytest.raises(RestError, match="answer b, which is none"):
        select(candidates, problems[:1], PRESETS["paper"])


@pytest.mark.parametrize(("right", "kept"), [({"a": of(0)}, 0), ({"a": of(16)}, 0), ({}, 0)])
def test_nothing_right_all_right_and_no_problem_give_an_empty_selection(
    right: dict[str, list[bool | None]], kept: int
) -> None:
    made = select(*tables(right), PRESETS["paper"])
    assert int(made.candidates["kept"].sum()) == kept and len(made.problems) == len(right)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=8),
        max_size=6,
    ),
    st.sampled_from(["zones", "learning", "top", "best", "all"]),
    st.sampled_from(["paper", "code"]),
)
def test_whatever_the_answers_every_candidate_is_kept_or_has_a_reason(
    right: dict[str, list[bool | None]], strategy: str, preset: str
) -> None:
    candidates, problems = tables(right)
    made = select(candidates, problems, filter_config(preset, {"strategy": strategy})).candidates
    assert len(made) == len(candidates)
    assert ((made["reason"] == "") == made["kept"]).all()
    assert made.loc[made["kept"], "strict"].fillna(False).all()
    assert ((made["weight"] > 0) == made["kept"]).all()
    for _, group in made[made["kept"]].groupby("item_id"):
        assert sorted(group["rank"]) == list(range(1, len(group) + 1))
        assert group.sort_values("rank")["tokens"].is_monotonic_increasing


def test_drift_counts_problems_by_zone_before_and_after() -> None:
    before = pd.DataFrame({"item_id": ["a", "b", "c"], "zone": ["learning", "learning", "mastered"]})
    after = pd.DataFrame({"item_id": ["b", "a", "x"], "zone": ["mastered", "learning", "unsolved"]})
    table = drift(before, after)
    assert table.loc["learning", "mastered"] == 1 and table.to_numpy().sum() == 2


def test_wrong_settings_are_one_sentence() -> None:
    with pytest.raises(RestError, match="no filter papr") as caught:
        filter_config("papr")
    assert "paper" in caught.value.hint
    with pytest.raises(RestError, match="edges of the zones must rise"):
        filter_config("paper", {"zones": {"challenging": 0.8, "learning": 0.3}})
    with pytest.raises(RestError, match="lerning"):
        filter_config("paper", {"lerning": {"best": 3}})
    with pytest.raises(RestError, match="cue gate"):
        select(*tables({"a": of(8)}), FilterConfig(cues=True))
