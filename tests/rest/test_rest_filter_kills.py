"""`rest filter` killed at every file that it writes, and run again, leaves the same training file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from rest_lab import build_items, build_tiny, half_right, serving, settings

from audioreason.items import load_dataset
from audioreason.rest.loop import run
from audioreason.rest.record import read_experiment, round_folder
from audioreason.workspace import Workspace
from tests.servers import FakeServer, Request, Text

pytestmark = pytest.mark.slow

FILES = ("candidates.parquet", "problems.parquet", "training.jsonl", "round.json")


def start(root: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "audioreason", "rest", "filter", "exp"],
        env={**os.environ, "AUDIOREASON_WORKSPACE": str(root), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(root / "filter.log").open("ab"),
    )


def content(workspace: Workspace) -> dict[str, bytes]:
    return {name: (round_folder(workspace, "exp", 1) / name).read_bytes() for name in FILES[:3]}


def test_killed_while_it_filters_and_run_again_it_leaves_the_same_files(tmp_path: Path) -> None:
    calm = Workspace.open(tmp_path / "calm")
    build_items(calm)
    items = load_dataset(calm, "tiny").items
    wrong = {item.question: next(c for c in item.choices if c != item.answer) for item in items}
    answer = half_right({item.question: item.answer for item in items}, wrong)

    def reply(request: Request) -> Text:
        words = " ".join(str((request.seed or 0) * factor % 9973) for factor in range(1, 9))  # no two alike
        return Text(f"{words}\n{answer(request).content}")

    config = settings(build_tiny(tmp_path), eval_prompts=["baseline"], eval_limit=1, samples=64)
    with FakeServer(reply, check_model=False) as server:
        for only in ((0, "evaluate"), (1, "generate")):
            run(calm, config, serve=serving(server), resume=True, only=only)
    shutil.copytree(calm.root, tmp_path / "killed")
    killed = Workspace.open(tmp_path / "killed")
    assert start(calm.root).wait(120) == 0, (calm.root / "filter.log").read_text()[-2000:]
    whole = content(calm)
    assert whole["training.jsonl"].count(b"\n") > 4

    folder, random, kills = round_folder(killed, "exp", 1), Random(5), 0

    def written(name: str) -> Callable[[], bool]:
        return lambda: any(folder.glob(f".{name}.*")) or (name != "round.json" and (folder / name).exists())

    for name in FILES:
        for left in FILES[:3]:  # of the kill before: each kill meets a round that is filtered anew
            (folder / left).unlink(missing_ok=True)
        process = start(killed.root)
        while process.poll() is None and not written(name)():
            time.sleep(0.0005)
        time.sleep(random.random() * 0.002)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        if read_experiment(killed, "exp").rounds[-1].did("filter"):
            break
    assert kills >= 3, "the kills came too late to be worth anything"
    last = start(killed.root)
    assert last.wait(120) == 0, (killed.root / "filter.log").read_text()[-2000:]
    assert content(killed) == whole
    mine, theirs = (read_experiment(one, "exp").rounds[-1] for one in (killed, calm))
    assert (mine.training, mine.summary, mine.notes) == (theirs.training, theirs.summary, theirs.notes)
