"""A burst of long clips: what waits is bounded, the rest is told to come again, and the memory comes back."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import soundfile
from engine_clips import noise

from audioreason.engines.launch import pocket_folder, start_engine
from audioreason.inference.endpoint import Endpoint

REQUESTS = 200
SECONDS = 100.0
MiB = 1 << 20


def ask(endpoint: Endpoint, part: dict[str, Any] | None, number: int, tokens: int, patience: float) -> Any:
    """The status of an answer and its Retry-After; "left" if the client did not wait for it."""
    parts = urlsplit(endpoint.root_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=patience)
    content = [*([part] if part else []), {"type": "text", "text": f"What do you hear in clip {number}?"}]
    body = json.dumps({"messages": [{"role": "user", "content": content}], "max_tokens": tokens})
    headers = {"Authorization": f"Bearer {endpoint.api_key()}", "Content-Type": "application/json"}
    try:
        connection.request("POST", "/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get("Retry-After")
    except (TimeoutError, OSError):
        return "left", None
    finally:
        connection.close()


class Peak(contextlib.AbstractContextManager["Peak"]):
    """The most memory that a process holds meanwhile, looked at every 50 ms."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.bytes = 0

    def now(self) -> int:
        return int(self._process.memory_info().rss)

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.bytes = max(self.bytes, self.now())

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A clip of 100 s as a file, and in the request itself."""
    clip = tmp_path_factory.mktemp("media") / "long.wav"
    soundfile.write(clip, noise(SECONDS), 16_000, subtype="PCM_16")
    code = base64.b64encode(clip.read_bytes()).decode()
    return [
        {"type": "audio_url", "audio_url": {"url": clip.as_uri()}},
        {"type": "input_audio", "input_audio": {"data": code, "format": "wav"}},
    ]


def folder_of(parts: list[dict[str, Any]]) -> Path:
    return Path(urlsplit(parts[0]["audio_url"]["url"]).path).parent


@pytest.mark.slow
def test_200_requests_with_100_s_clips_take_bounded_memory_and_give_it_back(
    parts: list[dict[str, Any]],
) -> None:
    engine = start_engine(pocket_folder(), allowed_media=[folder_of(parts)], device="cpu", threads=2)
    with engine as endpoint, Peak(engine.process.pid) as peak:
        assert ask(endpoint, None, 0, 8, 60)[0] == 200
        time.sleep(2)
        idle = peak.now()
        with ThreadPoolExecutor(REQUESTS) as pool:
            futures = [
                pool.submit(ask, endpoint, parts[number % 2], number, 48, 240) for number in range(REQUESTS)
            ]
        found = [future.result() for future in futures]
        statuses = Counter(status for status, _ in found)
        above = (peak.bytes - idle) / MiB
        print(f"idle {idle / MiB:.0f} MiB, at most {above:.0f} MiB above it, {dict(statuses)}")
        assert set(statuses) <= {200, 429, "left"} and statuses[200] >= 10 and statuses[429] >= 100
        assert all(after and int(after) >= 1 for status, after in found if status == 429)
        assert above <= 600
        ended = time.monotonic()
        while peak.now() - idle > 100 * MiB and time.monotonic() - ended < 60:
            time.sleep(1)
        print(f"{(peak.now() - idle) / MiB:.0f} MiB above idle {time.monotonic() - ended:.0f} s later")
        assert peak.now() - idle <= 100 * MiB
        assert ask(endpoint, parts[0], 1, 8, 60)[0] == 200


def test_what_waits_is_bounded_and_a_cancelled_prompt_is_not_read_to_its_end(folder: Path) -> None:
    """In one process: the sound of waiting requests is counted until they leave the queue."""
    from audioreason.engines.local import LocalEngine
    from audioreason.engines.samples import Chunk, Request
    from audioreason.engines.sampling import Draw
    from audioreason.engines.tokens import Turn

    clip = noise(1.0)
    with LocalEngine(folder, device="cpu", rows=4) as engine:
        entered, go = threading.Event(), threading.Event()
        read = engine._reader.read
        finished: list[int] = []

        def slowly(*given: Any) -> Any:
            entered.set()
            assert go.wait(20)
            result = read(*given)
            finished.append(1)
            return result

        engine._reader.read = slowly  # type: ignore[method-assign]
        ended: list[Chunk] = []
        tickets = [
            engine.submit(
                Request((Turn("user", (None, f"How many, {number}?")),), (clip,), Draw(max_tokens=4), n=2),
                lambda chunk: ended.append(chunk) if chunk.finish_reason else None,
            )
            for number in range(6)
        ]
        assert entered.wait(20)
        assert engine.load().waiting_bytes == 6 * clip.nbytes  # the first one's other sample waits too
        for ticket in tickets:
            ticket.cancel()
        go.set()
        until = time.monotonic() + 20
        while len(ended) < 12 and time.monotonic() < until:
            time.sleep(0.01)
        assert {chunk.finish_reason for chunk in ended} == {"abort"} and not finished
        assert engine.load().waiting_bytes == 0 and not any(ticket.clips for ticket in tickets)


def test_after_a_while_without_requests_nothing_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audioreason.engines import local
    from audioreason.engines.samples import Request
    from audioreason.engines.sampling import Draw
    from audioreason.engines.tokens import Turn

    monkeypatch.setattr(local, "_REST_SECONDS", 0.2)
    request = Request((Turn("user", (None, "How many?")),), (noise(1.0),), Draw(temperature=0, max_tokens=9))
    with local.LocalEngine(folder, device="cpu", rows=4) as engine:
        first = engine.generate([request])[0][0].text
        assert engine._reader._prompts and engine._reader._clips and engine._slots._cache
        until = time.monotonic() + 20
        while (engine._reader._prompts or engine._slots._cache) and time.monotonic() < until:
            time.sleep(0.02)
        assert not (engine._reader._prompts or engine._reader._clips or engine._slots._cache)
        assert engine.generate([request])[0][0].text == first


def test_a_prompt_waits_where_the_rows_would_take_too_much_memory(folder: Path) -> None:
    from audioreason.engines.pocket import load_model
    from audioreason.engines.slots import Reader, Slots

    model = load_model(folder)
    reader = Reader(model, 0)
    position = 2 * 2 * 2 * 16 * 4  # keys and values, layers, heads, width, bytes
    slots = Slots(model, most=16, most_bytes=4 * 128 * position)
    prompt = reader.read(list(range(2, 102)), 0, [])
    for _ in range(4):
        assert slots.fits(prompt.length)
        slots.add(prompt)
    assert not slots.fits(prompt.length), "a fifth row needs eight"
    while slots.lengths:
        slots.remove(0)
    assert slots.fits(400), "the first may take what it needs"
    slots.clear()
    assert slots._cache == []


@pytest.mark.slow
def test_a_body_that_trickles_in_does_not_keep_others_out(
    parts: list[dict[str, Any]],
) -> None:
    """Two clients send a large body and stop in its middle: small requests are answered meanwhile."""
    engine = start_engine(pocket_folder(), allowed_media=[folder_of(parts)], device="cpu", threads=2)
    with engine as endpoint:
        parts_of = urlsplit(endpoint.root_url)
        stuck = []
        for _ in range(4):
            connection = http.client.HTTPConnection(parts_of.hostname or "", parts_of.port, timeout=60)
            connection.putrequest("POST", "/v1/chat/completions")
            connection.putheader("Authorization", f"Bearer {endpoint.api_key()}")
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(4 * MiB))
            connection.endheaders(b"x" * MiB)
            stuck.append(connection)
        time.sleep(1)
        assert ask(endpoint, None, 0, 8, 60)[0] == 200
        for connection in stuck:
            connection.close()
        assert ask(endpoint, parts[1], 1, 8, 60)[0] == 200
