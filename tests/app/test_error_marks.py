"""Where a text repeats itself, and the address of the Error explorer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.errors.confusions import run_labels
from app.errors.marks import mark_loops, repeated
from app.widgets.trace import parts


def test_a_sentence_is_a_loop_from_its_third_time_on() -> None:
    text = "A bell rings. So the answer is three. So the answer is three. So the answer is three. Done."
    (span,) = repeated(text)
    assert text[slice(*span)] == "So the answer is three. "
    assert text[: span[0]].count("So the answer is three.") == 2


def test_loops_that_follow_each_other_are_one_range() -> None:
    text = "It may be a whistle. " * 6
    assert repeated(text) == [(2 * 21, 6 * 21)]


def test_short_words_may_come_again_and_again() -> None:
    assert repeated("Yes. No. Yes. No. Yes. No. Yes.") == []


def test_times_inside_a_loop_stay_buttons() -> None:
    pieces = mark_loops(parts("The bell is at 2.60 here. " * 4, 5.0))
    assert [piece["start"] for piece in pieces if "start" in piece] == [2.6] * 4
    struck = "".join(piece["text"] for piece in pieces if piece.get("looped"))
    assert struck.count("The bell is at") == 2


@given(
    st.lists(st.sampled_from(["It is a bell here. ", "Then glass breaks! ", "ok\n", "2.60 s, "]), max_size=30)
)
def test_marking_changes_no_character(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert "".join(part["text"] for part in mark_loops(parts(text, 9.0))) == text


def test_runs_that_read_the_same_are_told_apart_by_their_ids() -> None:
    listed = [
        {"run_id": "a", "prompt": "baseline", "prompt_version": "0123456789ab"},
        {"run_id": "b", "prompt": "baseline", "prompt_version": "0123456789ab"},
        {"run_id": "c", "prompt": "mipro", "prompt_version": "4567"},
    ]
    assert run_labels(listed) == {"a": "a", "b": "b", "c": "mipro 4567"}
