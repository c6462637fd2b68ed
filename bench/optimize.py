"""A search beside the requests it makes: 60 train, 80 dev and 40 test items, servers that take 100 ms.

Target: at most 20% of the wall time is spent around the requests (DSPy's own loop, rendering, scoring,
records). Time inside requests is what the batch runner takes for them, retries and pacing included; the rest
of the search is the overhead. DSPy's import and the clips' preparation come before and are shown apart.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson

from audioreason.inference.endpoint import Endpoint
from audioreason.items import load_dataset
from audioreason.optimize import asking, proposing, search
from audioreason.optimize.config import OptimizeConfig
from audioreason.prompts import load_prompt
from audioreason.workspace import Workspace
from bench.report import write

LATENCY, IN_FLIGHT = 0.1, 16


class Server(asyncio.Protocol):
    """Answers every chat request after LATENCY seconds, each time with another sentence."""

    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.missing, self.head = 0, b""

    def data_received(self, data: bytes) -> None:
        if self.missing:
            self.missing -= len(data)
        else:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            length = int(self.head[:end].lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self.missing = length - (len(self.head) - end - 4)
            self.head = b""
        if self.missing == 0:
            Server.count += 1
            text = (
                f"Listen to the recording and answer the question that you are given ({Server.count})."
                " ANSWER: two"
            )
            message = {"role": "assistant", "content": text}
            body = orjson.dumps(
                {
                    "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                    "usage": {"prompt_tokens": 120, "completion_tokens": 20, "total_tokens": 140},
                }
            )
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
                body
            )
            asyncio.get_running_loop().call_later(LATENCY, self.transport.write, head + body)


def serve(port: Connection) -> None:
    """Run the server for ever; sends its port first."""

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=256)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


class Stopwatch:
    """Adds up the seconds inside a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.seconds, self.calls = function, 0.0, 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return self.function(*arguments, **options)
        finally:
            self.seconds += time.perf_counter() - start
            self.calls += 1


def measure(optimizer: str, port: int) -> dict[str, Any]:
    """One search; seconds of its search phase, of the requests in it, and the share that is overhead."""
    endpoint = Endpoint(name="bench", base_url=f"http://127.0.0.1:{port}", model="bench", transport="file")
    config = OptimizeConfig(
        optimizer=optimizer, dev_items=80, train_items=60, test_items=40, concurrency=IN_FLIGHT,  # type: ignore[arg-type]
        level="own", candidates=6, trials=10, rollouts=600, proposer="bench",
    )  # fmt: skip
    asked = Stopwatch(asking.run_batch)
    inside: dict[str, float] = {}

    def compile_watched(*arguments: Any) -> None:
        before, start = asked.seconds, time.perf_counter()
        compile_search(*arguments)
        inside.update(requests=asked.seconds - before, search=time.perf_counter() - start)

    compile_search = search._compile
    asking.run_batch = proposing.run_batch = asked  # type: ignore[assignment]
    search._compile = compile_watched
    try:
        with tempfile.TemporaryDirectory() as folder:
            workspace = Workspace.open(Path(folder))
            dataset = load_dataset(workspace, "soundcheck")
            seed = load_prompt("baseline", [workspace.prompts])
            start = time.perf_counter()
            found = search.optimize(
                workspace, dataset, seed, config, endpoint, endpoint, optimization_id="bench"
            )
            whole = time.perf_counter() - start
    finally:
        asking.run_batch = proposing.run_batch = asked.function  # type: ignore[assignment]
        search._compile = compile_search
    return {
        "requests": found.state.spent.requests,
        "proposals": found.state.spent.proposer_requests,
        "search (s)": round(inside["search"], 2),
        "of it requests (s)": round(inside["requests"], 2),
        "overhead (target 0.2)": round(1 - inside["requests"] / inside["search"], 3),
        "whole (s)": round(whole, 2),
    }


def main() -> None:
    """Both optimisers, one after the other; prints and writes bench/results/optimize.json."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    port = ours.recv()
    try:
        results = {optimizer: measure(optimizer, port) for optimizer in ("mipro", "gepa")}
    finally:
        server.terminate()
        server.join()
    write("optimize", [{"optimizer": optimizer, **found} for optimizer, found in results.items()])


if __name__ == "__main__":
    main()
