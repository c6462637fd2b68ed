"""What the tests of the loop share: a model that trains in a second, items, a server that answers by rule."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from audioreason.engines.pocket import PocketShape, build_model, pocket_config, save_folder
from audioreason.engines.tokens import ChatTokenizer, train_tokenizer
from audioreason.inference.endpoint import Endpoint
from audioreason.items import Dataset, DatasetInfo, Item, load_dataset, save_dataset, wav_bytes
from audioreason.progress import Quiet
from audioreason.rest.config import RestConfig
from audioreason.rest.phases import Serve
from audioreason.rest.record import read_candidates, read_experiment, round_folder
from audioreason.runs import run_folder
from audioreason.runs.storage import merged_predictions
from audioreason.workspace import Workspace
from tests.servers import FakeServer, Request, Text

BASE = "tiny-model"
LISTENER_PROMPT = "structured-reasoning"
LISTENER = {  # a small round of the Pocket Listener by the real command or job
    "dataset": "small", "rounds": 1, "samples": 4, "max_tokens": 96, "filter": "code", "control": 1,
    "prompt": LISTENER_PROMPT, "eval_prompts": [LISTENER_PROMPT], "eval_dataset": "soundcheck",
    "eval_temperature": 0.0, "eval_max_tokens": 96, "learning_rates": [1e-3], "rank": 4, "alpha": 8.0,
    "batch": 4, "save_minutes": 0.0,
}  # fmt: skip


def build_tiny(folder: Path) -> Path:
    """A model folder with random weights."""
    torch.set_num_threads(1)
    tokenizer = ChatTokenizer(
        train_tokenizer(["Which one? ANSWER: one two three four system user"] * 20, 330)
    )
    shape = PocketShape(
        hidden=64, layers=2, heads=4, kv_heads=2, head_dim=16, expert_width=32, audio_width=32,
        audio_layers=2, audio_heads=2, audio_feedforward=64, downsample=8, context=512,
    )  # fmt: skip
    config = pocket_config(shape, tokenizer)
    made = folder / BASE
    save_folder(build_model(config, seed=3), config, tokenizer, made)
    return made


def settings(model: Path, **changes: object) -> RestConfig:
    """One round on four items of `tiny`, evaluated on `measured`."""
    values: dict[str, object] = {
        "name": "exp", "model": str(model), "dataset": "tiny", "limit": 4, "rounds": 1, "samples": 4,
        "filter": "code", "prompt": "baseline", "eval_prompts": ["baseline", "structured-reasoning"],
        "eval_dataset": "tiny", "eval_limit": 4, "learning_rates": [1e-3], "rank": 4, "alpha": 4.0,
        "steps": 2, "batch": 4, "control": 0,
        "per_request": 1,
    }  # fmt: skip
    return RestConfig.model_validate(values | changes)


def build_items(workspace: Workspace) -> Dataset:
    """Four items with four choices and a short melody each, in the dataset `tiny`."""
    root = workspace.datasets / "tiny"
    (root / "audio").mkdir(parents=True)
    choices = ("one", "two", "three", "four")
    items = []
    for index in range(4):
        time = np.arange(6_400) / 16_000
        tone = (
            0.2
            * np.sin(2 * np.pi * (217 + 131 * index) * time)
            * (np.sin(2 * np.pi * (3 + index) * time) > 0)
        )
        (root / "audio" / f"{index}.wav").write_bytes(wav_bytes(tone.astype(np.float32)))
        items.append(
            Item(
                id=f"tiny-{index}",
                question=f"Which melody is number {index}?",
                choices=choices,
                answer=choices[index],
                audio_path=f"audio/{index}.wav",
            )
        )
    save_dataset(root, DatasetInfo(name="tiny", kind="own"), items, workspace.cache)
    return load_dataset(workspace, "tiny")


def half_right(gold: dict[str, str], wrong: dict[str, str]) -> Callable[[Request], Text]:
    """Right for even seeds: about half of the candidates, the same ones each time."""

    def reply(request: Request) -> Text:
        question = next(q for q in gold if q in request.text)
        return Text(f"ANSWER: {(wrong if (request.seed or 0) % 2 else gold)[question]}")

    return reply


def serving(server: FakeServer, served: list[tuple[str, str, str]] | None = None) -> Serve:
    """A `serve` that gives the fake server whatever the model; what was served is noted."""

    @contextlib.contextmanager
    def serve(folder: Path, adapter: Path | None, name: str) -> Iterator[Endpoint]:
        if served is not None:
            served.append((folder.name, adapter.name if adapter else "", name))
        yield server.endpoint.model_copy(update={"model": name})

    return serve


class StopAfter(Quiet):
    """Asks for a stop once it heard of so many things."""

    def __init__(self, signs: int) -> None:
        super().__init__()
        self._left = signs

    def phase(self, name: str, total: int | None = None) -> None:
        self._count()

    def done(self, count: int, note: str = "") -> None:
        self._count()

    def _count(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self.stop()


def lines(path: Path) -> int:
    """How many lines a file has; none if it is not there yet."""
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def outcome(workspace: Workspace, name: str) -> dict[str, object]:
    """What must be the same however often a finished experiment was killed or stopped: files and answers."""
    found = read_experiment(workspace, name)
    last = found.rounds[-1]
    candidates = read_candidates(workspace, name, 1)
    assert found.state == "finished" and candidates is not None
    asked = [*last.evaluations.values(), last.generate, last.silent]
    return {
        "candidates": candidates.to_csv(),
        "training": (round_folder(workspace, name, 1) / "training.jsonl").read_bytes(),
        "adapter": (workspace.adapters / last.adapter / "adapter_model.safetensors").read_bytes(),
        "answers": [
            sorted((one.key, one.content, one.seed) for one in merged_predictions(folder, []))
            for folder in (run_folder(workspace, run_id) for run_id in asked)
        ],
        "forgetting": last.forgetting,
    }
