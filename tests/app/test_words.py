"""Small words on the screen, and text that Markdown must not read."""

from datetime import datetime, timedelta

import pandas as pd
import pytest

from app.overview import labels_of
from app.session import plain
from app.words import duration, tokens, when

NOW = datetime(2026, 11, 23, 14, 5).astimezone()


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (NOW - timedelta(minutes=7), "13:58"),
        (NOW - timedelta(days=1), "yesterday"),
        (NOW - timedelta(days=12), "11 Nov"),
        (NOW - timedelta(days=400), "19 Oct 2025"),
    ],
)
def test_a_moment_is_said_as_people_say_it(moment: datetime, words: str) -> None:
    assert when(moment, NOW) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.412, "0.41 s"), (3.24, "3.2 s"), (12.4, "12 s"), (125, "2 m 05"), (5400, "1 h 30")],
)
def test_durations_have_two_digits_that_matter(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_plain_text_means_nothing_to_markdown() -> None:
    hostile = "![x](y) <b> **z** :red[r] $m$ `c` a_b #h\0"
    escaped = plain(hostile)
    assert escaped.replace("\\", "") == hostile.replace("\0", "\ufffd")
    assert "<" not in escaped.replace("\\<", "")
    assert ":red[" not in escaped


@pytest.mark.parametrize(
    ("count", "estimated", "words"),
    [(1, False, "1 token"), (1214, False, "1,214 tokens"), (88, True, "about 88 tokens")],
)
def test_tokens_that_were_not_counted_alone_are_about_so_many(
    count: int, estimated: bool, words: str
) -> None:
    assert tokens(count, estimated) == words


def test_a_text_that_turns_the_direction_does_not_turn_the_sentence_around_it() -> None:
    assert plain("\u202eab\u2066c") == "�ab�c"


def test_imported_answers_are_called_by_their_id() -> None:
    runs = pd.DataFrame(
        {
            "run_id": ["a", "mine"],
            "prompt": ["baseline", None],
            "prompt_version": ["0123456789ab", float("nan")],
            "model": ["listener", float("nan")],
        }
    )
    assert labels_of(runs) == ["baseline 0123", "mine"]
