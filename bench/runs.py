"""How fast ten thousand runs of 20 items are listed: `audioreason runs` and Home, with and without the index.

Targets (DESIGN section 7): `runs` <= 3 s cold and <= 1 s again, Home <= 2 s again, memory <= 400 MB; 100 runs
no slower than before there was an index. The workspace is made in a temporary folder, in the files that the
lab itself writes. Cold means without `cache/runs.json`, with the files in the operating system's cache.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from audioreason.inference.endpoint import Sampling
from audioreason.items import Item
from audioreason.runs import DatasetRef, EndpointRef, Prediction, PromptRef, RunRecord, score_run
from audioreason.runs.record import run_folder
from audioreason.runs.snapshot import write_items
from audioreason.runs.storage import write_predictions
from audioreason.workspace import Workspace, write_atomic
from bench.report import write

SIZES = (100, 10_000)
ITEMS = 20
DIFFERENT = 50  # runs that are written out; the others are copies of them under other ids
START = datetime(2026, 1, 1, tzinfo=UTC)
ENDPOINT = EndpointRef(name="vllm", base_url="http://127.0.0.1:8000/v1", model="qwen3-omni", transport="file")
ROUNDS = 3

# opens Home twice in one process, as a lab does, and prints the seconds of each
_HOME = """
import time
from streamlit.testing.v1 import AppTest
for _ in range(2):
    page = AppTest.from_file("pages/home.py", default_timeout=300)
    start = time.perf_counter()
    page.run()
    print(time.perf_counter() - start)
    assert not page.exception, page.exception
"""


def main() -> None:
    """Build workspaces of 100 and of 10,000 runs, measure each list, and write the medians."""
    rows: list[dict[str, object]] = []
    for runs in SIZES:
        folder = Path(tempfile.mkdtemp(prefix="audioreason-bench-"))
        try:
            workspace = Workspace.open(folder)
            build(workspace, runs)
            rows += measure(workspace, runs)
        finally:
            shutil.rmtree(folder)
    write("runs", rows)


def build(workspace: Workspace, runs: int) -> None:
    """Write `runs` finished, scored runs of 20 items."""
    items = [
        Item(
            id=f"item-{i:04d}",
            question=f"What makes the sound at the start of recording number {i}?",
            choices=tuple(f"choice {k}" for k in range(4)),
            answer=f"choice {i % 4}",
            modality="sound",
            layer=f"Layer {i % 4}",
            subcategory=f"Subcategory {i % 16:02d}",
        )
        for i in range(ITEMS)
    ]
    parts = {item.id: ("explore", "sealed")[i % 2] for i, item in enumerate(items)}
    for number in range(runs):
        run_id = f"{START + timedelta(minutes=30 * number):%Y%m%d-%H%M}-prompt-{number % 40}-{number:05d}"
        target = run_folder(workspace, run_id)
        record = _record(run_id, number).model_dump_json(indent=2)
        if number >= DIFFERENT:
            like = _folder(workspace, number % DIFFERENT)
            shutil.copytree(like, target)
            (target / "run.json").write_text(record)
            continue
        write_items(target / "items.parquet", items, parts)
        write_predictions(target / "predictions.parquet", [_answer(item, number) for item in items])
        write_atomic(target / "run.json", record)
        score_run(workspace, run_id)


def measure(workspace: Workspace, runs: int) -> list[dict[str, object]]:
    """Seconds and peak memory of `audioreason runs` and Home in a workspace of so many runs."""
    index = workspace.cache / "runs.json"
    listing = [sys.executable, "-m", "audioreason", "-w", str(workspace.root), "runs"]
    home = [sys.executable, "-c", _HOME]
    rows: list[dict[str, object]] = []
    for what, command, cold, target in (
        ("runs, cold", listing, True, "<= 3"),
        ("runs, again", listing, False, "<= 1"),
        ("runs --json, again", [*listing, "--json"], False, ""),
        ("the start alone (runs --help)", [*listing, "--help"], False, ""),
    ):
        found = []
        for _ in range(ROUNDS):
            if cold:
                index.unlink(missing_ok=True)
            found.append(_run(command))
        rows.append(_row(f"{what}, {runs:,} runs", [one[:3] for one in found], target))
    for cold in (True, False):
        opened, again = [], []
        for _ in range(ROUNDS):
            if cold:
                index.unlink(missing_ok=True)
            _, cpu, peak, printed = _run(home, {"AUDIOREASON_WORKSPACE": str(workspace.root)})
            first, second = map(float, printed.split())
            opened.append((first, cpu, peak))
            again.append((second, cpu, peak))
        of = f"{'without' if cold else 'with'} the index, {runs:,} runs"
        rows.append(_row(f"Home, first {of}", opened, ""))
        rows.append(_row(f"Home, again {of}", again, "<= 2"))
    return rows


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> tuple[float, float, float, str]:
    """Seconds, CPU seconds, peak MB and output of a command."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = 0
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.DEVNULL, env=os.environ | (environment or {})
        )
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                peak = max(peak, watched.memory_info().rss)
            except psutil.Error:
                break
            time.sleep(0.01)
        assert process.wait() == 0
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        output.seek(0)
        return seconds, _cpu(after) - _cpu(before), peak / 1e6, output.read()


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def _row(what: str, measured: Sequence[tuple[float, float, float]], target: str) -> dict[str, object]:
    seconds, cpu, memory = zip(*measured, strict=True)
    return {
        "what": what,
        "median s": round(statistics.median(seconds), 2),
        "worst s": round(max(seconds), 2),
        "CPU s": round(statistics.median(cpu), 2),  # of the whole command
        "peak MB": round(max(memory)),
        "target s": target,
    }


def _folder(workspace: Workspace, number: int) -> Path:
    (found,) = workspace.runs.glob(f"run_id=*-{number:05d}")
    return found


def _answer(item: Item, number: int) -> Prediction:
    place = int(item.id[-4:])
    choice = (place + (place * 7 + number) % 3) % 4
    return Prediction(
        item.id,
        seed=place,
        content=f"ANSWER: choice {choice}",
        reasoning="I listened to the whole clip. " * 20,
        finish_reason="stop",
        prompt_tokens=180,
        completion_tokens=150 + place,
        seconds=1.5,
        created=START.isoformat(),
    )


def _record(run_id: str, number: int) -> RunRecord:
    return RunRecord(
        run_id=run_id,
        created=START + timedelta(minutes=30 * number),
        kind="eval",
        dataset=DatasetRef(name="bench", hash="0" * 12, kind="benchmark", size=ITEMS),
        prompt=PromptRef(
            name=f"prompt-{number % 40}",
            version=f"{number % 400:012x}",
            system="Listen to the whole clip before you answer.",
            user="{{ question }}\n" * 20,
            sections=("HEARD", "ANALYSIS", "ANSWER"),
        ),
        endpoint=ENDPOINT,
        sampling=Sampling(),
        n_items=ITEMS,
    )


if __name__ == "__main__":
    main()
