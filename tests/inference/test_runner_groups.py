"""Requests for several samples: what is in flight is counted in samples, whatever happens to a request."""

from __future__ import annotations

from collections import Counter

import pytest

from audioreason.inference.endpoint import Sampling
from audioreason.inference.pace import Pace, Sent
from audioreason.inference.runner import BatchSummary, RawRecord, Request, Retries, run_batch
from tests.servers import FakeServer, Status, Text
from tests.servers import Request as Arrived

FAST = Retries(attempts=3, base=0.005, cap=0.02, patience=0.2, grace=0.2)


def groups(sizes: list[int]) -> list[Request]:
    return [
        Request(f"item-{number:03d}", 0, number * 100, [{"role": "user", "content": str(number)}], n)
        for number, n in enumerate(sizes)
    ]


def ask(server: FakeServer, asked: list[Request], concurrency: int) -> tuple[list[RawRecord], BatchSummary]:
    records: list[RawRecord] = []
    summary = run_batch(
        asked, server.endpoint, Sampling(), on_record=records.append, concurrency=concurrency, retries=FAST
    )
    return records, summary


@pytest.mark.parametrize(
    ("sizes", "concurrency", "requests"), [([4] * 12, 8, 2), ([4, 3] * 6, 8, 2), ([4] * 5, 3, 1)]
)
def test_samples_in_flight_are_what_concurrency_bounds(
    sizes: list[int], concurrency: int, requests: int
) -> None:
    with FakeServer(Text(after=0.01)) as server:
        records, summary = ask(server, groups(sizes), concurrency)
        assert server.most_in_flight == requests
    assert summary.answered == len(records) == sum(sizes)
    assert summary.widest <= max(concurrency, *sizes)


def test_a_group_waits_for_room_and_small_ones_do_not_pass_it() -> None:
    with FakeServer(Text(after=0.01)) as server:
        ask(server, groups([6, 5, 1, 1, 1]), 8)
        assert [body.get("n", 1) for body in server.bodies] == [6, 5, 1, 1, 1]
        assert server.most_in_flight == 4


def test_a_group_that_failed_is_asked_again_within_the_bound() -> None:
    def answer(request: Arrived) -> Text | Status:
        return Status(500) if request.number % 3 == 0 else Text(after=0.005)

    sizes = [4, 2, 4, 1] * 4
    with FakeServer(answer) as server:
        records, summary = ask(server, groups(sizes), 6)
        assert server.most_in_flight <= 5
    assert Counter(record.item_id for record in records) == {
        f"item-{number:03d}": n for number, n in enumerate(sizes)
    }
    assert summary.retried >= 4
    assert summary.widest <= 6


def test_what_waits_for_room_when_the_server_is_given_up_was_not_sent() -> None:
    with FakeServer(Status(429)) as server:
        records, summary = ask(server, groups([5] * 20), 8)
    assert summary.gave_up
    kinds = Counter((record.error_kind, record.attempt > 0) for record in records)
    assert kinds.keys() == {("rate_limited", True), ("not_sent", False)}
    assert kinds.total() == 100


def test_the_limit_climbs_and_falls_by_samples() -> None:
    def climb(n: int) -> list[int]:
        pace, limits = Pace(256, first=64), []
        for _ in range(3):
            width = pace.limit
            for _ in range(width // n):
                pace.succeeded(Sent(0.0, width, n), 0.1, 10 * n)
            limits.append(pace.limit)
        return limits

    assert climb(1) == [71, 79, 86]
    assert climb(4) == pytest.approx(climb(1), abs=1)
    pace = Pace(64)
    pace.overloaded(Sent(1.0, 32, 4), now=2.0)
    assert pace.limit == 16
