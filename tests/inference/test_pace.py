"""How many requests are in flight, in a simulated server whose time is not the clock's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from audioreason.inference.pace import Pace, Sent, read_width, write_width


def drive(pace: Pace, latency: Callable[[int], float], rounds: int) -> list[int]:
    """Answer whole rounds; `latency(in flight)` in seconds. Returns the limit after each round."""
    now, limits = 0.0, []
    for _ in range(rounds):
        width = pace.limit
        for _ in range(width):
            pace.succeeded(Sent(now, width), latency(width), 0)
        now += latency(width)
        limits.append(pace.limit)
    return limits


def test_starts_at_the_full_width_or_at_what_was_borne() -> None:
    assert Pace(256).limit == 256
    assert Pace(256, first=40).limit == 40
    assert Pace(16, first=40).limit == 16
    assert Pace(256).borne is None
    assert Pace(256, first=40).borne == 40


def test_climbs_to_the_most_while_latency_holds() -> None:
    pace = Pace(256, first=64)
    limits = drive(pace, lambda _: 0.1, 40)
    assert limits == sorted(limits)
    assert limits[0] <= 73
    assert limits[-1] == 256
    assert pace.borne is None


def test_stays_where_more_in_flight_only_waits_longer() -> None:
    pace = Pace(1024, first=32)
    limits = drive(pace, lambda width: 0.1 * max(1.0, width / 50), 60)  # the server does 50 at a time
    assert 40 <= limits[-1] <= 200
    assert pace.borne == limits[-1]


def test_a_width_is_kept_for_each_server(tmp_path: Path) -> None:
    write_width(tmp_path, "http://a/v1 m", 40)
    write_width(tmp_path, "http://b/v1 m", 7)
    assert (read_width(tmp_path, "http://a/v1 m"), read_width(tmp_path, "http://b/v1 m")) == (40, 7)
    write_width(tmp_path, "http://a/v1 m", None)
    assert read_width(tmp_path, "http://a/v1 m") is None
    (tmp_path / "widths.json").write_text("{")
    assert read_width(tmp_path, "http://b/v1 m") is None


def test_halves_once_for_all_that_was_in_flight() -> None:
    pace = Pace(64)
    for _ in range(64):
        pace.overloaded(Sent(1.0, 64), now=2.0)
    assert pace.limit == 32
    pace.overloaded(Sent(2.5, 32), now=3.0)
    assert pace.limit == 16


def test_climbs_again_slowly_after_backing_off() -> None:
    pace = Pace(64)
    drive(pace, lambda _: 0.1, 2)
    pace.overloaded(Sent(1.0, 64), now=2.0)
    limits = drive(pace, lambda _: 0.1, 30)
    assert limits[0] <= 36
    assert limits[-1] == 64


def test_never_below_one_nor_above_the_most() -> None:
    pace = Pace(3)
    assert pace.limit == 3
    for moment in range(10):
        pace.overloaded(Sent(moment + 0.5, 1), now=moment + 1.0)
    assert pace.limit == 1
    drive(pace, lambda _: 0.1, 50)
    assert pace.limit == 3


def test_waits_as_long_as_the_server_asked() -> None:
    pace = Pace(8)
    pace.overloaded(Sent(1.0, 8), now=2.0, retry_after=5.0)
    pace.overloaded(Sent(1.0, 8), now=2.5, retry_after=1.0)
    assert pace.blocked_until == 7.0
