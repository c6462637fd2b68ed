"""Training that is killed, and training in several processes (slow: real children)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from test_loop import RECIPE, StopAt

from audioreason.engines.launch import pocket_folder
from audioreason.errors import EngineError
from audioreason.train.distributed import train_on
from audioreason.train.loop import train
from audioreason.train.recipe import Recipe
from audioreason.workspace import Workspace

pytestmark = pytest.mark.slow

_SCRIPT = """
import sys, torch
from pathlib import Path
from audioreason.train.loop import train
from audioreason.train.recipe import Recipe
from audioreason.workspace import Workspace
torch.set_num_threads(1)
workspace, model, data, out, recipe = sys.argv[1:]
out = Path(out)
train(Workspace(Path(workspace)), Path(model), Path(data), out, Recipe.model_validate_json(recipe), resume=out.exists())
"""  # noqa: E501 - a script on as few lines as it needs


def run(
    workspace: Workspace, model: Path, data: Path, out: Path, recipe: Recipe, script: str = _SCRIPT
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", script, str(workspace.root), str(model), str(data), str(out)]
    return subprocess.Popen(
        [*command, recipe.model_dump_json()],
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


_SEVERAL = """
import sys
from pathlib import Path
from audioreason.train.distributed import train_on
from audioreason.train.recipe import Recipe
from audioreason.workspace import Workspace
workspace, model, data, out, recipe = sys.argv[1:]
recipe = Recipe.model_validate_json(recipe)
train_on(2, Workspace(Path(workspace)), Path(model), Path(data), Path(out), recipe)
"""


@pytest.mark.timeout(900)
def test_killed_at_random_and_resumed_gives_the_weights_of_an_undisturbed_run(
    lab: Workspace, tmp_path: Path
) -> None:
    data = lab.root / "pocket.jsonl"
    from training_examples import examples

    from audioreason.train.data import write_examples

    write_examples(data, examples())
    recipe = RECIPE.model_copy(update={"learning_rate": 1e-3, "steps": 12, "part_tokens": 2000})
    undisturbed = run(lab, pocket_folder(), data, tmp_path / "undisturbed", recipe)
    _, said = undisturbed.communicate()
    assert undisturbed.returncode == 0, said.decode()
    out = tmp_path / "killed"
    kills = 0
    chance = random.Random(5)
    for _ in range(12):
        process = run(lab, pocket_folder(), data, out, recipe)
        lines = _lines(out)
        if kills < 3:
            while _lines(out) <= lines and process.poll() is None:  # let it make at least one step
                time.sleep(0.02)
            time.sleep(chance.uniform(0, 0.4))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
            continue
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
        break
    assert kills >= 2
    expected = load_file(tmp_path / "undisturbed" / "adapter_model.safetensors")
    found = load_file(out / "adapter_model.safetensors")
    assert set(expected) == set(found)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def _lines(out: Path) -> int:
    path = out / "metrics.jsonl"
    return len(path.read_bytes().splitlines()) if path.is_file() else 0


@pytest.mark.timeout(600)
def test_two_processes_learn_what_one_does(
    lab: Workspace, tiny: Path, training_file: Path, tmp_path: Path
) -> None:
    recipe = RECIPE.model_copy(update={"learning_rate": 1e-3})
    train(lab, tiny, training_file, tmp_path / "one", recipe)
    result = train_on(2, lab, tiny, training_file, tmp_path / "two", recipe)
    assert result.finished
    expected = load_file(tmp_path / "one" / "adapter_model.safetensors")
    found = load_file(tmp_path / "two" / "adapter_model.safetensors")
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0.02, atol=2e-4)


@pytest.mark.timeout(600)
def test_a_stop_reaches_all_processes_and_errors_come_back_as_sentences(
    lab: Workspace, tiny: Path, training_file: Path, tmp_path: Path
) -> None:
    long = RECIPE.model_copy(update={"steps": 2000})
    result = train_on(2, lab, tiny, training_file, tmp_path / "out", long, progress=StopAt(3))
    assert not result.finished
    assert (tmp_path / "out" / "state.pt").is_file()
    with pytest.raises(EngineError, match="something in"):
        train_on(2, lab, tiny, training_file, tmp_path / "out", long)


@pytest.mark.timeout(300)
def test_several_processes_end_with_the_one_that_started_them(
    lab: Workspace, tiny: Path, training_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    parent = run(lab, tiny, training_file, out, RECIPE.model_copy(update={"steps": 100_000}), _SEVERAL)
    while not _lines(out) and parent.poll() is None:
        time.sleep(0.05)
    family = psutil.Process(parent.pid).children(recursive=True)
    ranks = [one for one in family if not one.children()]
    assert len(ranks) == 2
    for rank in ranks:
        rank.suspend()  # busy with something long: it would not notice that nobody listens
    parent.kill()
    parent.communicate()
    _, alive = psutil.wait_procs(family, timeout=60)
    for one in alive:
        one.kill()
    assert not alive, "a process stayed, training for nobody"
