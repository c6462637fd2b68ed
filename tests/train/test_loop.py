"""The recipe: it learns, resumes on the same course, stops for what is wrong, and weighs as it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_examples import examples

from audioreason.engines.adapters import add_lora, read_adapter
from audioreason.engines.tokens import ChatTokenizer
from audioreason.engines.weights import load_frozen
from audioreason.errors import EngineError, ItemError
from audioreason.progress import Quiet
from audioreason.train import loop
from audioreason.train.data import Row, prepare, write_examples
from audioreason.train.forward import AnswerLoss, collate
from audioreason.train.loop import learning_rate, train
from audioreason.train.recipe import Recipe
from audioreason.workspace import Workspace

RECIPE = Recipe(
    rank=3, alpha=6.0, learning_rate=2e-2, batch=4, steps=9, held_out=0.2, evaluate_every=3, patience=0,
    save_minutes=0, part_tokens=120, longest=400, seed=1, device="cpu",
)  # fmt: skip


class StopAt(Quiet):
    """Asks for a stop once so many steps are made."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._at = step
        self._phase = ""

    def phase(self, name: str, total: int | None = None) -> None:
        self._phase = name

    def done(self, count: int, note: str = "") -> None:
        if self._phase == "train" and count >= self._at:
            self.stop()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def undisturbed(
    lab: Workspace, tiny: Path, training_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("out") / "undisturbed"
    result = train(lab, tiny, training_file, out, RECIPE)
    assert result.finished
    assert result.steps == 9
    return out


def test_it_learns_and_leaves_a_complete_adapter(undisturbed: Path) -> None:
    lines = metrics(undisturbed)
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < 0.7 * losses[0]
    held_out = [line["held_out_loss"] for line in lines if "held_out_loss" in line]
    adapter = read_adapter(undisturbed)
    assert adapter.record is not None
    assert adapter.record.finished
    assert adapter.record.loss == pytest.approx(min(held_out))
    assert adapter.record.data["rows"] + 0 < 12
    assert not adapter.record.leaks
    assert not (undisturbed / "state.pt").exists()
    assert {"loss", "grad_norm", "lr", "tokens_per_second", "memory_gib"} <= set(lines[0])


def test_tensorboard_has_the_same_numbers(undisturbed: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = accumulator.EventAccumulator(str(undisturbed / "tensorboard")).Reload()
    drawn = [event.value for event in board.Scalars("train/loss")]
    assert drawn == pytest.approx([line["loss"] for line in metrics(undisturbed) if "loss" in line], rel=1e-5)


def test_stopped_in_the_middle_of_an_epoch_and_resumed_gives_the_same_weights(
    lab: Workspace, tiny: Path, training_file: Path, tmp_path: Path, undisturbed: Path
) -> None:
    out = tmp_path / "resumed"
    for stop in (2, 7):  # an epoch has 3 steps
        result = train(lab, tiny, training_file, out, RECIPE, resume=stop > 2, progress=StopAt(stop))
        assert not result.finished
        assert result.steps == stop
    assert train(lab, tiny, training_file, out, RECIPE, resume=True).finished
    expected, found = weights(undisturbed), weights(out)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert [line["loss"] for line in metrics(out) if "loss" in line] == [
        line["loss"] for line in metrics(undisturbed) if "loss" in line
    ]


def test_a_finished_or_other_run_is_not_overwritten(
    lab: Workspace, tiny: Path, training_file: Path, undisturbed: Path, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="something in"):
        train(lab, tiny, training_file, undisturbed, RECIPE)
    with pytest.raises(EngineError, match="is finished"):
        train(lab, tiny, training_file, undisturbed, RECIPE, resume=True)
    out = tmp_path / "other"
    train(lab, tiny, training_file, out, RECIPE, progress=StopAt(1))
    with pytest.raises(EngineError, match="cannot be resumed: rank changed"):
        train(lab, tiny, training_file, out, RECIPE.model_copy(update={"rank": 8}), resume=True)


def test_a_loss_that_is_no_number_stops_with_the_last_good_state(
    lab: Workspace, tiny: Path, training_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "broken"
    whole = loop.learn

    def breaks(run: object, step: int) -> tuple[float, float, int]:
        if step == 4:
            with torch.no_grad():
                run.module.model.model.norm.weight.fill_(float("nan"))  # type: ignore[attr-defined]
        return whole(run, step)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "learn", breaks)
    with pytest.raises(EngineError, match="loss of step 5 is not a number"):
        train(lab, tiny, training_file, out, RECIPE)
    monkeypatch.undo()
    result = train(lab, tiny, training_file, out, RECIPE, resume=True)
    assert result.finished
    assert all(bool(value.isfinite().all()) for value in weights(out).values())


def test_training_stops_early_when_held_out_loss_grows(
    lab: Workspace, tiny: Path, training_file: Path, tmp_path: Path
) -> None:
    wild = RECIPE.model_copy(
        update={"learning_rate": 0.5, "clip": 100.0, "steps": 20, "evaluate_every": 1, "patience": 2}
    )
    result = train(lab, tiny, training_file, tmp_path / "wild", wild)
    assert result.stopped_early
    assert result.steps == result.step + 2


def test_nf4_experts_train_too(lab: Workspace, tiny: Path, training_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "nf4"
    train(lab, tiny, training_file, out, RECIPE.model_copy(update={"quantize": "nf4", "steps": 6}))
    losses = [line["loss"] for line in metrics(out) if "loss" in line]
    assert losses[-1] < 0.85 * losses[0]
    assert read_adapter(out).record.quantize == "nf4"  # type: ignore[union-attr]


def losses_of(model_folder: Path, rows: list[Row], lab: Workspace) -> Callable[[list[int]], float]:
    from audioreason.train.hearing import Hearing

    model = load_frozen(model_folder)
    add_lora(model, RECIPE.lora, "float32", 0)
    hearing = Hearing(model, lab.cache, "test")
    module = AnswerLoss(model, ChatTokenizer.load(model_folder).audio_pad)

    def loss(indices: list[int]) -> float:
        chosen = [rows[index] for index in indices]
        with torch.no_grad():
            return float(module(collate(chosen, [hearing.get(row) for row in chosen], 64)))

    return loss


def test_padding_and_company_do_not_change_a_loss_and_weights_multiply_it(lab: Workspace, tiny: Path) -> None:
    prepared = prepare(examples(), lab, ChatTokenizer.load(tiny), longest=400)
    rows = list(prepared.rows)
    loss = losses_of(tiny, rows, lab)
    alone = [loss([index]) for index in range(5)]
    assert loss([0, 1, 2, 3, 4]) == pytest.approx(sum(alone), rel=1e-4)
    heavy = [Row(r.ids, r.prefix, r.clip, r.clip_hash, 3 * r.weight, r.item_id) for r in rows]
    assert losses_of(tiny, heavy, lab)([0]) == pytest.approx(3 * alone[0], rel=1e-4)


def test_loss_equals_transformers_on_the_whole_model(lab: Workspace, tiny: Path) -> None:
    """Audio features in, labels on the answer, through transformers' own forward."""
    from audioreason.engines.features import log_mel_batch
    from audioreason.engines.pocket import load_model
    from audioreason.items.clips import read_clip

    rows = list(prepare(examples(2), lab, ChatTokenizer.load(tiny), longest=400).rows)
    row = rows[1]
    assert row.clip is not None
    features, frames = log_mel_batch([read_clip(row.clip)])
    labels = torch.full((1, len(row.ids)), -100)
    labels[0, row.prefix :] = torch.tensor(row.ids[row.prefix :])
    with torch.no_grad():
        out = load_model(tiny)(
            input_ids=torch.tensor([row.ids]),
            input_features=features,
            feature_attention_mask=torch.ones(1, frames[0], dtype=torch.long),
            attention_mask=torch.ones(1, len(row.ids), dtype=torch.long),
            labels=labels,
        )
    ours = losses_of(tiny, rows, lab)([1]) / (row.weight * row.targets)
    assert ours == pytest.approx(float(out.loss), rel=1e-3)


def test_an_unreadable_state_and_a_gone_file_are_sentences(
    lab: Workspace, tiny: Path, training_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(ItemError, match="no training file"):
        train(lab, tiny, tmp_path / "gone.jsonl", tmp_path / "a", RECIPE)
    out = tmp_path / "b"
    train(lab, tiny, training_file, out, RECIPE, progress=StopAt(1))
    (out / "state.pt").write_bytes(b"torn")
    with pytest.raises(EngineError, match=r"state.pt cannot be read"):
        train(lab, tiny, training_file, out, RECIPE, resume=True)


def test_another_training_file_is_not_resumed(lab: Workspace, tiny: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    write_examples(data, examples())
    train(lab, tiny, data, tmp_path / "run", RECIPE, progress=StopAt(1))
    write_examples(data, examples(9))
    with pytest.raises(EngineError, match="training file changed"):
        train(lab, tiny, data, tmp_path / "run", RECIPE, resume=True)


def test_the_rate_warms_up_and_falls_to_its_end() -> None:
    recipe = Recipe(learning_rate=1.0, warmup=0.1, final=0.1)
    rates = [learning_rate(recipe, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(rates[9], rel=0.01)
    assert rates[-1] == pytest.approx(0.1, abs=0.01)
