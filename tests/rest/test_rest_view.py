"""What a reader is told of a round: figures, histogram, pages of candidates, warnings in words."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from audioreason.errors import RunError
from audioreason.items import Item
from audioreason.rest import outline, view
from audioreason.rest.forgetting import Beyond, Change, as_forgetting
from audioreason.rest.outline import Experiment, Round
from audioreason.rest.view import Figures, Score, Wanted, share
from audioreason.runs import Prediction
from audioreason.stats import Difference

ZONES = ("unsolved", "challenging", "learning", "almost", "mastered")


def problems() -> pd.DataFrame:
    """Four problems of four answers each, one of them with a missing answer, one that does not count."""
    return pd.DataFrame(
        {
            "item_id": ["a", "b", "c", "d"],
            "subcategory": ["Counting", "Counting", None, "Pitch"],
            "layer": ["Signal", "Signal", None, "Signal"],
            "n_choices": [4, 4, 2, 4],
            "n": [4, 4, 4, 3],
            "k": [0, 2, 4, 2],
            "zone": ["unsolved", "learning", "mastered", "learning"],
            "counts": [True, True, False, True],
        }
    )


def candidates() -> pd.DataFrame:
    """Their sixteen candidates; the last of d has no answer."""
    rows = []
    for item_id, k in (("a", 0), ("b", 2), ("c", 4), ("d", 2)):
        for sample in range(4):
            gone = (item_id, sample) == ("d", 3)
            right = None if gone else sample < k
            kept = item_id == "b" and sample == 0
            rows.append((item_id, sample, right, kept, "" if kept else "wrong answer", 10.0 + sample))
    frame = pd.DataFrame(rows, columns=["item_id", "sample", "strict", "kept", "reason", "tokens"])
    zone = dict(zip(problems()["item_id"], problems()["zone"], strict=True))
    return frame.assign(zone=frame["item_id"].map(zone))


def test_figures_leave_missing_answers_and_problems_that_do_not_count_out() -> None:
    found = view.figures(problems(), candidates(), ZONES)
    assert (found.problems, found.counted, found.candidates, found.errors) == (4, 3, 16, 1)
    assert (found.right.k, found.right.n) == (8, 15)
    assert (found.solved.k, found.solved.n) == (3, 4)
    assert found.zones == (1, 0, 2, 0, 0)
    assert found.kept == 1
    assert found.kept_tokens == 10.0


def test_the_histogram_holds_only_problems_with_all_answers_and_guessing_by_their_choices() -> None:
    found = view.histogram(problems(), 4)
    assert found.counts == (1, 0, 1, 0, 1)
    assert found.left_out == 1
    assert sum(found.guess) == pytest.approx(3)
    # two problems of four choices, one of two: all four right by luck
    assert found.guess[4] == pytest.approx(2 * 0.25**4 + 0.5**4)


def test_candidates_are_found_by_zone_reason_subcategory_and_verdict() -> None:
    def ids(wanted: Wanted, limit: int = 50, offset: int = 0) -> list[tuple[str, int]]:
        found = view.find(candidates(), problems(), wanted, limit, offset)
        return [(row["item_id"], row["sample"]) for row in found.rows]

    assert ids(Wanted(kept=True)) == [("b", 0)]
    assert ids(Wanted(zones=("learning",), kept=False)) == [
        ("b", 1),
        ("b", 2),
        ("b", 3),
        *(("d", k) for k in range(4)),
    ]
    assert ids(Wanted(subcategories=("none",)), limit=2, offset=1) == [("c", 1), ("c", 2)]
    assert view.find(candidates(), problems(), Wanted(reasons=("no such",)), 50, 0).total == 0
    missing = view.find(candidates(), problems(), Wanted(subcategories=("Pitch",)), 50, 0).rows[-1]
    assert missing["strict"] is None  # a server error is neither right nor wrong


def test_a_table_that_cannot_be_read_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(RunError, match=r"torn\.parquet cannot be read"):
        view.read_table(tmp_path / "torn.parquet", ["zone"])
    problems().drop(columns="zone").to_parquet(tmp_path / "old.parquet")
    with pytest.raises(RunError, match="no column zone"):
        view.read_table(tmp_path / "old.parquet", ["zone"])


def test_metrics_of_a_training_under_way_end_before_the_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step":1,"loss":2.0}\n{"step":2,"loss":1.5}\n{"step":3,"lo')
    assert [row["step"] for row in view.metrics(path)] == [1, 2]
    assert view.metrics(tmp_path / "none.jsonl") == []


def made(zones: tuple[int, ...], guess: float = 0.37, kept_tokens: float = 100.0) -> Figures:
    """A round's figures with zones as given."""
    luck = (0.1, 0.3, guess, 0.1, 0.0)
    return Figures(
        100, sum(zones), 1_600, 0, share(1_000, 1_600), share(90, 100), zones, luck, 50, kept_tokens, 120.0
    )


