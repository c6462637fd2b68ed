"""The settings of a self-training experiment: what is asked, kept, learned and measured, round by round.

The defaults are the published recipe. Written once, beside what comes out; a file in YAML or JSON holds the
same fields. Knows nothing about how any of it is done.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator
from pydantic.config import JsonDict

from audioreason.engines.gpus import WAIT_SECONDS
from audioreason.engines.vllm import OPERATIONAL, PATIENCE, RESTARTS, VllmSettings
from audioreason.errors import RestError

LEARNING_RATES = (2e-5, 1e-5, 5e-6)  # of the published three rounds
FILTERING = ("filter", "filter_changes", "rehearsal")  # fields that the second phase alone goes by
FITTING = ("longest",)  # what training cannot begin without
_FREE = (
    "save_minutes", "concurrency", "gpus", "gpu_wait_seconds", "server_restarts", "server_patience",
)  # fmt: skip
_ADVANCED: JsonDict = {"advanced": True}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "code": {"filter": "code"},
    "pocket: one round on this machine": {
        "rounds": 1,
        "learning_rates": [2e-4],
        "samples": 8,
        "max_tokens": 256,
        "filter": "code",
        "limit": 48,
        "rank": 16,
        "alpha": 32.0,
        "eval_limit": 48,
        "eval_temperature": 0.0,
        "eval_max_tokens": 512,
    },
}


class _Rounds(BaseModel):
    name: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,59})?$",
        title="Name of the experiment",
        description="Runs, adapters and models are called NAME-r1 and on; empty takes the job's id.",
    )
    dataset: str = Field(
        default="soundcheck-train",
        min_length=1,
        title="Dataset to learn from",
        description="Its items are the problems; benchmark items are refused.",
        json_schema_extra={"widget": "dataset"},
    )
    split: str = Field(
        default="full", title="Split", description="train, dev, test, explore, sealed or full."
    )
    limit: int | None = Field(
        default=None, ge=1, title="Only the first items", json_schema_extra={"unit": "items"}
    )
    curriculum: int | None = Field(
        default=None,
        ge=16,
        title="Curriculum",
        description="Problems made anew for each round's model, aimed at what it solves sometimes; empty"
        " learns from the dataset.",
        json_schema_extra={"unit": "problems"},
    )
    probe: int = Field(
        default=4,
        ge=1,
        le=64,
        title="Probe",
        description="Problems of each family and difficulty that show the curriculum what the model can.",
        json_schema_extra={"advanced": True, "unit": "a cell"},
    )
    probe_samples: int = Field(
        default=8,
        ge=2,
        le=64,
        title="Answers to the probe",
        description="To each of its problems, and as many with a silent clip.",
        json_schema_extra=_ADVANCED,
    )
    tries: int = Field(
        default=3,
        ge=1,
        le=16,
        title="Tries",
        description="Problems made for each that is kept: those that are right sometimes; 1 keeps all.",
        json_schema_extra=_ADVANCED,
    )
    try_samples: int = Field(default=4, ge=2, le=64, title="Answers to a try", json_schema_extra=_ADVANCED)
    model: str = Field(
        default="", title="Model", description="Its folder; empty takes the embedded Pocket Listener."
    )
    prompt: str = Field(
        default="structured-reasoning",
        min_length=1,
        title="Prompt",
        description="What the candidates answer, and what is trained on.",
    )
    rounds: int = Field(default=3, ge=1, le=20, title="Rounds")
    start: Literal["previous", "base"] = Field(
        default="previous",
        title="Each round starts from",
        description="previous: the model of the round before; base: the model of the beginning.",
    )
    samples: int = Field(default=16, ge=1, le=1024, title="Candidates", description="For each problem.")
    control: int = Field(
        default=1,
        ge=0,
        le=64,
        title="Silent control",
        description="Answers to each problem with a silent clip: only where hearing beats silence a problem"
        " counts. 0 leaves it out, and every problem with four choices counts, guessed or not.",
        json_schema_extra={"unit": "a problem"},
    )
    temperature: float = Field(default=0.9, ge=0, le=10, title="Temperature")
    top_p: float | None = Field(default=0.95, gt=0, le=1, title="Top p", json_schema_extra=_ADVANCED)
    top_k: int | None = Field(default=50, ge=-1, title="Top k", json_schema_extra=_ADVANCED)
    max_tokens: int = Field(
        default=2048, ge=1, title="Longest candidate", json_schema_extra={"unit": "tokens"}
    )
    filter: str = Field(
        default="paper",
        min_length=1,
        title="Filter",
        description="A preset of zones and rules: paper or code.",
    )
    filter_changes: dict[str, Any] = Field(
        default={},
        title="Changes to the filter",
        description="Fields of the filter's settings that differ from the preset's.",
        json_schema_extra=_ADVANCED,
    )
    learning_rates: list[float] = Field(
        default=list(LEARNING_RATES),
        min_length=1,
        title="Learning rates",
        description="One a round, at its peak; the last serves all rounds after it.",
    )
    epochs: float = Field(default=2.0, gt=0, title="Epochs")
    steps: int | None = Field(
        default=None, ge=1, title="Steps, instead of epochs", json_schema_extra=_ADVANCED
    )
    batch: int = Field(default=8, ge=1, title="Examples a step")
    rank: int = Field(default=64, ge=1, le=512, title="LoRA rank")
    alpha: float = Field(default=128.0, gt=0, title="LoRA alpha")
    quantize: Literal["none", "nf4"] = Field(
        default="none", title="Frozen experts", description="nf4 holds them in 4 bits: 30B fits on one GPU."
    )
    gpus: int = Field(default=0, ge=0, title="GPUs", description="0 works on the CPU, for small models.")
    longest: int = Field(
        default=4096, ge=16, title="Longest example", json_schema_extra={"advanced": True, "unit": "tokens"}
    )
    save_minutes: float = Field(
        default=10.0, ge=0, title="Minutes between saved states", json_schema_extra=_ADVANCED
    )
    kl: float = Field(
        default=0.0,
        ge=0,
        title="Pull to the base",
        description="Weight of the divergence from the model that the round starts from; 0 leaves it out.",
    )
    rehearsal: float = Field(
        default=0.0,
        ge=0,
        le=1,
        title="Rehearsal",
        description="Mastered samples added, as a share of what the filter keeps.",
    )
    engine: Literal["local", "vllm"] = Field(
        default="local", title="Engine", description="vllm serves merged models; local needs no merge."
    )
    eval_dataset: str = Field(
        default="soundcheck",
        min_length=1,
        title="Evaluation dataset",
        json_schema_extra={"widget": "dataset"},
    )
    eval_split: str = Field(default="full", title="Evaluation split")
    eval_limit: int | None = Field(
        default=None, ge=1, title="Only the first items of it", json_schema_extra={"unit": "items"}
    )
    eval_prompts: list[str] = Field(
        default=["baseline", "structured-reasoning"],
        min_length=1,
        title="Evaluation prompts",
        description="Each round and the base are asked with all of them: what was trained on one may show"
        " with another.",
        json_schema_extra={"widget": "prompts"},
    )
    eval_temperature: float = Field(
        default=0.1, ge=0, le=10, title="Evaluation temperature", json_schema_extra=_ADVANCED
    )
    eval_samples: int | None = Field(
        default=None,
        ge=1,
        le=64,
        title="Evaluation answers",
        description="For each item and prompt. Empty: 4, or 1 at temperature 0. Where answers are drawn, the"
        " base is asked once more, for what it would lose by luck.",
        json_schema_extra={"advanced": True, "unit": "an item"},
    )
    eval_max_tokens: int = Field(
        default=10_000, ge=1, title="Longest answer", json_schema_extra={"advanced": True, "unit": "tokens"}
    )
    stop_forgetting: float | None = Field(
        default=None,
        gt=0,
        le=1,
        title="Stop when forgotten",
        description="Ends when surely more than this share of what the base knows is lost, beyond what the"
        " base itself loses when it is asked again; empty never.",
    )
    stop_accuracy_fall: float | None = Field(
        default=None,
        ge=0,
        le=1,
        title="Stop when worse",
        description="Ends when accuracy is surely below the base's by more than this share (0.02 is two"
        " points); empty never.",
    )
    stop_without_gain: int | None = Field(
        default=None,
        ge=1,
        title="Stop without a gain",
        description="Ends after so many rounds in a row without a gain over the best accuracy before; empty"
        " never.",
        json_schema_extra={"unit": "rounds"},
    )
    concurrency: int = Field(
        default=256,
        ge=1,
        title="Candidates in flight, at most",
        description="Of all requests together; the runner finds by itself how many the server bears.",
        json_schema_extra=_ADVANCED,
    )
    per_request: int = Field(
        default=4,
        ge=1,
        le=128,
        title="Candidates a request",
        description="Of one problem; its clip is sent once for them.",
        json_schema_extra=_ADVANCED,
    )
    seed: int = Field(default=0, title="Seed")
    gpu_wait_seconds: float = Field(
        default=WAIT_SECONDS,
        ge=0,
        title="Wait for GPU memory",
        description="How long a phase waits until the memory that it needs is free. Then the experiment fails"
        " with a sentence that names the processes that use it.",
        json_schema_extra={"advanced": True, "unit": "seconds"},
    )
    server_restarts: int = Field(
        default=RESTARTS,
        ge=0,
        title="Restarts of its server",
        description="How often the experiment starts the server of a model again when it ends in the middle"
        " of a phase. The phase then continues with what has no answer yet.",
        json_schema_extra=_ADVANCED,
    )
    server_patience: float = Field(
        default=PATIENCE,
        gt=0,
        title="Time to load a model",
        description="How long its server may take to answer.",
        json_schema_extra={"advanced": True, "unit": "seconds"},
    )
    override_reason: str = Field(
        default="",
        title="Reason to train on benchmark items",
        description="Empty refuses them. It is written into the adapter and onto every chart.",
        json_schema_extra=_ADVANCED,
    )


class RestConfig(VllmSettings, _Rounds):  # pydantic takes the last base's fields first
    """Everything that decides what an experiment comes to; its fields are also the form of the job `rest`.

    How vLLM serves is declared in `VllmSettings`, as for a served model; the local engine ignores it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        if self.engine == "vllm" and not (info.context or {}).get("stored"):
            wanted = self.tensor_parallel * self.data_parallel
            if not self.gpus:
                raise ValueError(
                    "the engine vllm serves on GPUs, and gpus is 0: set gpus to 1 or more, or engine to local"
                )
            if wanted > self.gpus:
                raise ValueError(
                    f"tensor_parallel {self.tensor_parallel} x data_parallel {self.data_parallel} take"
                    f" {wanted} GPUs, and gpus is {self.gpus}: set gpus to {wanted}, or lower one of them"
                )
        if any(not 0 < rate < 1 for rate in self.learning_rates):
            raise ValueError("learning_rates must lie between 0 and 1")
        if len(set(self.eval_prompts)) != len(self.eval_prompts):
            raise ValueError("eval_prompts names a prompt twice")
        return self

    def learning_rate(self, number: int) -> float:
        """The peak of round `number`, which counts from 1."""
        return self.learning_rates[min(number, len(self.learning_rates)) - 1]

    @property
    def answers_drawn(self) -> bool:
        """Whether an evaluation asked twice may answer otherwise."""
        return self.eval_temperature > 0

    @property
    def evaluation_samples(self) -> int:
        """Answers to each item in an evaluation."""
        return self.eval_samples or (4 if self.answers_drawn else 1)

    @property
    def retention_prompt(self) -> str:
        """What forgetting is judged by: the prompt that is trained on if it is asked, else the first."""
        return self.prompt if self.prompt in self.eval_prompts else self.eval_prompts[0]

    def differences(self, other: RestConfig, besides: Iterable[str] = ()) -> list[str]:
        """What another has that would give another result, in words.

        When states are saved, how long is waited and how a server is started may differ.

        Fields in `besides` may differ too.
        """
        free = {*_FREE, *OPERATIONAL, *besides}
        mine, theirs = self.model_dump(), other.model_dump()
        return [
            f"{field} was {mine[field]} and is now {theirs[field]}"
            for field in mine
            if field not in free and mine[field] != theirs[field]
        ]


