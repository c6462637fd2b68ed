"""What servers do that the chat API does not say: errors in a 200, refused fields, keys, certificates."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audioreason.errors import EndpointError
from audioreason.inference.client import Client, Completion
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.faults import (
    BadRequest,
    Fault,
    QuotaSpent,
    Retries,
    ServerFailed,
    WrongAddress,
    fault_from_status,
)
from audioreason.inference.probe import ready_endpoint
from audioreason.inference.runner import RawRecord, Request, run_batch
from audioreason.inference.stream import stream
from tests.servers import FakeServer, Raw, Reply, Status, Text
from tests.servers import Request as Arrived

HELLO = [{"role": "user", "content": "hello"}]
FAST = Retries(attempts=3, base=0.005, cap=0.02, server_wait=0.3)
KNOWN = ("model", "messages", "temperature", "max_tokens", "n")


def ask(endpoint: Endpoint, sampling: Sampling | None = None, n: int = 1) -> list[Completion]:
    async def one() -> list[Completion]:
        async with Client(endpoint) as client:
            return await client.complete(HELLO, sampling or Sampling(), seed=7, n=n)

    return asyncio.run(one())


def streamed(endpoint: Endpoint) -> str:
    return "".join(delta.text for delta in stream(endpoint, HELLO, Sampling(), 7))


def batch(server: FakeServer, count: int = 1, **fields: Any) -> list[RawRecord]:
    records: list[RawRecord] = []
    endpoint = server.endpoint.model_copy(update=fields)
    requests = [Request(f"item-{number}", 0, number, HELLO) for number in range(count)]
    run_batch(requests, endpoint, Sampling(), on_record=records.append, retries=FAST)
    return records


def choices(*given: dict[str, Any], tokens: int = 5) -> Raw:
    value = {"choices": list(given), "usage": {"prompt_tokens": 9, "completion_tokens": tokens}}
    return Raw(json.dumps(value).encode())


def choice(content: str | None = "", **more: Any) -> dict[str, Any]:
    return {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop", **more}


# --- errors with status 200


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (choices(choice(error={"message": "upstream lost", "code": 502})), "upstream lost"),
        (choices(choice(error="upstream lost")), "upstream lost"),
        (choices(choice("half an", finish_reason="error")), "finish_reason: error"),
        (choices({"index": 0, "message": {"error": {"message": "no GPU"}}, "finish_reason": None}), "no GPU"),
        (choices(choice(None), tokens=0), "no text and 0 tokens"),
        (choices(choice(""), tokens=0), "no text and 0 tokens"),
        (Raw(b'{"error": "boiled over", "choices": []}'), "boiled over"),
    ],
)
def test_an_error_in_an_answer_is_the_servers_and_is_asked_again(reply: Reply, said: str) -> None:
    with FakeServer(lambda request: reply if request.number == 1 else Text("fine")) as server:
        with pytest.raises(ServerFailed, match=said):
            ask(server.endpoint)
        server.requests.clear()
        (record,) = batch(server)
    assert (record.content, record.error, record.attempt) == ("fine", None, 2)


def test_it_is_no_answer_if_it_never_passes() -> None:
    with FakeServer(choices(choice(None), tokens=0)) as server:
        (record,) = batch(server)
    assert (record.content, record.error_kind, record.attempt) == (None, "failed", 3)


@pytest.mark.parametrize(
    "reply",
    [
        choices(choice(None, finish_reason="content_filter"), tokens=0),
        choices(choice(""), tokens=1),
        Raw(json.dumps({"choices": [choice("")]}).encode()),
    ],
)
def test_an_empty_answer_of_the_model_stays_an_answer(reply: Reply) -> None:
    with FakeServer(reply) as server:
        (record,) = batch(server)
    assert record.error is None


def test_one_failed_choice_of_several_is_missed_alone() -> None:
    good = [choice(f"answer {place}", index=place) for place in range(3)]
    with FakeServer(choices(good[0], choice(index=1, error="lost"), good[2])) as server:
        found = ask(server.endpoint, Sampling(temperature=1), n=3)
    assert [(one.index, one.content) for one in found] == [(0, "answer 0"), (2, "answer 2")]


# --- fields


def test_a_server_that_knows_no_seed_is_asked_without_and_the_record_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeServer(Text("fine"), fields=KNOWN, allowed=[tmp_path]) as server:
        ready = ready_endpoint(Endpoint(name="fake", base_url=server.base_url), tmp_path)
        assert (ready.transport, ready.refused_fields) == ("file", ("seed",))
        assert "does not accept seed" in caplog.text
        asked = len(server.requests)
        (record,) = batch(server, refused_fields=ready.refused_fields)
        assert len(server.requests) == asked + 1, "what the probe found out is not tried again"
        assert (record.content, record.seed) == ("fine", None)
        (untold,) = batch(server)
        assert (untold.content, untold.seed) == ("fine", None)


def test_token_ids_and_seed_may_both_be_refused() -> None:
    with FakeServer(Text("fine"), fields=KNOWN) as server:
        assert len(ask(server.endpoint, Sampling(temperature=1), n=3)) == 3


def test_max_tokens_under_its_newer_name() -> None:
    said = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
    )

    def reply(request: Arrived) -> Reply:
        return Status(400, said) if "max_tokens" in request.body else Text("fine")

    with FakeServer(reply) as server:
        assert ask(server.endpoint)[0].content == "fine"
        assert server.bodies[-1]["max_completion_tokens"] == Sampling().max_tokens


def test_a_field_of_the_recipe_is_never_left_out() -> None:
    with (
        FakeServer(Text("fine"), fields=(*KNOWN, "seed")) as server,
        pytest.raises(BadRequest, match="top_k"),
    ):
        ask(server.endpoint, Sampling(top_k=5))


def test_the_probe_asks_for_no_fewer_tokens_than_servers_take(tmp_path: Path) -> None:
    def reply(request: Arrived) -> Reply:
        few = request.body["max_tokens"] < 16
        return Status(400, "Invalid 'max_output_tokens': Expected a value >= 16") if few else Text("yes")

    with FakeServer(reply, allowed=[tmp_path]) as server:
        endpoint = Endpoint(name="fake", base_url=server.base_url)
        assert ready_endpoint(endpoint, tmp_path).transport == "file"


def test_stop_texts_and_ngrams_arrive_and_are_written_only_where_they_are_set() -> None:
    sampling = Sampling(stop=("\n\n", "END"), no_repeat_ngram_size=4, top_k=3)
    with FakeServer() as server:
        ask(server.endpoint, sampling)
        assert list(stream(server.endpoint, HELLO, sampling, 7))
        for body in server.bodies:
            assert (body["stop"], body["no_repeat_ngram_size"], body["top_k"]) == (["\n\n", "END"], 4, 3)
    assert Sampling.model_validate_json(sampling.model_dump_json()) == sampling
    assert not {"stop", "no_repeat_ngram_size"} & Sampling(stop=()).model_dump().keys()


# --- sentences


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, b'[{"error": {"code": 400, "message": "Unknown name"}}]', "bad_request", ["Unknown name"]),
        (422, b'{"detail": [{"loc": ["body", "n"], "msg": "not 3"}]}', "bad_request", ["body.n: not 3"]),
        (400, b'{"error": "no audio here"}', "bad_request", ["no audio here"]),
        (413, b"<html>Request Entity Too Large</html>", "bad_request", ["too large", "client_max_body_size"]),
        (
            400,
            b'{"message": "This model\'s maximum context length is 32768 tokens. You requested 60000"}',
            "bad_request",
            ["32768", "--max-tokens", "--max-model-len"],
        ),
        (
            400,
            b'{"error": {"message": "\'max_tokens\' or \'max_completion_tokens\' is too large: 60000. This'
            b" model's maximum context length is 32768 tokens\"}}",
            "bad_request",
            ["--max-tokens"],
        ),
        (429, b'{"error": {"message": "x", "type": "insufficient_quota"}}', "quota", ["no credit left"]),
        (402, b"{}", "quota", ["no credit left"]),
        (403, b'{"error": {"message": "Your account balance is insufficient"}}', "quota", ["no credit left"]),
        (400, b"request body exceeds limit of 1048576 bytes", "bad_request", ["too large", "shorter clips"]),
        (400, b'{"error": {"message": "Your credit balance is too low"}}', "quota", ["balance is too low"]),
        (429, b'{"error": {"message": "Rate limit reached"}}', "rate_limited", ["Rate limit reached"]),
        (400, b"The plain HTTP request was sent to HTTPS port", "refused", ["speaks https, not http"]),
    ],
)
def test_a_refusal_says_what_to_do(status: int, body: bytes, kind: str, words: list[str]) -> None:
    endpoint = Endpoint(name="gate", base_url="http://gate:8000/v1", model="m")
    fault = fault_from_status(endpoint, status, {}, body)
    assert fault.kind == kind
    assert all(word in str(fault) for word in words), str(fault)
    assert isinstance(fault, QuotaSpent) == (kind == "quota")


def test_a_clip_that_may_not_be_read_names_the_folder(tmp_path: Path) -> None:
    clip = tmp_path / "a clip.wav"
    part = {"type": "audio_url", "audio_url": {"url": clip.as_uri()}}
    records: list[RawRecord] = []
    with FakeServer(allowed=[tmp_path / "other"]) as server:
        request = Request("a", 0, 1, [{"role": "user", "content": [part]}])
        run_batch([request], server.endpoint, Sampling(), on_record=records.append)
    assert f"--allowed-local-media-path {tmp_path}." in str(records[0].error)


def test_the_model_that_is_asked_is_named_where_there_are_several(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeServer(models=("small", "large")) as server:
        endpoint = Endpoint(name="hub", base_url=server.base_url, transport="input_audio")
        assert ready_endpoint(endpoint, tmp_path).model == "small"
    assert "2 models (small, large). The first is asked: small" in caplog.text


# --- keys


@pytest.mark.parametrize(
    "value", ["sk-1\n", "sk-1\r\n", " sk-1 ", '"sk-1"', "'sk-1'\n", "\u201csk-1\u201d", "\ufeffsk-1"]
)
def test_what_copying_adds_to_a_key_is_taken_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", value)
    with FakeServer(Text("fine"), require_key="sk-1") as server:
        endpoint = server.endpoint.model_copy(update={"api_key_env": "A_KEY"})
        assert ask(endpoint)[0].content == "fine"
        assert streamed(endpoint) == "fine"


@pytest.mark.parametrize("value", ["sk-\n1", "sk-\u201c1", "schlüssel", "two words"])
def test_a_key_that_no_header_can_carry_is_a_sentence_without_it(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", value)
    endpoint = Endpoint(name="gate", base_url="http://127.0.0.1:9/v1", model="m", api_key_env="A_KEY")
    for way in (ask, streamed):
        with pytest.raises(EndpointError, match="A_KEY holds") as refused:
            way(endpoint)
        assert value not in str(refused.value)


# --- https


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of one's own for 127.0.0.1, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("the program openssl is not here to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "own.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=own"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(made), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    return made, key


@pytest.fixture
def secure(certificate: tuple[Path, Path]) -> Iterator[FakeServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with FakeServer(Text("fine"), tls=context) as server:
        yield server


def test_a_certificate_of_ones_own_is_trusted_by_both_clients(
    secure: FakeServer, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for way in (ask, streamed):
        with pytest.raises(WrongAddress, match=r"is not trusted \(self-signed certificate\).*SSL_CERT_FILE"):
            way(secure.endpoint)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]) + ".moved")
    for way in (ask, streamed):
        with pytest.raises(WrongAddress, match="there is no such file"):
            way(secure.endpoint)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert ask(secure.endpoint)[0].content == "fine"
    assert streamed(secure.endpoint) == "fine"
    other = secure.endpoint.model_copy(update={"base_url": f"https://localhost:{secure.port}/v1"})
    for way in (ask, streamed):
        with pytest.raises(WrongAddress, match=r"is not trusted .*must name the host localhost"):
            way(other)


def test_https_at_a_plain_server_and_the_reverse_say_what_it_speaks(secure: FakeServer) -> None:
    with FakeServer() as plain:
        wrong = plain.endpoint.model_copy(update={"base_url": plain.base_url.replace("http:", "https:")})
        for way in (ask, streamed):
            with pytest.raises(WrongAddress, match=f"speaks http, not https.*{plain.base_url}"):
                way(wrong)
    reverse = secure.endpoint.model_copy(update={"base_url": secure.base_url.replace("https:", "http:")})
    for way in (ask, streamed):
        with pytest.raises(Fault, match="https"):
            way(reverse)


def test_a_server_that_answers_plain_http_with_a_tls_alert() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        endpoint = Endpoint(name="gate", base_url=f"127.0.0.1:{listening.getsockname()[1]}", model="m")
        with pytest.raises(WrongAddress, match="speaks https, not http"):
            ask(endpoint)
        with pytest.raises(Fault, match=r"did not answer in HTTP.*Does it speak https"):
            streamed(endpoint)
        thread.join(5)
