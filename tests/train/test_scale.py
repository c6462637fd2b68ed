"""The measurement at full size, tried in small: it runs to its end and its claims are checks."""

from __future__ import annotations

from pathlib import Path

from audioreason.train.preflight import estimate, sizes
from audioreason.train.recipe import Recipe
from audioreason.train.scale import FULL, _config, main


def test_training_in_small_learns_saves_and_reloads(tmp_path: Path) -> None:
    found = main(["train", "--out", str(tmp_path), "--tiny", "--batch", "4", "--length", "60", "--rank", "8"])
    assert found["falls"]
    assert found["reloaded_error"] == 0.0
    assert found["resumed_losses"][-1] < found["losses"][0]
    assert found["adapter_changes"] > 0.0
    assert found["times_original_each"] > 1.0
    assert (tmp_path / "scale-train.json").is_file()


def test_merging_in_small_gives_the_adapters_logits(tmp_path: Path) -> None:
    found = main(["merge", "--out", str(tmp_path), "--tiny", "--rank", "8"])
    assert found["merged_against_adapter"] < 0.05 * max(1.0, found["adapter_changes"])
    assert found["merged_against_adapter_on_nf4"] < 3 * found["nf4_against_16_bits_without_adapter"]


def test_sizes_at_full_scale_are_those_of_30b_a3b() -> None:
    config, _ = _config(FULL)
    found = sizes(config, Recipe())
    assert 29e9 < found.frozen < 31.5e9
    assert 2.55e9 < found.lora < 2.58e9  # 2.57B, measured
    assert 2.8e9 < found.active < 3.5e9


def test_the_estimate_at_full_scale_is_near_what_was_measured() -> None:
    config, _ = _config(FULL)
    nf4 = estimate(
        config, Recipe(quantize="nf4", part_tokens=16 * 512), "cuda", 512, rows=1600, tokens=1600 * 512
    )
    assert 28 < nf4.bytes / 2**30 < 42  # 30 GiB measured without an audio tower
    assert nf4.steps == 300
    assert nf4.seconds is not None
    assert 0.8 < nf4.seconds / 300 / 1.35 < 1.25  # 1.35 s a step measured
    assert estimate(config, Recipe(), "cuda", 512).bytes / 2**30 > 70