def make_config(values: Mapping[str, Any]) -> RestConfig:
    """Settings from plain data; `preset` names where the others start from.

    Raises:
        RestError: naming the first field that is wrong, and why.
    """
    given = dict(values)
    preset = given.pop("preset", "paper")
    if preset not in PRESETS:
        raise RestError(f"There is no preset {preset}.", f"There are: {', '.join(PRESETS)}.")
    try:
        return RestConfig.model_validate({**PRESETS[preset], **given})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            close = get_close_matches(where, RestConfig.model_fields, n=1)
            raise RestError(
                f"An experiment has no setting {where}.",
                f"Did you mean {close[0]}?" if close else f"There are: {', '.join(RestConfig.model_fields)}.",
            ) from error
        raise RestError(
            f"The settings cannot be used: {where and f'{where}: '}"
            f"{first['msg'].removeprefix('Value error, ')}.",
            "Correct it; nothing was started.",
        ) from error


def read_config(path: Path, preset: str = "") -> RestConfig:
    """Settings from a file, YAML or JSON by its ending; `preset` if the file names none.

    Raises:
        RestError: if it cannot be read, or a field is wrong.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except FileNotFoundError as error:
        raise RestError(f"There is no file {path}.", "Give a YAML or JSON file of settings.") from error
    except IsADirectoryError as error:
        raise RestError(f"{path} is a folder.", "Give a YAML or JSON file of settings.") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RestError(
            f"{path} cannot be read ({str(error).splitlines()[0]}).", "Give a YAML or JSON file of settings."
        ) from error
    if not isinstance(values, dict):
        raise RestError(f"{path} holds no settings.", "Write one field a line, such as: rounds: 3")
    return make_config({"preset": preset, **values} if preset else values)
