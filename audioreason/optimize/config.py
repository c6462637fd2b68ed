"""What a search for a better prompt is asked to do: the form of its job, `config.json`, and `--config FILE`.

Knows nothing about DSPy, endpoints or files: names are resolved by whoever starts the search.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from audioreason.errors import OptimizeError

Optimizer = Literal["mipro", "gepa"]
Level = Literal["light", "medium", "heavy", "own"]
Metric = Literal["strict", "official", "weighted"]
Dealing = Literal["held-out", "paper"]

SAME = "same"  # the proposer is the task model itself


class OptimizeConfig(BaseModel):
    """One search: what is optimised, on which items, by which rule, and when it ends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    optimizer: Optimizer = Field(
        default="mipro",
        title="Optimiser",
        description="mipro: MIPROv2 proposes instructions and searches among them. gepa: each new prompt is"
        " written after reading what the last one got wrong.",
    )
    prompt: str = Field(
        default="baseline",
        title="Seed prompt",
        description="Where the search begins, and what its result is compared with.",
        json_schema_extra={"widget": "prompt"},
    )
    dataset: str = Field(
        default="soundcheck",
        title="Dataset",
        description="Of a benchmark the search sees the explore half only; the final figure is on sealed"
        " items.",
        json_schema_extra={"widget": "dataset"},
    )
    endpoint: str = Field(
        default="default",
        title="Task endpoint",
        description="Whose answers are optimised: a saved endpoint or URL; 'default' is the chosen one,"
        " 'embedded' starts the Pocket Listener for the job.",
        json_schema_extra={"widget": "endpoint"},
    )
    model: str = Field(
        default="",
        title="Task model",
        description="Its name at the endpoint, or a folder for the embedded engine; may be empty.",
        json_schema_extra={"advanced": True},
    )
    proposer: str = Field(
        default=SAME,
        title="Proposer",
        description="Who writes new prompts: 'same' is the task model; a saved endpoint or URL; or"
        " 'embedded' with a model folder. It gets text only, never audio.",
        json_schema_extra={"widget": "endpoint"},
    )
    proposer_model: str = Field(
        default="",
        title="Proposer model",
        description="Its name at the endpoint, or a folder (also of a GGUF file) for the embedded engine.",
        json_schema_extra={"advanced": True},
    )
    proposer_temperature: float = Field(
        default=1.0, ge=0, le=2, title="Proposer temperature", json_schema_extra={"advanced": True}
    )
    proposer_tokens: int = Field(
        default=1024,
        ge=16,
        title="Longest proposal",
        json_schema_extra={"unit": "tokens", "advanced": True},
    )
    level: Level = Field(
        default="light",
        title="Effort",
        description="The optimiser's own settings; 'own' takes the numbers below.",
    )
    candidates: int = Field(
        default=6,
        ge=2,
        le=100,
        title="Candidates",
        description="MIPROv2 with own effort: instructions to choose among, the seed included.",
        json_schema_extra={"advanced": True},
    )
    trials: int = Field(
        default=10,
        ge=1,
        le=1000,
        title="Trials",
        description="MIPROv2 with own effort: combinations to try.",
        json_schema_extra={"advanced": True},
    )
    minibatch: int = Field(
        default=35,
        ge=1,
        title="Minibatch",
        description="Dev items a MIPROv2 trial looks at; every few trials the best is tried on all.",
        json_schema_extra={"unit": "items", "advanced": True},
    )
    full_every: int = Field(
        default=5, ge=1, title="Trials between full evaluations", json_schema_extra={"advanced": True}
    )
    demos: int = Field(
        default=0,
        ge=0,
        le=16,
        title="Text demos",
        description="MIPROv2: worked examples, as text, in the prompt; 0 optimises instructions only.",
    )
    rollouts: int = Field(
        default=500,
        ge=2,
        title="GEPA's rollouts",
        description="GEPA with own effort: answers it may have judged.",
        json_schema_extra={"advanced": True},
    )
    reflection: int = Field(
        default=3,
        ge=1,
        le=50,
        title="GEPA's reflection minibatch",
        description="Train items whose answers the proposer reads before it writes a prompt.",
        json_schema_extra={"unit": "items", "advanced": True},
    )
    merge: bool = Field(
        default=True,
        title="GEPA merges prompts",
        description="Combine two prompts that are good at different items.",
        json_schema_extra={"advanced": True},
    )
    part: Literal["system", "both"] = Field(
        default="system",
        title="What is optimised",
        description="The system text alone, or both texts; the user text then keeps question and options.",
    )
    dealing: Dealing = Field(
        default="held-out",
        title="Split",
        description="held-out: test items that the search never sees. paper: 100 + 100 items of the"
        " benchmark itself and a final figure on all of it, as the paper did; that figure is not held out.",
    )
    train_items: int = Field(
        default=60, ge=2, title="Train items", description="Whose gold the proposer may see."
    )
    dev_items: int = Field(default=80, ge=1, title="Dev items", description="By which candidates are chosen.")
    test_items: int | None = Field(
        default=None,
        ge=1,
        title="Test items",
        description="Looked at once, at the end; empty takes all there are.",
    )
    metric: Metric = Field(
        default="strict",
        title="Metric",
        description="strict: exactly one choice, the right one. official: the published MMAR match."
        " weighted: strict, less something for a broken format and for length.",
    )
    format_weight: float = Field(
        default=0.1,
        ge=0,
        le=1,
        title="Weight of the format",
        description="Weighted metric: taken off when the sections that the prompt asks for are missing.",
        json_schema_extra={"advanced": True},
    )
    length_weight: float = Field(
        default=0.1,
        ge=0,
        le=1,
        title="Weight of the length",
        description="Weighted metric: taken off in proportion up to the longest useful answer.",
        json_schema_extra={"advanced": True},
    )
    length_tokens: int = Field(
        default=1000,
        ge=1,
        title="Longest useful answer",
        json_schema_extra={"unit": "tokens", "advanced": True},
    )
    temperature: float = Field(
        default=0.0, ge=0, le=10, title="Temperature", description="Of the task model."
    )
    max_tokens: int = Field(
        default=10_000, ge=1, title="Longest answer", json_schema_extra={"unit": "tokens"}
    )
    budget_requests: int | None = Field(
        default=None,
        ge=1,
        title="Budget: requests",
        description="The search ends there and keeps the best; the final test comes on top.",
    )
    budget_tokens: int | None = Field(default=None, ge=1, title="Budget: tokens written")
    budget_minutes: float | None = Field(default=None, gt=0, title="Budget: minutes")
    seed: int = Field(default=9, ge=1, title="Seed", description="The same seed makes the same search.")
    concurrency: int = Field(
        default=64, ge=1, title="Requests in flight, at most", json_schema_extra={"advanced": True}
    )
    name: str = Field(
        default="",
        pattern=r"^([a-z0-9][a-z0-9._-]{0,79})?$",
        title="Name of the new prompt",
        description="Empty: after the seed and the search.",
    )

    @model_validator(mode="after")
    def _fits(self) -> OptimizeConfig:
        if self.optimizer == "gepa" and self.demos:
            raise ValueError("GEPA writes no demos; set them to 0 or choose mipro")
        if self.part == "both" and self.demos:
            raise ValueError("demos are for the system text; optimise that alone")
        if self.metric == "weighted" and self.format_weight + self.length_weight >= 1:
            raise ValueError("the weights of format and length together must be below 1")
        return self


def read_config(path: Path) -> OptimizeConfig:
    """A config from a JSON file.

    Raises:
        OptimizeError: if the file cannot be read, or a field does not fit.
    """
    try:
        return make_config(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise OptimizeError(f"{path} cannot be read as settings ({error}).", "Write JSON.") from error


def make_config(values: object) -> OptimizeConfig:
    """A config from plain data.

    Raises:
        OptimizeError: naming the first field that does not fit.
    """
    try:
        return OptimizeConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        why = first["msg"].removeprefix("Value error, ").lower()
        raise OptimizeError(
            f"The settings of a search cannot be used: {where + ': ' if where else ''}{why}.",
            f"There are: {', '.join(OptimizeConfig.model_fields)}." if "extra" in first["type"] else "",
        ) from error
