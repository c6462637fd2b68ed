"""How long the phases of a self-training experiment take, before it begins.

What this workspace has measured with the same model comes first: past runs for answers, past rounds for
loading, training and merging. For a model on a GPU that was never run, figures measured at the sizes of
Qwen3-Omni-30B-A3B stand in, scaled by the model's size; the basis says which were used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audioreason.errors import EngineError, RestError
from audioreason.jobs.past import Asked, expect
from audioreason.runs.record import Kind
from audioreason.wording import counted
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.rest.config import RestConfig
    from audioreason.rest.record import Round

# measured on one H200 with Qwen3-Omni-30B-A3B's sizes and vLLM 0.24 (docs/self-training.md)
_START, _START_EAGER = 120.0, 50.0  # seconds for vLLM to start, whatever the model; without CUDA graphs
_READ = 2 * 2**30  # bytes of weights a second on top: 21 GiB were up in 131 s, 59.3 GiB in 137 to 173 s
_TOKENS = 9_249.0  # a second, 256 answers in flight, four a request
_ACTIVE = 3.3e9  # weights that a token meets
_MERGED = 0.25e9  # bytes a second, with the comparison of the merged and the served model's logits
_CLIENT = 0.002  # seconds of this machine's CPU for an answer: no model is faster
_ANSWER_TOKENS = 500  # of a candidate with thoughts
_KEPT = 4_361 / 66_448  # share of the candidates that the published experiment trained on


@dataclass(frozen=True)
class PhaseTimes:
    """Seconds by phase for the whole experiment, None where nothing tells; `basis` says what they rest on."""

    seconds: dict[str, float | None]
    basis: str

    @property
    def total(self) -> float | None:
        """All phases together; None if one is not known."""
        known = [value for value in self.seconds.values() if value is not None]
        return sum(known) if len(known) == len(self.seconds) else None

    def sentence(self) -> str:
        """Such as "Time: loading 7 min, generating 2.1 h, ..."."""
        parts = [f"{name} {_words(value)}" for name, value in self.seconds.items()]
        return f"Time by phase: {', '.join(parts)}."


@dataclass(frozen=True)
class Asks:
    """How many answers each part of an experiment asks for; evaluations by prompt."""

    candidates: int
    silent: int
    evaluations: int
    prompts: tuple[str, ...]


def phase_times(
    workspace: Workspace, config: RestConfig, folder: Path, asks: Asks, merges: int
) -> PhaseTimes:
    """What an experiment's phases take together over all rounds.

    Args:
        workspace: whose past runs and rounds are looked at.
        config: the settings.
        folder: of the base model.
        asks: how many answers are asked for.
        merges: how many models are merged.
    """
    from audioreason.engines.weights import Shards

    size = Shards(folder).size()
    rounds = _past_rounds(workspace, config, folder)
    whom = [Asked(folder.name)]
    kinds: tuple[Kind, ...] = ("candidates",)
    generating = expect(workspace, [config.prompt], whom, asks.candidates, kinds=kinds).seconds
    if generating is None:
        generating = expect(workspace, [config.prompt], whom, asks.candidates).seconds
    silent = expect(workspace, [config.prompt], whom, asks.silent, kinds=kinds, ablation="silence").seconds
    evaluating = expect(workspace, asks.prompts, whom, asks.evaluations).seconds
    if silent is None and generating is not None and asks.candidates:
        silent = generating * asks.silent / asks.candidates
    examples = round(asks.candidates * _kept(rounds))
    training, load = _training(rounds, examples * config.epochs), _load(rounds)
    merging = _merging(rounds, size)
    from_here = [
        name
        for name, value in (
            ("generating", generating),
            ("evaluating", evaluating),
            ("loading", load),
            ("training", training),
            ("merging", merging),
        )
        if value is not None
    ]
    scaled: list[str] = []
    if config.gpus:
        active = _active(folder)
        if active:
            rate = _TOKENS * _ACTIVE / active * max(1, config.gpus // config.tensor_parallel)
            of_one = max(_CLIENT, min(_ANSWER_TOKENS, config.max_tokens) / rate)
            if generating is None:
                generating = asks.candidates * of_one
                scaled.append("generating")
            if silent is None:
                silent = asks.silent * of_one
            if evaluating is None:
                of_evaluation = max(_CLIENT, min(_ANSWER_TOKENS, config.eval_max_tokens) / rate)
                evaluating = asks.evaluations * len(asks.prompts) * of_evaluation
                scaled.append("evaluating")
        if load is None and config.engine == "vllm":
            start = _START_EAGER if "--enforce-eager" in config.extra_args else _START
            load = start + size / _READ
            scaled.append("loading")
        if training is None:
            training = _estimated(folder, config, examples)
            scaled.append("training")
        if merging is None:
            merging = size / _MERGED
            scaled.append("merging")
    loads = config.rounds + 1 if load is not None else 0
    times: dict[str, float | None] = {
        "loading": None if load is None else loads * load,
        "generating": generating,
        "silent control": silent if asks.silent else 0.0,
        "training": training,
        "merging": merges * merging if merges and merging is not None else (None if merges else 0.0),
        "evaluating": evaluating,
    }
    return PhaseTimes(times, _basis(folder, from_here, scaled, rounds, examples))


def _basis(
    folder: Path,
    from_here: list[str],
    scaled: list[str],
    rounds: list[tuple[RestConfig, Round]],
    examples: int,
) -> str:
    said = []
    if from_here:
        said.append(f"From past runs and rounds of {folder.name}: {', '.join(from_here)}.")
    if scaled:
        said.append(
            f"From one H200 at the size of Qwen3-Omni-30B-A3B, scaled to this model, with answers of at most"
            f" {_ANSWER_TOKENS} tokens: {', '.join(scaled)}."
        )
    what = "as in its past rounds" if rounds else "as in the published experiment"
    said.append(f"Training assumes {counted(examples, 'example')} over all rounds, {what}.")
    return " ".join(said)


def _past_rounds(workspace: Workspace, config: RestConfig, folder: Path) -> list[tuple[RestConfig, Round]]:
    """Rounds of this model's experiments on the same engine and kind of device, newest experiment first."""
    from audioreason.rest.phases import base_folder
    from audioreason.rest.record import list_experiments, read_experiment

    found = []
    for listed in list_experiments(workspace):
        try:
            past = read_experiment(workspace, listed.id)
            same = base_folder(past.config) == folder
        except RestError:  # it cannot be read, or its model is gone
            continue
        if same and past.config.engine == config.engine and bool(past.config.gpus) == bool(config.gpus):
            found += [(past.config, one) for one in past.rounds]
    return found


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _load(rounds: list[tuple[RestConfig, Round]]) -> float | None:
    return _mean([one.seconds["loading"] for _, one in rounds if one.seconds.get("loading")])


