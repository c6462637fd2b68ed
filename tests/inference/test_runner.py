"""The batch road against a server that misbehaves: one true record for every sample, and none lost."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

import pytest

from audioreason.errors import ItemError, WorkspaceError
from audioreason.inference.client import Timeouts
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.runner import BatchSummary, RawRecord, Request, Retries, run_batch
from audioreason.inference.seeds import sample_seed
from audioreason.progress import Quiet
from tests.servers import Drop, FakeServer, Half, Hang, Raw, Reply, Status, Text, closed_port
from tests.servers import Request as Arrived

FAST = Retries(attempts=3, base=0.005, cap=0.02, patience=0.3, server_wait=0.3, grace=0.2)
QUICK = Timeouts(connect=1, read=0.25, total=1)


def requests(count: int, samples: int = 1) -> list[Request]:
    return [
        Request(
            f"item-{item:03d}", sample, sample_seed(0, f"item-{item:03d}", sample), hello(f"item-{item:03d}")
        )
        for item in range(count)
        for sample in range(samples)
    ]


def hello(item_id: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": item_id}]


def run(
    server: FakeServer | Endpoint, asked: Iterable[Request], **options: Any
) -> tuple[list[RawRecord], BatchSummary]:
    records: list[RawRecord] = []
    endpoint = server if isinstance(server, Endpoint) else server.endpoint
    options = {"retries": FAST, "timeouts": QUICK, **options}
    summary = run_batch(asked, endpoint, Sampling(), on_record=records.append, **options)
    return records, summary


def keys(records: Iterable[RawRecord]) -> Counter[tuple[str, int]]:
    return Counter((record.item_id, record.sample) for record in records)


def test_one_record_for_every_sample() -> None:
    asked = requests(20, samples=4)
    with FakeServer(Text("ANSWER: two", reasoning="hmm")) as server:
        records, summary = run(server, asked)
    assert keys(records) == {(request.item_id, request.sample): 1 for request in asked}
    assert (summary.answered, summary.failed, summary.retried, summary.stopped) == (80, 0, 0, False)
    assert summary.completion_tokens == 80 * 3
    assert {record.content for record in records} == {"ANSWER: two"}
    assert {record.reasoning for record in records} == {"hmm"}
    assert all(record.attempt == 1 and record.error is None and record.seconds > 0 for record in records)


def test_record_is_a_line_of_predictions_jsonl() -> None:
    with FakeServer() as server:
        records, _ = run(server, requests(1))
    line = records[0].to_json()
    assert b"\n" not in line
    assert list(json.loads(line)) == [field.name for field in fields(RawRecord)]


def test_seeds_do_not_depend_on_order_or_company() -> None:
    asked = requests(10, samples=2)
    with FakeServer() as server:
        together, _ = run(server, asked, concurrency=8)
        alone, _ = run(server, reversed(asked[5:7]), concurrency=1)
        sent = {
            body["messages"][0]["content"]: body["seed"]
            for body in server.bodies
            if body["seed"] in (sample_seed(0, body["messages"][0]["content"], 0),)
        }
    seeds = {(record.item_id, record.sample): record.seed for record in together}
    assert all(seeds[record.item_id, record.sample] == record.seed for record in alone)
    assert len(set(seeds.values())) == 20
    assert len(sent) == 10


def test_n_samples_of_one_request_become_n_records() -> None:
    with FakeServer(Text("same")) as server:
        records, summary = run(server, [Request("a", 4, 99, hello("a"), n=3)])
        assert len(server.requests) == 1
    assert sorted((record.sample, record.seed) for record in records) == [(4, 99), (5, 100), (6, 101)]
    assert summary.answered == 3


def test_choices_that_the_server_left_out_are_missed() -> None:
    short = Raw(json.dumps({"choices": [{"message": {"content": "one"}, "finish_reason": "stop"}]}).encode())
    with FakeServer(short) as server:
        records, summary = run(server, [Request("a", 0, 1, hello("a"), n=3)])
    assert [(record.sample, record.error_kind) for record in records] == [
        (0, None),
        (1, "bad_json"),
        (2, "bad_json"),
    ]
    assert (summary.answered, summary.failed) == (1, 2)


@pytest.mark.parametrize(
    ("reply", "kind", "attempts"),
    [
        (Status(500), "http_500", 3),
        (Half(), "half_body", 3),
        (Drop(), "disconnected", 3),
        (Raw(b"<html>", "text/html"), "bad_json", 3),
        (Hang(), "timeout", 2),
        (Status(400, "too long"), "bad_request", 1),
        (Status(401), "auth", 1),
    ],
)
def test_one_bad_item_is_recorded_for_what_it_is_and_the_others_answered(
    reply: Reply, kind: str, attempts: int
) -> None:
    def answer(request: Arrived) -> Reply:
        return reply if request.text == "item-003" else Text()

    with FakeServer(answer) as server:
        records, summary = run(server, requests(12))
    assert keys(records) == {(f"item-{item:03d}", 0): 1 for item in range(12)}
    (bad,) = [record for record in records if record.error is not None]
    assert (bad.item_id, bad.error_kind, bad.attempt) == ("item-003", kind, attempts)
    assert bad.content is None
    assert (summary.answered, summary.failed) == (11, 1)


@pytest.mark.parametrize(
    ("reply", "content", "reasoning", "finish"),
    [
        (Text(None), None, None, "stop"),
        (Text(None, reasoning="on and on", finish_reason="length"), None, "on and on", "length"),
        (Text("half an ans", finish_reason="length"), "half an ans", None, "length"),
        (Text(""), "", None, "stop"),
    ],
)
def test_strange_answers_are_answers(
    reply: Text, content: str | None, reasoning: str | None, finish: str
) -> None:
    with FakeServer(reply) as server:
        records, summary = run(server, requests(3))
    assert {(r.content, r.reasoning, r.finish_reason, r.error) for r in records} == {
        (content, reasoning, finish, None)
    }
    assert summary.failed == 0


def test_passing_faults_are_tried_again() -> None:
    faults: list[Reply] = [Status(500), Half(), Drop(), Raw(b"{"), Status(502)]

    def answer(request: Arrived) -> Reply:
        return faults[request.number - 1] if request.number <= len(faults) else Text()

    with FakeServer(answer) as server:
        records, summary = run(server, requests(6), retries=Retries(attempts=6, base=0.005, cap=0.02))
    assert (summary.answered, summary.failed, summary.retried) == (6, 0, 5)
    assert sum(record.attempt - 1 for record in records) == 5


def test_dead_server_is_waited_for_and_then_every_item_recorded() -> None:
    endpoint = Endpoint(name="gone", base_url=f"127.0.0.1:{closed_port()}", model="m")
    start = time.monotonic()
    records, summary = run(endpoint, requests(200), retries=Retries(server_wait=0.7))
    assert keys(records) == {(f"item-{item:03d}", 0): 1 for item in range(200)}
    assert {record.error_kind for record in records} == {"refused", "not_sent"}
    assert sum(record.attempt for record in records) <= 64, "nothing more is sent while it is away"
    assert (summary.answered, summary.failed) == (0, 200)
    assert "cannot be reached" in str(summary.gave_up)
    assert 0.7 <= time.monotonic() - start < 5


@pytest.mark.parametrize("in_flight", [Hang(), Status(500)])
def test_server_that_is_killed_and_started_again_is_waited_for(
    in_flight: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    server = FakeServer()
    dying, answered = threading.Event(), threading.Event()

    def answer(request: Arrived) -> Reply:
        if request.number > 20:  # the engine dies: what is in flight fails, its health check too
            server.healthy = False
            dying.set()
        return Text(after=0.01) if request.number <= 20 else in_flight

    def restart() -> None:
        dying.wait(30)
        time.sleep(0.1)
        server.close()
        time.sleep(0.5)
        with FakeServer(Status(503), port=server.port, healthy=False) as again:  # it loads
            time.sleep(0.5)
            again.healthy, again.reply = True, Text("back")
            answered.wait(30)

    server.reply = answer
    supervisor = threading.Thread(target=restart)
    with server:
        supervisor.start()
        records, summary = run(
            server, requests(100), concurrency=16, retries=Retries(base=0.01), timeouts=Timeouts()
        )
    answered.set()
    supervisor.join()
    assert keys(records) == {(f"item-{item:03d}", 0): 1 for item in range(100)}
    assert (summary.answered, summary.failed, summary.gave_up) == (100, 0, None)
    assert Counter(record.content for record in records)["back"] == 80
    told = [record.message for record in caplog.records]
    assert len(told) == 2, told
    assert "Waiting for the server, 60 s at most" in told[0]
    assert "The server is back after" in told[1]
    assert summary.borne is None, "a restart says nothing about how much the server bears"


def test_item_that_kills_the_server_is_not_asked_for_ever() -> None:
    def answer(request: Arrived) -> Reply:
        return Status(500) if request.text == "item-003" else Text(after=0.05)

    with FakeServer(answer, healthy=False) as server:
        flicker = threading.Event()

        def recover() -> None:
            while not flicker.wait(0.2):
                server.healthy = not server.healthy

        thread = threading.Thread(target=recover)
        thread.start()
        records, summary = run(server, requests(20), retries=Retries(attempts=3, base=0.01))
        flicker.set()
        thread.join()
    assert (summary.answered, summary.failed, summary.gave_up) == (19, 1, None)
    assert [record.error_kind for record in records if record.error] == ["http_500"]


def test_server_that_refuses_everything_is_asked_no_more() -> None:
    with FakeServer(Status(400, "no audio here")) as server:
        records, summary = run(server, requests(500), concurrency=16)
        assert len(server.requests) <= 32
    assert keys(records) == {(f"item-{item:03d}", 0): 1 for item in range(500)}
    assert (summary.answered, summary.failed) == (0, 500)
    assert "no audio here" in str(summary.gave_up)


def test_quick_refusals_do_not_end_a_batch_whose_answers_take_long() -> None:
    def answer(request: Arrived) -> Reply:
        return Status(400, "too long") if int(request.text[-3:]) < 20 else Text(after=0.3)

    with FakeServer(answer) as server:
        _, summary = run(server, requests(40), concurrency=32, timeouts=Timeouts())
    assert (summary.answered, summary.failed, summary.gave_up) == (20, 20, None)


def test_spent_quota_ends_the_batch_at_once() -> None:
    spent = Raw(
        b'{"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}}',
        status=429,
    )
    with FakeServer(lambda request: Text() if request.number <= 4 else spent) as server:
        start = time.monotonic()
        records, summary = run(server, requests(200), concurrency=4, retries=Retries())
        assert time.monotonic() - start < 3
        assert len(server.requests) <= 12
    assert len(records) == 200
    assert {record.error_kind for record in records} == {None, "quota", "not_sent"}
    assert "no credit left" in str(summary.gave_up)


def test_hanging_server_is_given_up_and_the_rest_recorded_as_not_sent() -> None:
    start = time.monotonic()
    with FakeServer(Hang()) as server:
        records, summary = run(server, requests(100), concurrency=8, timeouts=Timeouts(1, 0.1, 1))
        assert len(server.requests) < 40
    assert keys(records) == {(f"item-{item:03d}", 0): 1 for item in range(100)}
    kinds = Counter(record.error_kind for record in records)
    assert kinds["timeout"] >= 8
    assert kinds["timeout"] + kinds["not_sent"] == 100
    assert "did not answer" in str(summary.gave_up)
    assert time.monotonic() - start < 10


def test_server_that_only_says_too_busy_is_given_up_after_patience() -> None:
    with FakeServer(Status(429)) as server:
        records, summary = run(server, requests(50), concurrency=8)
    assert keys(records) == {(f"item-{item:03d}", 0): 1 for item in range(50)}
    assert {record.error_kind for record in records} == {"rate_limited", "not_sent"}
    assert summary.gave_up


def test_server_that_comes_back_is_waited_for() -> None:
    began = time.monotonic()

    def answer(request: Arrived) -> Reply:
        return Status(503) if time.monotonic() - began < 0.5 else Text()

    with FakeServer(answer) as server:
        records, summary = run(
            server, requests(20), retries=Retries(attempts=1, base=0.05, cap=0.1, patience=5)
        )
    assert (summary.answered, summary.failed) == (20, 0)
    assert max(record.attempt for record in records) > 2


def test_retry_after_is_honoured() -> None:
    arrived: list[float] = []

    def answer(request: Arrived) -> Reply:
        arrived.append(time.monotonic())
        return Status(429, headers={"Retry-After": "0.6"}) if request.number == 1 else Text(after=0.01)

    with FakeServer(answer) as server:
        records, summary = run(server, requests(30), concurrency=1)
    assert (summary.answered, summary.retried) == (30, 1)
    assert len(records) == 30
    assert arrived[1] - arrived[0] >= 0.6


def test_goes_out_at_full_width_from_the_start() -> None:
    with FakeServer(Text(after=0.5)) as server:
        _, summary = run(server, requests(96), concurrency=96, timeouts=Timeouts())
        assert server.most_in_flight == 96
    assert (summary.widest, summary.borne) == (96, None)


def test_goes_out_as_wide_as_the_server_bore_last_time() -> None:
    with FakeServer(Text(after=0.05), capacity=5) as server:
        _, summary = run(server, requests(100), concurrency=64, retries=Retries(base=0.01, cap=0.05))
        assert summary.borne is not None
        assert summary.borne <= 16
        refused = server.refused
        _, again = run(
            server,
            requests(20),
            concurrency=64,
            first_width=summary.borne,
            retries=Retries(base=0.01, cap=0.05),
        )
        assert server.refused - refused < refused
    assert again.widest < 64


def test_backs_off_to_what_the_server_takes() -> None:
    with FakeServer(Text(after=0.02), capacity=5) as server:
        records, summary = run(server, requests(150), concurrency=64, retries=Retries(base=0.01, cap=0.05))
        assert server.most_in_flight == 5
        assert server.refused < 150  # without backing off there would be ten refusals for every answer
    assert (summary.answered, summary.failed) == (150, 0)
    assert keys(records) == {(f"item-{item:03d}", 0): 1 for item in range(150)}


def test_never_more_in_flight_than_asked() -> None:
    with FakeServer(Text(after=0.01)) as server:
        run(server, requests(30), concurrency=3)
        assert server.most_in_flight == 3


def test_messages_are_built_only_when_they_are_sent() -> None:
    built = 0
    most_ahead = 0
    answered = 0

    def lazy(item: int) -> Request:
        def build() -> list[dict[str, Any]]:
            nonlocal built, most_ahead
            built += 1
            most_ahead = max(most_ahead, built - answered)
            return hello(f"item-{item:03d}")

        return Request(f"item-{item:03d}", 0, item, build)

    def count(_record: RawRecord) -> None:
        nonlocal answered
        answered += 1

    with FakeServer(Text(after=0.005)) as server:
        run_batch(
            (lazy(item) for item in range(100)), server.endpoint, Sampling(), on_record=count, concurrency=4
        )
    assert (built, answered) == (100, 100)
    assert most_ahead <= 4


def test_item_whose_messages_cannot_be_built_is_recorded_and_not_sent() -> None:
    def broken() -> list[dict[str, Any]]:
        raise ItemError("The clip audio/3.wav is missing.", "Put it back.")

    asked = [*requests(3), Request("broken", 0, 1, broken)]
    with FakeServer() as server:
        records, summary = run(server, asked)
        assert len(server.requests) == 3
    (bad,) = [record for record in records if record.error]
    assert (bad.item_id, bad.error_kind) == ("broken", "unbuildable")
    assert bad.error == "The clip audio/3.wav is missing. Put it back."
    assert summary.failed == 1


def test_text_that_is_no_unicode_is_one_items_fault() -> None:
    asked = [*requests(3), Request("torn", 0, 1, hello("\ud83d"))]
    with FakeServer() as server:
        records, summary = run(server, asked)
    assert [(r.item_id, r.error_kind) for r in records if r.error] == [("torn", "bad_request")]
    assert summary.answered == 3


def test_stop_is_quick_and_leaves_the_rest_unrecorded() -> None:
    progress = Quiet()

    def answer(request: Arrived) -> Reply:
        return Text() if request.number <= 10 else Hang()

    with FakeServer(answer) as server:
        threading.Timer(0.4, progress.stop).start()
        start = time.monotonic()
        records, summary = run(
            server, requests(500), concurrency=4, progress=progress, timeouts=Timeouts(1, 30, 30)
        )
        assert time.monotonic() - start < 2
        assert len(server.requests) <= 14
        deadline = time.monotonic() + 2
        while server.in_flight and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.in_flight == 0  # the connections were closed, so a real server stops generating
    assert summary.stopped
    assert len(records) == summary.answered == 10
    assert summary.failed == 0


def test_what_is_nearly_ready_at_a_stop_is_kept() -> None:
    progress = Quiet()
    with FakeServer(Text(after=0.4)) as server:
        threading.Timer(0.1, progress.stop).start()
        records, summary = run(
            server,
            requests(50),
            concurrency=4,
            progress=progress,
            timeouts=Timeouts(),
            retries=Retries(grace=2),
        )
    assert (len(records), summary.answered, summary.stopped) == (4, 4, True)


def test_disk_full_ends_the_batch_in_the_callers_hands() -> None:
    kept: list[RawRecord] = []

    def keep(record: RawRecord) -> None:
        if len(kept) == 5:
            raise WorkspaceError("The disk is full.")
        kept.append(record)

    with FakeServer(Text(after=0.01)) as server:
        with pytest.raises(WorkspaceError, match="disk is full"):
            run_batch(requests(100), server.endpoint, Sampling(), on_record=keep, concurrency=4)
        assert len(server.requests) < 20


def test_broken_source_ends_the_batch_in_the_callers_hands() -> None:
    def source() -> Iterator[Request]:
        yield from requests(3)
        raise ItemError("items.jsonl is torn.")

    with FakeServer() as server, pytest.raises(ItemError, match="torn"):
        run(server, source())


def test_nothing_to_ask_is_nothing_done() -> None:
    with FakeServer() as server:
        records, summary = run(server, [])
    assert (records, summary.answered, summary.stopped) == ([], 0, False)


def test_progress_counts_from_where_an_earlier_run_stopped() -> None:
    class Watch(Quiet):
        def __init__(self) -> None:
            super().__init__()
            self.phases: list[tuple[str, int | None]] = []
            self.counts: list[int] = []

        def phase(self, name: str, total: int | None = None) -> None:
            self.phases.append((name, total))

        def done(self, count: int, note: str = "") -> None:
            self.counts.append(count)

    watch = Watch()
    with FakeServer(Text(after=0.05)) as server:
        run(server, requests(20), concurrency=4, progress=watch, total=50, already=30)
    assert watch.phases == [("answering", 50)]
    assert watch.counts == sorted(watch.counts)
    assert watch.counts[-1] == 50


def test_endpoint_without_a_model_asks_for_the_first() -> None:
    with FakeServer(models=("first", "second")) as server:
        run(Endpoint(name="x", base_url=server.base_url), requests(2))
        assert {body["model"] for body in server.bodies} == {"first"}
