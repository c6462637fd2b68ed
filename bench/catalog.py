"""How fast the catalog answers over a million predictions with 1 KB traces and 10,000 playground generations.

Targets (DESIGN section 7), warm: accuracy by subcategory <= 100 ms, paired difference <= 100 ms, a page of
50 failures <= 150 ms. The workspace is made for the bench in a temporary folder: 100 runs of 1,000 items and
one run of 900 samples for each of 1,000 items, in the files that the lab itself writes.
"""

from __future__ import annotations

import importlib
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import psutil

from audioreason.answers import SCORER_VERSION
from audioreason.inference.endpoint import Sampling
from audioreason.items import Item
from audioreason.runs import Catalog, DatasetRef, EndpointRef, Filter, Generation, PromptRef, RunRecord
from audioreason.runs.record import Kind, run_folder
from audioreason.runs.snapshot import write_items
from audioreason.runs.storage import ROW_GROUP
from audioreason.workspace import Workspace, write_atomic
from bench.report import write

ROUNDS = 9
ITEMS, RUNS, SAMPLES, GENERATIONS = 1_000, 100, 900, 10_000
BIG = "20261123-0000-candidates-big"
START = datetime(2026, 11, 1, tzinfo=UTC)
ENDPOINT = EndpointRef(name="vllm", base_url="http://127.0.0.1:8000/v1", model="qwen3-omni", transport="file")

_PREDICTIONS = """
COPY (
    SELECT 'item-' || lpad((i // $samples)::VARCHAR, 4, '0') AS item_id, (i % $samples)::INTEGER AS sample,
           (hash(i, $run) & 2147483647)::BIGINT AS seed,
           'ANSWER: choice ' || (hash(i, $run, 1) % 4)::VARCHAR AS content,
           array_to_string(list_transform(range(31), lambda k: md5((i * 31 + k + $run)::VARCHAR)), ' ')
               AS reasoning,
           'stop' AS finish_reason, NULL::VARCHAR AS error, NULL::VARCHAR AS error_kind,
           180::INTEGER AS prompt_tokens, (150 + hash(i, $run, 2) % 700)::INTEGER AS completion_tokens,
           (hash(i, $run, 3) % 9000 / 1000.0)::DOUBLE AS seconds, '2026-11-23T01:00:00.000+00:00' AS created,
           1::INTEGER AS attempt
    FROM range($items * $samples) t(i)
) TO '{path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {rows})
"""
_SCORES = """
COPY (
    SELECT 'item-' || lpad((i // $samples)::VARCHAR, 4, '0') AS item_id, (i % $samples)::INTEGER AS sample,
           (hash(i, $run, 1) % 4)::INTEGER AS choice,
           'choice ' || (hash(i, $run, 1) % 4)::VARCHAR AS choice_text,
           'exact' AS rule, hash(i, $run, 1) % 4 = (i // $samples) % 4 AS strict,
           hash(i, $run, 1) % 4 = (i // $samples) % 4 AS official,
           CASE WHEN hash(i, $run, 1) % 4 = (i // $samples) % 4 THEN 'correct' ELSE 'wrong' END AS outcome,
           'choice ' || (hash(i, $run, 1) % 4)::VARCHAR AS answer, 1022::INTEGER AS thinking_chars,
           8::INTEGER AS answer_chars
    FROM range($items * $samples) t(i)
) TO '{path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {rows})
"""


def main() -> None:
    """Build the workspace, measure each question warm, and write the medians."""
    folder = Path(tempfile.mkdtemp(prefix="audioreason-bench-"))
    try:
        workspace = Workspace.open(folder)
        build(workspace)
        write("catalog", measure(workspace))
    finally:
        shutil.rmtree(folder)


def build(workspace: Workspace, candidates: int = SAMPLES, generations: int = GENERATIONS) -> None:
    """Write runs and playground generations, as the lab lays them out, without asking anybody anything.

    `candidates` are the samples for each item of the great run; 0 leaves it out.
    """
    items = [
        Item(
            id=f"item-{i:04d}",
            question=f"What makes the sound at the start of recording number {i}?",
            choices=tuple(f"choice {k}" for k in range(4)),
            answer=f"choice {i % 4}",
            modality=("sound", "music", "speech", "sound-speech")[i % 4],
            layer=f"Layer {i % 4}",
            subcategory=f"Subcategory {i % 16:02d}",
            language=("en", "zh", None)[i % 3],
        )
        for i in range(ITEMS)
    ]
    parts = {item.id: ("explore", "sealed")[i % 2] for i, item in enumerate(items)}
    snapshot = workspace.root / "items.parquet"
    write_items(snapshot, items, parts)
    connection = duckdb.connect()
    for number in range(RUNS + 1 if candidates else RUNS):
        run_id = f"20261101-{number:04d}-prompt-{number}" if number < RUNS else BIG
        samples = 1 if number < RUNS else candidates
        target = run_folder(workspace, run_id)
        (target / "derived").mkdir(parents=True)
        shutil.copy(snapshot, target / "items.parquet")
        write_atomic(target / "run.json", _record(run_id, number, samples).model_dump_json(indent=2))
        arguments = {"items": ITEMS, "samples": samples, "run": number}
        for sql, path in (
            (_PREDICTIONS, target / "predictions.parquet"),
            (_SCORES, target / "derived" / f"scores@{SCORER_VERSION}.parquet"),
        ):
            connection.execute(sql.format(path=path, rows=ROW_GROUP), arguments)
    words = random.Random(0)
    text = "".join(words.choices("abcdefghij klmnop", k=1_000))
    lines = [
        Generation(
            id=f"generation-{i}",
            created=START + timedelta(seconds=i),
            dataset=DatasetRef(name="bench", hash="0" * 12),
            item=items[i % ITEMS],
            prompt=_prompt(i % 50),
            endpoint=ENDPOINT,
            sampling=Sampling(),
            seed=i,
            content=f"ANSWER: choice {i % 4}",
            reasoning=text[i % 500 :] + text[: i % 500],
        ).to_line()
        for i in range(generations)
    ]
    write_atomic(workspace.scratch / "2026-11-01.jsonl", b"\n".join(lines) + b"\n")


