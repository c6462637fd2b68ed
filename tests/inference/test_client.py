"""One request at a time against a real socket: what arrives there, and what every fault is called here."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from audioreason.inference.client import Client, Completion, Load, Timeouts, _tokens, read_load
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.faults import Fault, RateLimited, retry_after
from audioreason.inference.probe import endpoint_status, probe_audio, ready_endpoint
from tests.servers import Drop, FakeServer, Half, Hang, Raw, Reply, Request, Status, Text, closed_port

HELLO = [{"role": "user", "content": "hello"}]
QUICK = Timeouts(connect=1, read=0.3, total=2)


def ask(
    endpoint: Endpoint, sampling: Sampling | None = None, n: int = 1, timeouts: Timeouts | None = None
) -> list[Completion]:
    async def work() -> list[Completion]:
        async with Client(endpoint, timeouts) as client:
            return await client.complete(HELLO, sampling or Sampling(), seed=7, n=n)

    return asyncio.run(work())


def test_everything_arrives_at_the_top_level_of_the_body() -> None:
    sampling = Sampling(
        temperature=0.7, top_p=0.9, top_k=20, min_p=0.05, repetition_penalty=1.1, max_tokens=99
    )
    with FakeServer() as server:
        ask(server.endpoint, sampling)
        assert server.bodies == [
            {
                "model": "fake-model",
                "messages": HELLO,
                "temperature": 0.7,
                "top_p": 0.9,
                "top_k": 20,
                "min_p": 0.05,
                "repetition_penalty": 1.1,
                "max_tokens": 99,
                "seed": 7,
            }
        ]


def test_n_samples_come_from_one_request() -> None:
    with FakeServer(Text("same")) as server:
        completions = ask(server.endpoint, n=3)
        assert [completion.content for completion in completions] == ["same"] * 3
        counts = [completion.completion_tokens or 0 for completion in completions]
        assert max(counts) - min(counts) <= 1 and min(counts) > 0, "counted together, shared by length"
        assert all(completion.tokens_estimated for completion in completions)
        assert [body["n"] for body in server.bodies] == [3]


def test_each_of_several_choices_has_its_own_tokens_where_the_server_tells() -> None:
    words = ["one", "one two three four five six", "aaaaaaaaaaaaaaaaaaaa"]
    with FakeServer(Text("x", each=lambda i: words[i], tells=True)) as server:
        own = [(one.completion_tokens, one.tokens_estimated) for one in ask(server.endpoint, n=3)]
        assert own == [(1, False), (6, False), (1, False)]
        assert server.bodies[0]["return_token_ids"] is True
        ask(server.endpoint)
        assert "return_token_ids" not in server.bodies[1]


def test_a_server_that_takes_no_unknown_field_is_asked_without_it_from_then_on() -> None:
    def strict(request: Request) -> Reply:
        if "return_token_ids" in request.body:
            return Status(400, "Unrecognized request argument supplied: return_token_ids")
        return Text("same")

    async def twice(endpoint: Endpoint) -> list[int]:
        async with Client(endpoint) as client:
            return [len(await client.complete(HELLO, Sampling(), seed=7, n=2)) for _ in range(2)]

    with FakeServer(strict) as server:
        assert asyncio.run(twice(server.endpoint)) == [2, 2]
        assert ["return_token_ids" in body for body in server.bodies] == [True, False, False]
        server.reply = Status(400, "no such thing as n")
        with pytest.raises(Fault, match="no such thing"):
            ask(server.endpoint, n=2)


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
def test_all_in_reasoning_with_null_content_is_an_answer(key: str) -> None:
    with FakeServer(Text(None, reasoning="hmm", reasoning_key=key, finish_reason="length")) as server:
        (completion,) = ask(server.endpoint)
    assert (completion.content, completion.reasoning, completion.finish_reason) == (None, "hmm", "length")


def test_null_content_alone_is_an_answer_too() -> None:
    with FakeServer(Text(None)) as server:
        (completion,) = ask(server.endpoint)
    assert (completion.content, completion.reasoning) == (None, None)


def test_content_in_parts_and_a_refusal_are_text() -> None:
    def reply(message: dict[str, Any]) -> Raw:
        return Raw(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode())

    with FakeServer(
        reply({"content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]})
    ) as server:
        assert ask(server.endpoint)[0].content == "one two"
        server.reply = reply({"content": None, "refusal": "I cannot."})
        assert ask(server.endpoint)[0].content == "I cannot."


@pytest.mark.parametrize(
    ("reply", "kind", "status"),
    [
        (Status(500), "http_500", 500),
        (Status(502), "http_502", 502),
        (Status(503), "http_503", 503),
        (Status(429), "rate_limited", 429),
        (Status(400, "prompt too long"), "bad_request", 400),
        (Status(404), "bad_request", 404),
        (Status(401), "auth", 401),
        (Status(302, headers={"Location": "http://elsewhere"}), "bad_request", 302),
        (Hang(), "timeout", None),
        (Half(), "half_body", None),
        (Drop(), "disconnected", None),
        (Raw(b"<html>hello</html>", "text/html"), "bad_json", None),
        (Raw(b'{"choices": [{"mess'), "bad_json", None),
        (Raw(b'{"object": "list"}'), "bad_json", None),
        (Raw(b"[1, 2]"), "bad_json", None),
        (Raw(b"null"), "bad_json", None),
        (Raw(b'{"choices": []}'), "bad_json", None),
        (Raw(b'{"choices": [{"message": null}]}'), "bad_json", None),
        (Raw(b'{"error": {"message": "out of memory"}}'), "failed", None),
        (Raw(b'{"error": {"message": "no such model", "code": 404}}'), "bad_request", 404),
    ],
)
def test_each_fault_is_called_what_it_is(reply: Reply, kind: str, status: int | None) -> None:
    with FakeServer(reply) as server, pytest.raises(Fault) as caught:
        ask(server.endpoint, timeouts=QUICK)
    assert (caught.value.kind, caught.value.status) == (kind, status)
    assert "fake (http://127.0.0.1" in caught.value.message
    assert caught.value.message.endswith(".")
    assert "\n" not in str(caught.value)


def test_nobody_there_is_refused() -> None:
    with pytest.raises(Fault) as caught:
        ask(Endpoint(name="gone", base_url=f"127.0.0.1:{closed_port()}", model="m"))
    assert caught.value.kind == "refused"
    assert "gone" in str(caught.value)


def test_wrong_model_is_named() -> None:
    with FakeServer() as server, pytest.raises(Fault, match="does not have the model typo") as caught:
        ask(server.endpoint.model_copy(update={"model": "typo"}))
    assert caught.value.kind == "bad_request"


def test_redirect_is_not_followed() -> None:
    with FakeServer() as other, FakeServer() as server:
        server.reply = Status(307, headers={"Location": f"{other.base_url}/chat/completions"})
        with pytest.raises(Fault, match="has moved"):
            ask(server.endpoint)
        assert other.requests == []


def test_key_is_sent_and_never_shown_even_when_the_server_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer(require_key="right") as server:
        endpoint = server.endpoint.model_copy(update={"api_key_env": "LAB_TEST_KEY"})
        monkeypatch.setenv("LAB_TEST_KEY", "right")
        assert ask(endpoint)[0].content
        monkeypatch.setenv("LAB_TEST_KEY", "hunter2")
        with pytest.raises(Fault) as caught:
            ask(endpoint)
    assert caught.value.kind == "auth"
    assert "LAB_TEST_KEY" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("2", 2.0), ("0.5", 0.5), ("9999", 120.0), ("-3", 0.0), ("soon", None), ("nan", None)],
)
def test_retry_after_is_read_and_bounded(header: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": header}) == seconds


def test_retry_after_may_be_a_date() -> None:
    assert retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert retry_after({"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}) == 120.0


def test_retry_after_travels_with_the_fault() -> None:
    with (
        FakeServer(Status(429, headers={"Retry-After": "3"})) as server,
        pytest.raises(RateLimited) as caught,
    ):
        ask(server.endpoint)
    assert caught.value.retry_after == 3.0


METRICS = """# HELP vllm:num_requests_running Number of requests
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 7.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 2.5e-1
"""


def test_load_is_read_from_vllms_metrics() -> None:
    assert read_load(METRICS) == Load(running=5, waiting=7, kv_cache=0.25)
    assert read_load("process_cpu_seconds_total 1\n") is None


def test_status_says_models_latency_and_load() -> None:
    with FakeServer(models=("a", "b"), metrics=METRICS) as server:
        status = endpoint_status(server.endpoint)
    assert status.ok
    assert status.models == ("a", "b")
    assert status.load == Load(5, 7, 0.25)
    assert status.seconds is not None
    assert status.seconds < 2


def test_status_does_without_health_and_metrics() -> None:
    with FakeServer(has_health=False) as server:
        status = endpoint_status(server.endpoint)
    assert (status.ok, status.load) == (True, None)


def test_status_of_a_dead_server_is_a_sentence() -> None:
    status = endpoint_status(Endpoint(name="gone", base_url=f"127.0.0.1:{closed_port()}"))
    assert not status.ok
    assert "cannot be reached" in str(status.error)


def unready(server: FakeServer) -> Endpoint:
    return Endpoint(name="fake", base_url=server.base_url)


def test_ready_endpoint_finds_model_and_file_transport_and_asks_once(tmp_path: Path) -> None:
    with FakeServer(models=("first", "second"), allowed=[tmp_path]) as server:
        ready = ready_endpoint(unready(server), tmp_path)
        assert (ready.model, ready.transport) == ("first", "file")
        asked = len(server.requests)
        assert ready_endpoint(unready(server), tmp_path) == ready
        assert len(server.requests) == asked
        assert server.clips[0][:4] == b"RIFF"
        assert asyncio.run(probe_audio(ready, tmp_path)).audio_tokens == 13


@pytest.mark.parametrize("hears", [("input_audio",), ("file", "input_audio")])
def test_server_that_may_not_read_the_folder_gets_the_bytes(hears: tuple[str, ...], tmp_path: Path) -> None:
    with FakeServer(hears=hears, allowed=[tmp_path / "elsewhere"]) as server:
        assert ready_endpoint(unready(server), tmp_path).transport == "input_audio"


def test_model_that_does_not_hear_is_said_to_be_deaf(tmp_path: Path) -> None:
    with FakeServer(hears=()) as server, pytest.raises(Fault, match="takes no audio") as caught:
        ready_endpoint(unready(server), tmp_path)
    assert caught.value.kind == "bad_request"


def test_hanging_server_does_not_pass_for_a_deaf_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audioreason.inference.probe._PROBE_TIMEOUTS", QUICK)
    with FakeServer(Hang()) as server, pytest.raises(Fault) as caught:
        ready_endpoint(unready(server), tmp_path)
    assert caught.value.kind == "timeout"


@pytest.mark.parametrize("said", ["12", None, -1, 1e30, True, [12], 12.0])
def test_counts_that_are_none_are_not_taken_for_some(said: object) -> None:
    choice = {"message": {"content": "one"}, "finish_reason": 3}
    body = {"choices": [choice], "usage": {"completion_tokens": said, "prompt_tokens": said}}
    with FakeServer(Raw(json.dumps(body).encode())) as server:
        (one,) = ask(server.endpoint)
    expected = 12 if said == 12.0 else None
    assert (one.completion_tokens, one.prompt_tokens, one.finish_reason) == (expected, expected, "3")


def test_proxy_is_not_used_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    with FakeServer() as server:
        assert ask(server.endpoint)[0].content


def test_tokens_that_were_counted_together_are_shared_by_length_and_add_up() -> None:
    said = [("a" * 99, None), (None, "b" * 199), ("", None)]
    assert _tokens([{}, {}, {}], said, 100) == ([33, 67, 0], True)
    assert sum(share or 0 for share in _tokens([{}, {}, {}], said, 7)[0]) == 7
    own = [{"completion_tokens": 5}, {"completion_tokens": 9}, {"completion_tokens": 1}]
    assert _tokens(own, said, 15) == ([5, 9, 1], False)
    assert _tokens([{}, {}, {}], said, None) == ([None] * 3, False)
    assert _tokens([{}], said[:1], 12) == ([12], False)


@pytest.mark.parametrize("at", [70, 79, 290, 299])
def test_a_key_that_a_server_sends_back_is_removed_before_its_words_are_cut(
    monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    key = "s3cret/key+with=signs"
    monkeypatch.setenv("LAB_TEST_KEY", key)
    with FakeServer() as server:
        endpoint = server.endpoint.model_copy(update={"api_key_env": "LAB_TEST_KEY"})
        for reply in (
            Raw(b"x" * at + key.encode() + b" and more"),  # no JSON
            Status(500, "y" * at + key + " and more"),
            Status(307, headers={"Location": f"http://evil.test/?k={key}"}),
            Status(307, headers={"Location": f"http://evil.test/?k={quote(key, safe='')}"}),
        ):
            server.reply = reply
            with pytest.raises(Fault) as caught:
                ask(endpoint)
            said = str(caught.value)
            for part in (key, key[:5], quote(key, safe="")):
                assert part not in said, said
        server.reply = Text(f"ANSWER: {key}")
        (answer,) = ask(endpoint)
        assert answer.content == "ANSWER: ***"