def experiment(*rounds: Round) -> Experiment:
    """An experiment of these rounds."""
    return Experiment("x", False, 16, ("direct",), "mmar", ZONES, 2, {}, rounds)


def change(lost: int, own: int) -> Change:
    """Of 200 items of as many clips, beside what the base itself loses."""
    mean = (lost - own) / 200
    beyond = Beyond(mean=mean, low=mean - 0.06, high=mean + 0.06, p=0.01, n=200, clusters=200)
    return Change(k=lost, of=200, low=0.1, high=0.2, clips=200, own=own, beyond=beyond)


def said(one: Round, figures: Figures, *scores: Score) -> str:
    return " ".join(outline.warnings(experiment(Round(0, "done", True), one), {1: figures}, list(scores)))


def test_a_learning_zone_no_larger_than_luck_makes_it_is_never_left_unsaid() -> None:
    assert "guessing alone would put 37.0% there" in said(Round(1, "done", True), made((10, 20, 35, 20, 15)))
    assert "guessing alone" not in said(Round(1, "done", True), made((10, 5, 70, 10, 5)))
    assert "nothing to learn from" in said(Round(1, "done", True), made((50, 0, 0, 0, 50)))


def test_collapse_forgetting_overrides_and_losses_are_said_in_words() -> None:
    good = made((10, 5, 70, 10, 5))
    assert "reasoning collapse" in said(Round(1, "done", True), made((10, 5, 70, 10, 5), kept_tokens=40.0))
    assert "it forgets" in said(Round(1, "done", True, forgetting=as_forgetting((30, 200))), good)
    assert "forgets" not in said(Round(1, "done", True, forgetting=as_forgetting((1, 200))), good)
    lucky = as_forgetting((30, 200)).model_copy(update={"lost": change(30, 28)})
    assert "forgets" not in said(Round(1, "done", True, forgetting=lucky), good)
    firm = lucky.model_copy(update={"lost": change(60, 10)})
    assert "the base 10 of them when it is asked again: it forgets" in said(
        Round(1, "done", True, forgetting=firm), good
    )
    assert "No silent control" in said(Round(1, "done", True, control=False), good)
    assert "extra supervision: cues" in said(Round(1, "done", True, supervision="cues"), good)
    assert "says nothing" in said(Round(1, "done", True, override="for a test"), good)
    worse = Difference(-0.04, -0.07, -0.01, 0.01, 500, 400)
    score = Score("direct", 1, "x-r1-eval-direct", 500, 0.6, 0.55, 0.65, True, worse)
    assert "worse than the base with the prompt direct: \N{MINUS SIGN}4.0 points" in said(
        Round(1, "done", True), good, score
    )


def test_a_difference_that_may_be_noise_is_not_called_progress() -> None:
    noise = Difference(0.01, -0.02, 0.04, 0.5, 500, 400)
    score = Score("direct", 1, "x-r1-eval-direct", 500, 0.6, 0.55, 0.65, True, noise)
    assert "every difference may be noise" in said(Round(1, "done", True), made((10, 5, 70, 10, 5)), score)


def test_a_share_of_what_a_server_counted_is_told_from_a_length_of_its_own() -> None:
    from audioreason.rest.choosing import candidate_table, problem_table
    from audioreason.rest.filter import filter_config, select

    item = Item(id="a", question="Which?", choices=("one", "two"), answer="one")
    for shared in (False, True):
        made = [
            Prediction("a", sample, content="(A) one", completion_tokens=7, tokens_estimated=shared)
            for sample in range(2)
        ]
        table = candidate_table(made, {"a": item}, ())
        result = select(table, problem_table([item]), filter_config("code"))
        assert result.candidates["tokens_estimated"].tolist() == [shared] * 2
        assert view.figures(result.problems, result.candidates, ("0", "1")).estimated is shared
