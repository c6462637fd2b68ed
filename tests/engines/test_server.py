"""The engine as a child process on a real socket, as a client and as an attacker meet it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import psutil
import pytest
import soundfile
from engine_clips import noise

from audioreason.engines.launch import RunningEngine, start_engine
from audioreason.errors import EngineError
from audioreason.inference.endpoint import Endpoint


@pytest.fixture(scope="module")
def running(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    media = tmp_path_factory.mktemp("media")
    soundfile.write(media / "clip.wav", noise(1.5), 16_000)
    engine = start_engine(
        folder, name="tiny", allowed_media=[media], reasoning_parser="qwen3", device="cpu", threads=2
    )
    with engine:
        yield engine


@pytest.fixture
def endpoint(running: RunningEngine) -> Endpoint:
    return running.endpoint


def _call(
    endpoint: Endpoint, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, Any, dict[str, str]]:
    parts = urlsplit(endpoint.root_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Authorization": f"Bearer {endpoint.api_key()}"}
    sent |= {"Content-Type": "application/json"} if data else {}
    connection.request(method, path, data, sent | (headers or {}))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    kind = answer.headers.get("content-type", "")
    return answer.status, json.loads(text) if "json" in kind else text, dict(answer.headers)


def _question(**fields: object) -> dict[str, object]:
    return {
        "model": "tiny",
        "messages": [{"role": "user", "content": "How many?"}],
        "max_tokens": 12,
        "temperature": 0,
        **fields,
    }


def _gauge(endpoint: Endpoint, name: str) -> float:
    _, text, _ = _call(endpoint, "GET", "/metrics")
    line = next(line for line in text.splitlines() if line.startswith(f"vllm:{name}{{"))
    return float(line.rsplit(" ", 1)[1])


def test_an_answer_has_openais_form(endpoint: Endpoint) -> None:
    status, answer, headers = _call(
        endpoint, "POST", "/v1/chat/completions", _question(n=2, logprobs=True, top_logprobs=3)
    )
    assert status == 200
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    first, second = answer["choices"]
    assert first["message"]["content"] == second["message"]["content"]  # greedy
    assert first["finish_reason"] in ("length", "stop")
    tokens = first["logprobs"]["content"]
    spelled = b"".join(bytes(t["bytes"]) for t in tokens if not t["token"].startswith("<|"))
    assert spelled.decode(errors="replace") == first["message"]["content"]
    assert all(len(t["top_logprobs"]) == 3 and t["logprob"] <= 0 for t in tokens)
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + sum(
        len(c["logprobs"]["content"]) + (c["finish_reason"] == "stop") for c in answer["choices"]
    )
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_choices_of_one_request_are_those_of_single_requests(endpoint: Endpoint) -> None:
    settings = {"max_tokens": 12, "temperature": 1.0}
    _, many, _ = _call(endpoint, "POST", "/v1/chat/completions", _question(n=4, seed=40, **settings))
    counts = [choice["completion_tokens"] for choice in many["choices"]]
    assert sum(counts) == many["usage"]["completion_tokens"]
    for index, choice in enumerate(many["choices"]):
        _, one, _ = _call(endpoint, "POST", "/v1/chat/completions", _question(seed=40 + index, **settings))
        assert one["choices"][0]["message"] == choice["message"]
        assert one["usage"]["completion_tokens"] == counts[index]


def test_the_stream_is_the_whole_answer_and_ends_with_usage(endpoint: Endpoint) -> None:
    client = openai.OpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key())
    question = _question(temperature=1.0, seed=4)
    whole = client.chat.completions.create(**question)  # type: ignore[call-overload]
    chunks = list(
        client.chat.completions.create(**question, stream=True, stream_options={"include_usage": True})  # type: ignore[call-overload]
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason


def test_a_clip_travels_by_file_and_inline_to_the_same_answer(
    endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clip = next(tmp_path_factory.getbasetemp().glob("media*/clip.wav"))

    def ask(part: dict[str, object]) -> str:
        content = [part, {"type": "text", "text": "What is it?"}]
        status, answer, _ = _call(
            endpoint,
            "POST",
            "/v1/chat/completions",
            _question(messages=[{"role": "user", "content": content}]),
        )
        assert status == 200, answer
        return str(answer["choices"][0]["message"]["content"])

    code = base64.b64encode(clip.read_bytes()).decode()
    by_file = ask({"type": "audio_url", "audio_url": {"url": clip.as_uri()}})
    assert by_file == ask({"type": "input_audio", "input_audio": {"data": code, "format": "wav"}})


def test_bad_requests_are_errors_in_openais_form(endpoint: Endpoint) -> None:
    for body, status in (
        (_question(model="other"), 404),
        (_question(temperature="hot"), 400),
        (b"not json", 400),
        (
            _question(
                messages=[
                    {
                        "role": "user",
                        "content": [{"type": "audio_url", "audio_url": {"url": "file:///etc/passwd"}}],
                    }
                ]
            ),
            400,
        ),
    ):
        found, answer, _ = _call(endpoint, "POST", "/v1/chat/completions", body)
        assert found == status
        assert set(answer["error"]) == {"message", "type", "param", "code"}
        assert "\n" not in answer["error"]["message"]
    assert _call(endpoint, "GET", "/v1/nothing")[0] == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:80"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Host": "localhost:1234"}, 200),
    ],
)
def test_what_a_web_page_could_send_is_refused(
    endpoint: Endpoint, headers: dict[str, str], status: int
) -> None:
    assert _call(endpoint, "POST", "/v1/chat/completions", _question(), headers)[0] == status


def test_nothing_but_health_is_answered_without_the_key(running: RunningEngine, endpoint: Endpoint) -> None:
    key = endpoint.api_key() or ""
    for given in ("", "Bearer ", f"Bearer {key}x", key, "Bearer None"):
        headers = {"Authorization": given}
        assert _call(endpoint, "POST", "/v1/chat/completions", _question(), headers)[0] == 401
        for path in ("/v1/models", "/metrics", "/nothing"):
            assert _call(endpoint, "GET", path, None, headers)[0] == 401
        assert _call(endpoint, "GET", "/health", None, headers)[0] == 200
    command = psutil.Process(running.process.pid).cmdline()
    assert len(key) >= 32 and key not in " ".join(command)


def test_models_and_health_name_the_model(endpoint: Endpoint) -> None:
    assert _call(endpoint, "GET", "/v1/models")[1]["data"][0]["id"] == "tiny"
    assert _call(endpoint, "GET", "/health")[1] == {"status": "ok", "model": "tiny"}


def test_a_client_that_leaves_stops_its_generation(endpoint: Endpoint) -> None:
    parts = urlsplit(endpoint.root_url)
    for stream in (True, False):
        body = json.dumps(_question(max_tokens=480, temperature=1.5, n=12, stream=stream)).encode()
        with socket.create_connection((parts.hostname, parts.port or 0)) as connection:
            connection.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
                % ((endpoint.api_key() or "").encode(), len(body), body)
            )
            _until(lambda: _gauge(endpoint, "num_requests_running") > 0)
        began = time.monotonic()
        _until(lambda: _gauge(endpoint, "num_requests_running") == 0)
        assert time.monotonic() - began < 2


def test_sigterm_ends_the_server_cleanly(folder: Path) -> None:
    engine = start_engine(folder, device="cpu", threads=1)
    engine.process.send_signal(signal.SIGTERM)
    assert engine.process.wait(10) == 0
    engine.stop()


def test_the_engine_ends_when_its_parent_is_killed(folder: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom audioreason.engines.launch import start_engine\n"
        "engine = start_engine(Path(sys.argv[1]), device='cpu', threads=1)\n"
        "print(engine.process.pid, flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    _until(lambda: not _alive(child))


def test_a_folder_that_is_no_model_fails_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"config\.json is missing"):
        start_engine(tmp_path)


def test_a_child_that_dies_says_why(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in folder.iterdir():
        if not file.name.startswith("model-"):
            (broken / file.name).write_bytes(file.read_bytes())
    with pytest.raises(EngineError, match="cannot be loaded"):
        start_engine(broken, device="cpu")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def _until(condition: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("repetition_penalty", 1e-38),
        ("repetition_penalty", 5e-324),
        ("repetition_penalty", 1e6),
        ("temperature", 1e30),
        ("temperature", -1),
        ("top_p", 0),
        ("min_p", 2),
        ("top_k", -5),
        ("stop", "x" * 400_000),
        ("stop", ["x" * 257]),
        ("stop", ["x"] * 17),
        ("n", 1_000_000),
        ("top_logprobs", 1_000),
        ("seed", 2**63),
        ("seed", 10**30),
        ("top_k", -(10**30)),
        ("max_tokens", 0),
        ("messages", [{"role": "user", "content": "x" * 1_000_001}]),
    ],
)
def test_a_value_out_of_range_is_refused_before_it_meets_others(
    endpoint: Endpoint, field: str, value: object
) -> None:
    status, answer, _ = _call(endpoint, "POST", "/v1/chat/completions", _question(**{field: value}))
    assert status == 422 and field in answer["error"]["message"], answer
    assert len(answer["error"]["message"]) < 300


def test_the_smallest_values_that_are_taken_leave_a_neighbour_alone(endpoint: Endpoint) -> None:
    """Each at the edge of its range, while another request generates."""
    _, alone, _ = _call(endpoint, "POST", "/v1/chat/completions", _question(max_tokens=120))
    edges: list[dict[str, object]] = [
        {"repetition_penalty": 0.01},
        {"repetition_penalty": 10},
        {"temperature": 1e-4, "top_p": 1e-30},
        {"temperature": 10, "min_p": 1},
        {"stop": ["~" * 256] * 16, "top_logprobs": 20, "logprobs": True, "n": 4},
        {"seed": -(2**63)},
    ]
    with ThreadPoolExecutor(len(edges) + 1) as pool:
        neighbour = pool.submit(_call, endpoint, "POST", "/v1/chat/completions", _question(max_tokens=120))
        others = [
            pool.submit(
                _call, endpoint, "POST", "/v1/chat/completions", _question(**{"temperature": 1, **edge})
            )
            for edge in edges
        ]
    assert [other.result()[0] for other in others] == [200] * len(edges)
    status, answer, _ = neighbour.result()
    assert status == 200 and answer["choices"][0]["message"] == alone["choices"][0]["message"]


def test_a_client_that_leaves_while_it_waits_is_not_served(endpoint: Endpoint) -> None:
    """More requests than rows, with prompts of their own; when their clients leave, none is read any more."""
    parts = urlsplit(endpoint.root_url)
    connections = []
    for number in range(120):
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        body = json.dumps(
            _question(messages=[{"role": "user", "content": f"How many, {number}?"}], max_tokens=400)
        )
        headers = {"Authorization": f"Bearer {endpoint.api_key()}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        connections.append(connection)
    until = time.monotonic() + 30
    while _gauge(endpoint, "num_requests_waiting") < 50 and time.monotonic() < until:
        time.sleep(0.02)
    before = _gauge(endpoint, "generation_tokens_total")
    for connection in connections:
        connection.close()
    until = time.monotonic() + 5
    while (_gauge(endpoint, "num_requests_waiting") or _gauge(endpoint, "num_requests_running")) and (
        time.monotonic() < until
    ):
        time.sleep(0.05)
    assert _gauge(endpoint, "num_requests_waiting") == _gauge(endpoint, "num_requests_running") == 0
    assert _gauge(endpoint, "generation_tokens_total") - before < 32 * 400
