"""The playground's stream through the openai SDK: pieces in order, faults in one sentence, no more sent."""

from __future__ import annotations

import time

import pytest

from audioreason.inference.client import Timeouts
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.faults import Fault
from audioreason.inference.stream import STREAM_TIMEOUTS, Delta, Usage, stream
from tests.servers import Drop, FakeServer, Half, Hang, Raw, Reply, Status, Text, closed_port

HELLO = [{"role": "user", "content": "hello"}]


def pieces(
    endpoint: Endpoint, sampling: Sampling | None = None, timeouts: Timeouts = STREAM_TIMEOUTS
) -> tuple[list[Delta], Fault | None]:
    """Everything that came, and the fault that ended it, if one did."""
    deltas: list[Delta] = []
    try:
        deltas.extend(stream(endpoint, HELLO, sampling or Sampling(), 7, timeouts))
    except Fault as fault:
        return deltas, fault
    return deltas, None


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
def test_text_and_reasoning_come_in_pieces_and_usage_last(key: str) -> None:
    with FakeServer(Text("ANSWER: two", reasoning="I hear claps", reasoning_key=key, chunks=4)) as server:
        deltas, fault = pieces(server.endpoint)
    assert fault is None
    assert "".join(delta.reasoning for delta in deltas) == "I hear claps"
    assert "".join(delta.text for delta in deltas) == "ANSWER: two"
    assert sum(bool(delta.text) for delta in deltas) == 4
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["stop"]
    assert deltas[-1].usage == Usage(prompt_tokens=4, completion_tokens=5)


def test_pieces_come_as_they_are_written() -> None:
    with FakeServer(Text("a b c d e f g h", chunks=8, pause=0.05)) as server:
        pieces(server.endpoint)  # importing the SDK takes its time once
        start = time.monotonic()
        came = [
            time.monotonic() - start for delta in stream(server.endpoint, HELLO, Sampling(), 7) if delta.text
        ]
    assert came[0] < 0.2
    assert came[-1] - came[0] > 0.25


def test_extras_and_seed_arrive_at_the_top_level() -> None:
    sampling = Sampling(
        temperature=0.7, top_p=0.9, top_k=20, min_p=0.05, repetition_penalty=1.1, max_tokens=99
    )
    with FakeServer() as server:
        pieces(server.endpoint, sampling)
        body = server.bodies[0]
    assert body == {
        "model": "fake-model",
        "messages": HELLO,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": 0.05,
        "repetition_penalty": 1.1,
        "max_tokens": 99,
        "seed": 7,
    }


def test_nothing_of_this_process_travels_along(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Team: hunter2")
    with FakeServer() as server:
        pieces(server.endpoint)
        headers = server.requests[0].headers
    assert "hunter2" not in str(headers)
    assert not [name for name in headers if name.lower().startswith(("x-", "authorization", "openai"))]


def test_key_is_sent_where_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TEST_KEY", "right")
    with FakeServer(require_key="right") as server:
        _, fault = pieces(server.endpoint.model_copy(update={"api_key_env": "LAB_TEST_KEY"}))
        assert fault is None
        _, fault = pieces(server.endpoint)
        assert fault is not None
        assert fault.kind == "auth"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Status(500), "http_500"),
        (Status(503), "http_503"),
        (Status(429, headers={"Retry-After": "3"}), "rate_limited"),
        (Status(400), "bad_request"),
        (Status(404), "bad_request"),
        (Status(307, headers={"Location": "http://elsewhere"}), "bad_request"),
        (Hang(), "timeout"),
        (Drop(), "disconnected"),
        (Half(chunks=0), "half_body"),
        (Raw(b"<html>hello</html>", "text/html"), "bad_json"),
        (Raw(b"data: nonsense\n\n", "text/event-stream"), "bad_json"),
        (Raw(b"data: [1]\n\n", "text/event-stream"), "bad_json"),
        (Raw(b'data: {"choices": [{}]}\n\n', "text/event-stream"), "bad_json"),
        (Raw(b'data: {"error": {"message": "out of memory"}}\n\n', "text/event-stream"), "failed"),
        (
            Raw(b'data: {"error": {"message": "too long", "code": 400}}\n\n', "text/event-stream"),
            "bad_request",
        ),
        (Raw(b'data: {"choices": []}\n\n', "text/event-stream"), "half_body"),
    ],
)
def test_each_fault_is_called_what_it_is(reply: Reply, kind: str) -> None:
    with FakeServer(reply) as server:
        deltas, fault = pieces(server.endpoint, timeouts=Timeouts(connect=1, read=0.3, total=2))
    assert deltas == []
    assert fault is not None
    assert fault.kind == kind
    assert "fake (http://127.0.0.1" in fault.message
    assert "\n" not in str(fault)


def test_text_that_is_no_unicode_is_our_fault_not_the_servers() -> None:
    with FakeServer() as server:
        torn = stream(server.endpoint, [{"role": "user", "content": "\ud83d"}], Sampling(), 7)
        with pytest.raises(Fault, match="cannot be written as JSON"):
            list(torn)


def test_nobody_there_is_refused() -> None:
    _, fault = pieces(Endpoint(name="gone", base_url=f"127.0.0.1:{closed_port()}", model="m"))
    assert fault is not None
    assert fault.kind == "refused"


def test_death_in_the_middle_keeps_what_came() -> None:
    with FakeServer(Half(chunks=3, content="one two three four five six seven eight")) as server:
        deltas, fault = pieces(server.endpoint)
    assert "".join(delta.text for delta in deltas) == "one two three f"
    assert fault is not None
    assert fault.kind == "half_body"


def test_silence_in_the_middle_keeps_what_came() -> None:
    with FakeServer(Text("one two", chunks=2, pause=5)) as server:
        deltas, fault = pieces(server.endpoint, timeouts=Timeouts(connect=1, read=0.2, total=9))
    assert "".join(delta.text for delta in deltas) == "one "
    assert fault is not None
    assert fault.kind == "timeout"


def test_answer_without_end_is_cut_at_the_total_time() -> None:
    with FakeServer(Text("x" * 200, chunks=200, pause=0.02)) as server:
        start = time.monotonic()
        _, fault = pieces(server.endpoint, timeouts=Timeouts(connect=1, read=1, total=0.3))
    assert fault is not None
    assert fault.kind == "timeout"
    assert time.monotonic() - start < 2


def test_closing_the_stream_ends_the_request() -> None:
    with FakeServer(Text("a b c d e f g h", chunks=8, pause=0.5)) as server:
        deltas = stream(server.endpoint, HELLO, Sampling(), 7)
        assert next(deltas).text
        deltas.close()
        deadline = time.monotonic() + 2
        while server.in_flight and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (server.in_flight, server.hung_up) == (0, 1)
