"""One round of 48 items by the real command and the Pocket Listener, killed at random, comes to the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import psutil
import pytest
from rest_lab import LISTENER, LISTENER_PROMPT, lines, outcome

from audioreason.runs import run_folder
from audioreason.soundcheck import generate_dataset
from audioreason.workspace import Workspace

pytestmark = pytest.mark.slow

_SETTINGS = {**LISTENER, "eval_limit": 8, "steps": 4, "concurrency": 8}


def start(workspace: Workspace, name: str, *more: str) -> subprocess.Popen[bytes]:
    settings = workspace.root / f"{name}.json"
    settings.write_text(json.dumps(_SETTINGS))
    return subprocess.Popen(
        [sys.executable, "-m", "audioreason", "rest", "run", name, "--config", str(settings), *more],
        env={**os.environ, "AUDIOREASON_WORKSPACE": str(workspace.root), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(workspace.root / f"{name}.log").open("ab"),
        start_new_session=True,
    )


def test_killed_at_random_and_resumed_it_comes_to_the_same(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "lab")
    generate_dataset(workspace.datasets / "small", 48, seed=3)
    calm = start(workspace, "calm")
    assert calm.wait(300) == 0, (workspace.root / "calm.log").read_text()[-2000:]
    whole = outcome(workspace, "calm")
    answers = whole["answers"]
    assert isinstance(answers, list) and len(answers[1]) == 48 * 4

    random = Random(11)
    first, later = random.randint(3, 60), random.randint(90, 180)
    generated = run_folder(workspace, "killed-r1-generate") / "predictions.jsonl"
    steps = workspace.adapters / "killed-r1" / "metrics.jsonl"
    moments: list[Callable[[], bool]] = [
        lambda: (workspace.rest / "killed" / "config.json").is_file(),
        lambda: lines(generated) >= first,
        lambda: lines(generated) >= later,
        lambda: lines(run_folder(workspace, "killed-r1-silent") / "predictions.jsonl") >= 5,
        lambda: lines(steps) >= 2,
        lambda: run_folder(workspace, f"killed-r1-eval-{LISTENER_PROMPT}").is_dir(),
    ]
    killed = 0
    for number, moment in enumerate(moments):
        process = start(workspace, "killed", *(["--resume"] if number else []))
        family = []
        while process.poll() is None and not moment():
            time.sleep(0.01)
        time.sleep(random.random() * 0.3)
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        _, alive = psutil.wait_procs(family, timeout=60)
        assert not alive, "a server stayed behind"
    last = start(workspace, "killed", "--resume")
    assert last.wait(300) == 0, (workspace.root / "killed.log").read_text()[-2000:]
    assert killed >= 5, "the kills came too late to be worth anything"
    assert outcome(workspace, "killed") == whole
