"""`audioreason eval` beside a bare aiohttp loop, in turns, on the same requests to one real server.

    python -m bench.gpu.throughput URL [--workspace FOLDER] [--cases 64x1,128x1,256x4] [--seconds 40] ...

A case is IN_FLIGHTxN: so many samples in flight, N a request. For each case the bare loop and the command
take turns (A B A B ...). Both send the same bodies: same clips by the same transport, same seeds. The
bare loop has its requests built beforehand, handles no fault and keeps nothing. Tokens a second are of the
request phase: from the first request sent to the last answer received. How many requests make `--seconds`
is found by a short pass of the bare loop, which also warms the server's caches; `--requests` fixes it.

Target: >= 0.97 of the bare loop at 64 and 128 in flight, >= 0.95 at 256 with 4 a request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import aiohttp
import orjson
import pyarrow.parquet as pq

from audioreason.evaluate import choose_items
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.messages import build_messages
from audioreason.inference.probe import ready_endpoint
from audioreason.inference.seeds import group_seed, sample_seed
from audioreason.items import load_dataset, prepare_clip
from audioreason.prompts import load_prompt
from audioreason.runs import run_folder
from audioreason.runs.rendering import render_for
from audioreason.workspace import Workspace


@dataclass(frozen=True)
class Case:
    """Samples in flight, samples a request, and how many items and samples of each make the wanted length."""

    in_flight: int
    n: int
    items: int = 0
    samples: int = 0


@dataclass(frozen=True)
class Pass:
    """What one pass came to. Seconds of the request phase, of CPU in the client, to 95% of the full width."""

    loop: str
    requests: int
    tokens: int
    seconds: float
    cpu: float
    ramp: float

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds


class Bench:
    """The server, the questions, and both ways to ask them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.workspace = Workspace.open(options.workspace)
        self.dataset = load_dataset(self.workspace, options.dataset)
        self.items = choose_items(self.dataset, None)
        self.prompt = load_prompt(options.prompt, [self.workspace.prompts])
        asked = Endpoint(name="bench", base_url=options.url, model=options.model)
        self.endpoint = ready_endpoint(asked, self.workspace.clips)
        self.stamp = f"{datetime.now():%m%d-%H%M%S}"

    def bodies(self, case: Case) -> list[bytes]:
        """The bodies that `audioreason eval` sends for a case, in its order."""
        sampling = self.sampling(case)
        bodies = []
        for item in self.items[: case.items]:
            clip = self.dataset.clip(item)
            prepared = None if clip is None else prepare_clip(clip, self.workspace.cache)
            messages = build_messages(render_for(self.prompt, item), prepared, self.endpoint.transport)
            for first in range(0, case.samples, case.n):
                seed = sample_seed(0, item.id, first) if case.n == 1 else group_seed(0, item.id, first)
                body = {"model": self.endpoint.model, "messages": messages, **sampling.body(), "seed": seed}
                if case.n > 1:
                    body |= {"n": case.n, "return_token_ids": True}
                bodies.append(orjson.dumps(body))
        return bodies

    def sampling(self, case: Case) -> Sampling:
        """How a case draws."""
        return Sampling(
            temperature=1.0, max_tokens=self.options.max_tokens, samples=case.samples, per_request=case.n
        )

    def bare(self, case: Case, bodies: Sequence[bytes]) -> Pass:
        """Everything through nothing but aiohttp and orjson."""
        return asyncio.run(_bare(self.endpoint.base_url, bodies, max(1, case.in_flight // case.n)))

    def ours(self, case: Case, run_id: str) -> Pass:
        """Everything through the command, in a process of its own."""
        words = ["eval", "--endpoint", self.options.url, "--model", self.endpoint.model, "--run-id", run_id]
        words += ["--dataset", self.options.dataset, "--prompt", self.options.prompt, "--json"]
        words += ["--temperature", "1", "--max-tokens", str(self.options.max_tokens)]
        words += ["--limit", str(case.items), "--samples", str(case.samples)]
        words += ["--per-request", str(case.n), "--concurrency", str(case.in_flight)]
        environment = {**os.environ, "AUDIOREASON_WORKSPACE": str(self.workspace.root)}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = subprocess.run(
            [sys.executable, "-m", "audioreason", *words], env=environment, capture_output=True, text=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if told.returncode:
            raise SystemExit(f"audioreason eval ended with status {told.returncode}: {told.stderr[-2000:]}")
        rows = pq.read_table(run_folder(self.workspace, run_id) / "predictions.parquet").to_pylist()
        if failed := sum(row["error"] is not None for row in rows):
            raise SystemExit(f"{failed} of {len(rows)} predictions of {run_id} failed.")
        ends = [datetime.fromisoformat(str(row["created"])).timestamp() for row in rows]
        spans = [(end - row["seconds"], end) for end, row in zip(ends, rows, strict=True)]
        return Pass(
            loop="eval",
            requests=len(rows) // case.n,
            tokens=sum(row["completion_tokens"] or 0 for row in rows),
            seconds=max(ends) - min(begin for begin, _ in spans),
            cpu=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            ramp=_ramp(spans),
        )

    def fitted(self, case: Case) -> Case:
        """The case with the items and samples that take `--seconds`, or make `--requests`."""
        wanted = self.options.requests
        if not wanted:
            few = self._of(case, max(3 * case.in_flight // case.n, 8))
            short = self.bare(few, self.bodies(few))
            wanted = max(few.items, round(self.options.seconds * short.requests / short.seconds))
        return self._of(case, wanted)

    def _of(self, case: Case, requests: int) -> Case:
        groups = -(-requests // len(self.items))  # requests for each item
        return Case(case.in_flight, case.n, round(requests / groups), groups * case.n)


async def _bare(url: str, bodies: Sequence[bytes], width: int) -> Pass:
    slots = asyncio.Semaphore(width)
    tokens = 0
    spans: list[tuple[float, float]] = []
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Content-Type": "application/json"}
    timeout = aiohttp.ClientTimeout(total=900)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:

        async def one(body: bytes) -> None:
            nonlocal tokens
            async with slots:
                begin = time.perf_counter()
                async with session.post(f"{url}/chat/completions", data=body) as response:
                    value: dict[str, Any] = orjson.loads(await response.read())
                spans.append((begin, time.perf_counter()))
                tokens += value["usage"]["completion_tokens"]

        before = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.gather(*map(one, bodies))
        after = resource.getrusage(resource.RUSAGE_SELF)
    return Pass(
        loop="bare",
        requests=len(bodies),
        tokens=tokens,
        seconds=max(end for _, end in spans) - min(begin for begin, _ in spans),
        cpu=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        ramp=_ramp(spans),
    )


def _ramp(spans: Sequence[tuple[float, float]]) -> float:
    """Seconds until 95% of the most that was ever in flight was in flight."""
    steps = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    counts, count = [], 0
    for _, change in steps:
        count += change
        counts.append(count)
    full = 0.95 * max(counts)
    return next(at for (at, _), count in zip(steps, counts, strict=True) if count >= full) - steps[0][0]


def main() -> None:
    """Run all cases and print a table, and one JSON line a pass."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="such as http://127.0.0.1:8901/v1")
    parser.add_argument("--workspace", default=None)
    parser.add_argument("--dataset", default="soundcheck")
    parser.add_argument("--prompt", default="baseline")
    parser.add_argument("--model", default="", help="default: the server's first")
    parser.add_argument("--cases", default="64x1,128x1,256x4", help="IN_FLIGHTxN, with commas")
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=2, help="turns of bare and eval a case")
    parser.add_argument("--seconds", type=float, default=40.0, help="length of a pass")
    parser.add_argument("--requests", type=int, default=0, help="instead of --seconds")
    bench = Bench(parser.parse_args())
    print(f"{bench.endpoint.model} by {bench.endpoint.transport} at {bench.endpoint.base_url}", flush=True)
    lines = [f"{'case':>8} {'loop':>5} {'requests':>8} {'s':>7} {'tok/s':>8} {'ramp s':>7} {'CPU ms':>7}"]
    ratios = []
    for name in bench.options.cases.split(","):
        in_flight, n = map(int, name.split("x"))
        case = bench.fitted(Case(in_flight, n))
        bodies = bench.bodies(case)
        pairs = []
        for turn in range(bench.options.pairs):
            both = bench.bare(case, bodies), bench.ours(case, f"bench-{bench.stamp}-{name}-{turn}")
            pairs.append(both)
            for one in both:
                print(json.dumps({"case": name, **asdict(one), "tok_s": round(one.rate, 1)}), flush=True)
                lines.append(
                    f"{name:>8} {one.loop:>5} {one.requests:>8} {one.seconds:>7.2f} {one.rate:>8.1f}"
                    f" {one.ramp:>7.2f} {1000 * one.cpu / one.requests:>7.2f}"
                )
        each = [ours.rate / bare.rate for bare, ours in pairs]
        whole = sum(ours.rate for _, ours in pairs) / sum(bare.rate for bare, _ in pairs)
        ratios.append(
            f"{name:>8}  eval / bare {whole:.3f} (each {', '.join(f'{one:.3f}' for one in each)};"
            f" median {statistics.median(each):.3f})"
        )
    print("\n".join([*lines, *ratios]))


if __name__ == "__main__":
    main()
