"""Every number of a fine-tuning run, and what comes out of one. Knows nothing about how it is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from audioreason.engines.experts import LoraShape


class Recipe(BaseModel):
    """The recipe's settings; the defaults are those of the original experiments (LoRA r=64, alpha=128).

    Only fields marked so may change between an interruption and its resumption.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(default=64, ge=1, le=512)
    alpha: float = Field(default=128.0, gt=0)
    attention: bool = True
    experts: bool = True
    quantize: Literal["nf4"] | None = None
    learning_rate: float = Field(default=1e-4, gt=0)  # may change
    warmup: float = Field(default=0.03, ge=0, le=1)  # share of all steps
    final: float = Field(default=0.1, ge=0, le=1)  # where the cosine ends, share of the peak
    weight_decay: float = Field(default=0.0, ge=0)  # may change
    kl: float = Field(default=0.0, ge=0)  # weight of the divergence from the frozen model
    clip: float = Field(default=1.0, gt=0)  # of the gradient's norm; may change
    epochs: float = Field(default=3.0, gt=0)  # may change
    steps: int | None = Field(default=None, ge=1)  # instead of epochs; may change
    batch: int = Field(default=16, ge=1)  # examples a step, over all GPUs
    part_tokens: int = Field(default=16_384, ge=1)  # padded tokens computed at once on a GPU; may change
    longest: int = Field(default=4096, ge=16)  # tokens; longer examples are left out
    held_out: float = Field(default=0.05, ge=0, lt=1)  # share of the items
    evaluate_every: int = Field(default=0, ge=0)  # steps; 0: at the end of each epoch
    patience: int = Field(
        default=3, ge=0
    )  # evaluations without a better loss; 0: never stop early; may change
    save_minutes: float = Field(default=10.0, ge=0)  # may change
    seed: int = 0
    checkpointing: bool = True  # may change
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @property
    def lora(self) -> LoraShape:
        """The adapter's shape."""
        return LoraShape(self.rank, self.alpha, self.attention, self.experts)

    def same_course(self, other: Recipe) -> list[str]:
        """Names of the fields that differ and may not, because they decide what was learned so far."""
        free = {
            "learning_rate", "weight_decay", "clip", "epochs", "steps", "part_tokens", "patience",
            "save_minutes", "checkpointing",
        }  # fmt: skip
        mine, theirs = self.model_dump(), other.model_dump()
        return [name for name in mine if name not in free and mine[name] != theirs[name]]


@dataclass(frozen=True)
class Trained:
    """What a run came to. `step` is the step whose weights the adapter holds, `steps` how many were made.

    `finished` is False if it was asked to stop before its end. Losses are per answer token.
    """

    folder: Path
    finished: bool
    steps: int
    step: int
    loss: float | None
    held_out_loss: float | None
    stopped_early: bool
    too_long: int
    leaks: bool
