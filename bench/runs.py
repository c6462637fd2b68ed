"""How fast ten thousand runs of 20 items are listed: `audioreason runs` and Home, with and without the index.

Targets (DESIGN section 7): `runs` <= 3 s cold and <= 1 s again, Home <= 2 s again, memory <= 400 MB; 100 runs
no slower than before there was an index. The workspace is made in a temporary folder, in the files that the
lab itself writes. Cold means without `cache/runs.json`, with the files in the operating system's cache.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
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

# what the Home page does with the catalog
_HOME = """
import sys
from streamlit.testing.v1 import AppTest
import time
for again in range(int(sys.argv[1])):
    start = time.perf_counter()
    page = AppTest.from_file("app/main.py", default_timeout=300).run()
    assert not page.exception, page.exception
    print(time.perf_counter() - start)
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
        rows.append(_row(f"{what}, {runs:,} runs", *zip(*found, strict=True), target))  # type: ignore[arg-type]
    return rows


def _run(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MB of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(0.01)
    assert process.wait() == 0
    return time.perf_counter() - start, peak / 1e6


def _row(what: str, seconds: tuple[float, ...], memory: tuple[float, ...], target: str) -> dict[str, object]:
    return {
        "what": what,
        "median s": round(statistics.median(seconds), 2),
        "worst s": round(max(seconds), 2),
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
