"""The batch runner beside a bare aiohttp loop: 1,000 items, 64 in flight, a server that takes 100 ms.

Target (DESIGN section 7): at most 1.15 times the bare loop, with clips by file:// and as base64 (5 s each),
and at most 2 ms of CPU an item (file://). Both loops take turns, so that a noisy machine troubles both; the
server is a process of its own. The bare loop has its clips encoded beforehand and cares about no fault.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import statistics
import tempfile
import time
import wave
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.messages import Messages, audio_part
from audioreason.inference.runner import RawRecord, Request, run_batch
from audioreason.inference.seeds import sample_seed
from bench.report import write

ITEMS, IN_FLIGHT, LATENCY, CLIPS, ROUNDS = 1_000, 64, 0.1, 100, 3
SAMPLING = Sampling()
TEXT = "Listen and choose.\n(A) one\n(B) two\n(C) three\n(D) four\nThink step by step, then answer."
ANSWER = orjson.dumps(
    {
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "HEARD: claps. " * 60 + "\nANSWER: two"},
            }
        ],
        "usage": {"prompt_tokens": 120, "completion_tokens": 200, "total_tokens": 320},
    }
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
) + ANSWER


class Server(asyncio.Protocol):
    """The least HTTP there can be: read a whole request, answer after LATENCY seconds."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.missing = 0
        self.head = b""

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
            asyncio.get_running_loop().call_later(LATENCY, self.transport.write, RESPONSE)


def serve(port: Connection) -> None:
    """Run the server for ever; sends its port first."""

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=256)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


def ours(endpoint: Endpoint, clips: list[Path], transport: Any) -> int:
    """All items through `run_batch`; returns how many were answered."""
    records: list[RawRecord] = []

    def messages(clip: Path) -> Messages:
        return [{"role": "user", "content": [audio_part(clip, transport), {"type": "text", "text": TEXT}]}]

    def request(number: int) -> Request:
        item, clip = f"item-{number}", clips[number % len(clips)]
        return Request(item, 0, sample_seed(0, item, 0), lambda: messages(clip))

    run_batch(map(request, range(ITEMS)), endpoint, SAMPLING, on_record=records.append, concurrency=IN_FLIGHT)
    return sum(record.content is not None for record in records)


def bare(endpoint: Endpoint, parts: list[dict[str, Any]]) -> int:
    """All items through nothing but aiohttp and orjson; returns how many were answered."""

    async def loop() -> int:
        slots = asyncio.Semaphore(IN_FLIGHT)
        url = f"{endpoint.base_url}/chat/completions"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def one(number: int) -> bool:
                async with slots:
                    content = [parts[number % len(parts)], {"type": "text", "text": TEXT}]
                    messages = [{"role": "user", "content": content}]
                    body = {"model": "m", "messages": messages, "seed": number, **SAMPLING.body()}
                    async with session.post(url, data=orjson.dumps(body)) as response:
                        value = orjson.loads(await response.read())
                    return value["choices"][0]["message"]["content"] is not None

            return sum(await asyncio.gather(*(one(number) for number in range(ITEMS))))

    return asyncio.run(loop())


def timed(work: Callable[[], int]) -> tuple[float, float]:
    """Seconds on the wall, and of CPU in this process, of one pass over all items."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    answered = work()
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    if answered != ITEMS:
        raise RuntimeError(f"only {answered} of {ITEMS} items were answered")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_clips(folder: Path) -> list[Path]:
    """CLIPS clips of 5 s, 16 kHz mono 16-bit, each of its own bytes."""
    paths = []
    for number in range(CLIPS):
        paths.append(folder / f"{number:03d}.wav")
        with wave.open(str(paths[-1]), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(number.to_bytes(2, "little") * 80_000)
    return paths


def main() -> None:
    """Measure both loops in turn, with both transports, and write the medians."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(sender,), daemon=True)
    server.start()
    endpoint = Endpoint(name="bench", base_url=f"127.0.0.1:{receiver.recv()}", model="m")
    rows = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            clips = write_clips(Path(folder))
            for transport in ("file", "input_audio"):
                parts = [audio_part(clip, transport) for clip in clips]
                passes: dict[str, Callable[[], int]] = {
                    "bare aiohttp": lambda parts=parts: bare(endpoint, parts),  # type: ignore[misc]
                    "run_batch": lambda transport=transport: ours(endpoint, clips, transport),  # type: ignore[misc]
                }
                seen: dict[str, list[tuple[float, float]]] = {name: [] for name in passes}
                for work in passes.values():
                    work()  # imports, caches, and the server's first breath
                for _ in range(ROUNDS):
                    for name, work in passes.items():
                        seen[name].append(timed(work))
                ratio = statistics.median(
                    mine[0] / theirs[0]
                    for mine, theirs in zip(seen["run_batch"], seen["bare aiohttp"], strict=True)
                )
                for name, times in seen.items():
                    mine = name == "run_batch"
                    rows.append(
                        {
                            "clips": "file://" if transport == "file" else "base64, 5 s",
                            "loop": name,
                            "median s": round(statistics.median(wall for wall, _ in times), 2),
                            "CPU ms/item": round(statistics.median(cpu for _, cpu in times) / ITEMS * 1e3, 2),
                            "x bare": round(ratio, 2) if mine else 1.0,
                            "target": ("<= 1.15 x, <= 2 ms" if transport == "file" else "<= 1.15 x")
                            if mine
                            else "",
                        }
                    )
    finally:
        server.terminate()
        server.join(5)
    write("runner", rows)


if __name__ == "__main__":
    main()
