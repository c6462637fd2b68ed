"""`audioreason merge` killed again and again comes to the bytes of an undisturbed merge."""

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

import pytest
from safetensors.torch import save_file
from training_examples import adapter_of

from audioreason.engines.experts import LoraShape
from audioreason.engines.launch import pocket_folder
from audioreason.engines.weights import Shards
from audioreason.errors import WorkspaceError
from audioreason.train.merge import merge, unfinished
from audioreason.workspace import FileLock

pytestmark = pytest.mark.slow

SHARDS = 24


def cut(base: Path, folder: Path) -> Path:
    """The Pocket Listener in many shards, as large models come."""
    folder.mkdir()
    shards = Shards(base)
    names = sorted(shards)
    index = {}
    for number in range(SHARDS):
        file = f"model-{number + 1:05d}-of-{SHARDS:05d}.safetensors"
        mine = names[number::SHARDS]
        save_file({name: shards.get(name) for name in mine}, folder / file, {"format": "pt"})
        index |= dict.fromkeys(mine, file)
    for source in base.iterdir():
        if source.is_file() and source.suffix != ".safetensors":
            (folder / source.name).write_bytes(source.read_bytes())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


def start(adapter: Path, model: Path, out: Path, workspace: Path) -> subprocess.Popen[bytes]:
    command = ["merge", str(adapter), "--model", str(model), "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, "-m", "audioreason", *command],
        env={**os.environ, "AUDIOREASON_WORKSPACE": str(workspace), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(workspace.parent / "merge.log").open("ab"),
    )


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_at_random_moments_it_comes_to_the_same_bytes(tmp_path: Path) -> None:
    model = cut(pocket_folder(), tmp_path / "model")
    adapter = adapter_of(model, tmp_path / "adapter", LoraShape(rank=4, alpha=8.0), spread=0.03)
    whole = content(merge(adapter, model, tmp_path / "whole"))
    kept = content(adapter)
    workspace, out = tmp_path / "lab", tmp_path / "merged"
    workspace.mkdir()
    part = unfinished(out)
    random = Random(7)

    def merged(count: int) -> Callable[[], bool]:
        return lambda: len(list(part.glob("model-*.safetensors"))) >= count

    moments: list[Callable[[], bool]] = [
        part.exists,
        lambda: any(part.glob(".tmp*")),  # safetensors writes beside the place that it is given
        *(merged(random.randint(1, SHARDS - 1)) for _ in range(3)),
        merged(SHARDS),
    ]
    killed = 0
    for number, moment in enumerate(moments):
        process = start(adapter, model, out, workspace)
        while process.poll() is None and not moment():
            time.sleep(0.0005)
        if number % 2:
            time.sleep(random.random() * 0.03)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        assert not out.exists() or content(out) == whole, "what has the name is whole"
        if out.exists():
            break
    if not out.exists():
        last = start(adapter, model, out, workspace)
        assert last.wait(120) == 0, (tmp_path / "merge.log").read_text()[-2000:]
    assert killed >= 4, "the kills came too late to be worth anything"
    assert content(out) == whole and content(adapter) == kept
    assert not part.exists()


def test_two_merges_into_one_folder_do_not_meet(tmp_path: Path) -> None:
    model = pocket_folder()
    adapter = adapter_of(model, tmp_path / "adapter", LoraShape(rank=4, alpha=8.0), spread=0.03)
    lock = FileLock(unfinished(tmp_path / "merged") / ".lock")
    assert lock.acquire()
    with pytest.raises(WorkspaceError, match="Another process merges into"):
        merge(adapter, model, tmp_path / "merged")
    lock.release()
    assert (merge(adapter, model, tmp_path / "merged") / "config.json").is_file()
