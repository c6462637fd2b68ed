"""Cutting a model's text into clickable parts: what is a time, what is only a number."""

from hypothesis import given
from hypothesis import strategies as st

from app.widgets.trace.parts import mark_changes, parts
from audioreason.items.schema import Event


def buttons(text: str, seconds: float = 10.0, events: tuple[Event, ...] = ()) -> list[tuple[str, float]]:
    return [(part["text"], part["start"]) for part in parts(text, seconds, events) if "start" in part]


def test_decimals_units_and_clock_times_can_be_clicked() -> None:
    assert buttons("a click at 3.10, one at 7 s and one at 0:04.") == [
        ("3.10", 3.1),
        ("7 s", 7.0),
        ("0:04", 4.0),
    ]


def test_plain_counts_years_and_versions_are_not_times() -> None:
    assert buttons("3 times, 2 knocks, in 1999, with v1.2.3 and option 4") == []


def test_a_time_after_the_end_of_the_clip_is_only_text() -> None:
    assert buttons("at 12.5 and at 0:45", seconds=10.0) == []


def test_a_range_plays_to_its_end() -> None:
    found = [part for part in parts("doorbell 0.55–2.1 then silence", 10.0) if "start" in part]
    assert found == [{"text": "0.55–2.1", "start": 0.55, "end": 2.1}]


def test_two_times_joined_by_and_stay_two() -> None:
    assert buttons("knocks at 6.9 and 7.2") == [("6.9", 6.9), ("7.2", 7.2)]


def test_the_second_mention_of_an_event_leads_to_its_second_occurrence() -> None:
    events = (
        Event(label="glass struck", start=3.1, end=3.4),
        Event(label="glass struck", start=5.6, end=5.9),
    )
    assert buttons("Glass struck, then glass_struck again.", events=events) == [
        ("Glass struck", 3.1),
        ("glass_struck", 5.6),
    ]


def test_a_quoted_phrase_leads_to_the_time_behind_it() -> None:
    assert buttons('she says "watch this" at 4.20') == [('"watch this"', 4.2), ("4.20", 4.2)]


@given(st.text(max_size=400), st.floats(0, 1000))
def test_the_parts_joined_are_the_text(text: str, seconds: float) -> None:
    events = (Event(label="bell", start=0.0, end=1.0), Event(label="0.5", start=0.0, end=1.0))
    assert "".join(part["text"] for part in parts(text, seconds, events)) == text


@given(
    st.lists(
        st.sampled_from(["0.55", "–", "2.1", " s", " to ", '"', "bell", "0:04", "\n", "and", "(", "7"]),
        max_size=25,
    )
)
def test_no_mixture_of_times_quotes_and_labels_loses_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    found = parts(text, 9.0, (Event(label="bell", start=0.0, end=1.0),))
    assert "".join(part["text"] for part in found) == text


def test_words_that_the_other_answer_does_not_have_are_marked() -> None:
    pieces = mark_changes(parts("Glass at 3.10 and three knocks.", 9.0), "Glass at 2.00 and two knocks.")
    assert [piece["text"] for piece in pieces if piece.get("changed")] == ["three"]
    assert [piece["text"] for piece in pieces if "start" in piece] == ["3.10"]


@given(st.text("ab .1\n", max_size=80), st.text("ab .1\n", max_size=80))
def test_marking_changes_loses_no_text_and_marks_nothing_in_equal_texts(text: str, other: str) -> None:
    assert "".join(piece["text"] for piece in mark_changes(parts(text, 9.0), other)) == text
    assert not any(piece.get("changed") for piece in mark_changes(parts(text, 9.0), text))