def measure(workspace: Workspace) -> list[dict[str, object]]:
    """One row per question: median and worst of some warm rounds in ms, and its target."""
    importlib.import_module("pandas")  # a second of importing that every page has paid already
    process = psutil.Process()
    memory = process.memory_info().rss
    start = time.perf_counter()
    catalog = Catalog(workspace)
    count = catalog.predictions(limit=1).total
    cold = time.perf_counter() - start
    assert count == RUNS * ITEMS + ITEMS * SAMPLES
    rows: list[dict[str, object]] = [
        {"what": f"load {count:,} predictions", "median ms": round(cold * 1000), "worst ms": "", "target": ""}
    ]
    first, second = "20261101-0003-prompt-3", "20261101-0004-prompt-4"
    everyone = list(catalog.runs()["run_id"])
    failures = Filter(runs=(BIG,), outcome=("wrong",))
    questions: dict[str, tuple[Callable[[], object], str]] = {
        "look at the disk, nothing new": (catalog.refresh, ""),
        "leaderboard, 101 runs": (catalog.runs, ""),
        "accuracy by subcategory, 900,000": (lambda: catalog.accuracy_by(BIG, "subcategory"), "<= 100"),
        "accuracy by subcategory, 101 runs": (
            lambda: catalog.accuracy_by(everyone, "subcategory"),
            "<= 100",
        ),
        "outcomes by subcategory, 900,000": (lambda: catalog.outcomes_by(BIG, "subcategory"), "<= 100"),
        "paired difference, 1,000 items": (lambda: catalog.paired(first, second), "<= 100"),
        "paired difference with 900 samples": (lambda: catalog.paired(first, BIG), "<= 100"),
        "page of 50 failures": (lambda: catalog.predictions(failures), "<= 150"),
        "page of 50 failures, 500,000 down": (
            lambda: catalog.predictions(failures, offset=500_000),
            "<= 150",
        ),
        "page of 50 failures, longest first": (
            lambda: catalog.predictions(failures, sort="tokens", descending=True),
            "<= 150",
        ),
        "page of 50 of a million, all runs": (catalog.predictions, "<= 150"),
        "one prediction with its text": (lambda: catalog.one_prediction(BIG, "item-0500", 450), "<= 150"),
        "an item in every run": (lambda: catalog.item_in_runs("bench", "item-0500"), "<= 150"),
        "text search in 1,000 traces": (
            lambda: catalog.predictions(Filter(runs=(first,), text="abcdef")),
            "",
        ),
        "text search in a million traces": (lambda: catalog.predictions(Filter(text="abcdef01")), ""),
        "page of 50 playground generations": (catalog.playground, "<= 150"),
    }
    for name, (ask, target) in questions.items():
        ask()
        seconds = []
        for _ in range(ROUNDS if "million traces" not in name else 3):
            start = time.perf_counter()
            ask()
            seconds.append(time.perf_counter() - start)
        rows.append(
            {
                "what": name,
                "median ms": round(statistics.median(seconds) * 1000, 1),
                "worst ms": round(max(seconds) * 1000, 1),
                "target": target,
            }
        )
    grown = (process.memory_info().rss - memory) / 1e6
    rows.append({"what": "memory, MB", "median ms": round(grown), "worst ms": "", "target": ""})
    return rows


def _record(run_id: str, number: int, samples: int) -> RunRecord:
    kind: Kind = "eval" if samples == 1 else "candidates"
    return RunRecord(
        run_id=run_id,
        created=START + timedelta(hours=number),
        kind=kind,
        dataset=DatasetRef(name="bench", hash="0" * 12, kind="benchmark", size=ITEMS),
        prompt=_prompt(number),
        endpoint=ENDPOINT,
        sampling=Sampling(samples=samples),
        n_items=ITEMS,
    )


def _prompt(number: int) -> PromptRef:
    return PromptRef(
        name=f"prompt-{number}",
        version=f"{number:012x}",
        system="Listen to the whole clip before you answer.",
        user="{{ question }}",
        sections=("HEARD", "ANALYSIS", "ANSWER"),
    )


if __name__ == "__main__":
    main()