def _training(rounds: list[tuple[RestConfig, Round]], passes: float) -> float | None:
    """Seconds for so many passes over an example."""
    rates = [
        one.seconds["train"] / (one.training * past.epochs)
        for past, one in rounds
        if one.training and one.seconds.get("train") and past.steps is None
    ]
    mean = _mean(rates)
    return None if mean is None else mean * passes


def _merging(rounds: list[tuple[RestConfig, Round]], size: int) -> float | None:
    return _mean([one.seconds["merge"] for _, one in rounds if one.seconds.get("merge")])


def _kept(rounds: list[tuple[RestConfig, Round]]) -> float:
    """Share of candidates that a training learns from."""
    asked = sum(int(one.summary.get("candidates", 0)) for _, one in rounds if one.training is not None)
    return sum(one.training or 0 for _, one in rounds) / asked if asked else _KEPT


def _active(folder: Path) -> int:
    """Weights that a token meets; 0 for a model that is no thinker."""
    from audioreason.engines.pocket import read_config
    from audioreason.train.preflight import sizes
    from audioreason.train.recipe import Recipe

    try:
        return sizes(read_config(folder), Recipe()).active
    except EngineError:
        return 0


def _estimated(folder: Path, config: RestConfig, examples: int) -> float | None:
    """Seconds of all trainings on a GPU, from the estimate that a training's own plan makes."""
    from audioreason.engines.pocket import read_config
    from audioreason.rest.training import round_recipe
    from audioreason.train.preflight import estimate

    each = max(1, math.ceil(examples / config.rounds))
    found = estimate(
        read_config(folder), round_recipe(config, 1), "cuda", config.longest, each, each * _ANSWER_TOKENS
    ).seconds
    return None if found is None else found * config.rounds


def _words(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    if 0 < seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
