"""What a search would do, before it starts: requests to both models, and how many items where.

The optimisers' own arithmetic is written out here (dspy 3.4: `MIPROv2._set_num_trials_from_num_candidates`,
`MIPROv2._optimize_prompt_parameters`, `GEPA.auto_budget`), so that a plan needs no DSPy; tests hold both
together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from audioreason.optimize.config import OptimizeConfig
from audioreason.optimize.parts import Parts
from audioreason.optimize.shapes import SearchPlan

_CANDIDATES = {"light": 6, "medium": 12, "heavy": 18}
_LEAST_FOR_MINIBATCH = 50  # dev items above which MIPROv2's auto modes use minibatches
_VIEWED = 10  # train items in each of MIPROv2's requests for a summary of the data


@dataclass(frozen=True)
class MiproSizes:
    """MIPROv2's numbers: `candidates` counts the seed, `demo_sets` is 0 without demos."""

    candidates: int
    demo_sets: int
    trials: int
    minibatch: int | None


def mipro_sizes(config: OptimizeConfig, dev: int) -> MiproSizes:
    """How many candidates and trials MIPROv2 will make, and over how many items each."""
    if config.level == "own":
        minibatch = config.minibatch if config.minibatch < dev else None
        return MiproSizes(config.candidates, config.candidates * (config.demos > 0), config.trials, minibatch)
    n = _CANDIDATES[config.level]
    variables = (1 + (config.part == "both")) * (1 + (config.demos > 0))
    trials = int(max(2 * variables * math.log2(n), 1.5 * n))
    candidates = n if not config.demos else n // 2
    minibatch = min(config.minibatch, dev) if dev > _LEAST_FOR_MINIBATCH else None
    return MiproSizes(candidates, n * (config.demos > 0), trials, minibatch)


def gepa_rollouts(config: OptimizeConfig, dev: int) -> int:
    """How many answers GEPA may have judged."""
    if config.level == "own":
        return config.rollouts
    n = _CANDIDATES[config.level]
    predictors = 1 + (config.part == "both")
    trials = int(max(2 * predictors * 2 * math.log2(n), 1.5 * n))
    fulls = (trials + 1) // 5 + 1 + (trials < 5)
    return dev + n * 5 + trials * 35 + fulls * dev


def make_plan(config: OptimizeConfig, parts: Parts) -> SearchPlan:
    """The most that a search will ask; what is known already is not asked again."""
    train, dev, test = len(parts.train), len(parts.dev), len(parts.test)
    notes = list(parts.notes)
    if config.optimizer == "mipro":
        sizes = mipro_sizes(config, dev)
        if sizes.minibatch is None:
            trials, fulls = sizes.trials + 1, sizes.trials + 1
            searched = dev * fulls
        else:
            fulls = 2 + sizes.trials // config.full_every
            trials = sizes.trials + fulls
            searched = sizes.minibatch * sizes.trials + dev * fulls
        predictors = 1 + (config.part == "both")
        summaries = 2 + min(9, max(0, math.ceil(train / _VIEWED) - 1))
        proposals = summaries + sizes.candidates * predictors
        demos = sizes.demo_sets * train
        searched = searched + 2 * train + demos
    else:
        searched = gepa_rollouts(config, dev) + 2 * train
        trials = max(1, (searched - dev) // (2 * config.reflection + 1))
        fulls = max(1, (searched - dev) // max(1, dev))
        proposals = max(1, (searched - dev) // (2 * config.reflection))
        notes.append("GEPA spends its rollouts as it goes: trials and proposals are upper bounds.")
    if config.budget_requests is not None:
        searched = min(searched, config.budget_requests)
        proposals = min(proposals, config.budget_requests)
    if config.dealing == "held-out":
        notes.append(
            "The test items are asked about once, for the seed and for the winner, after the search."
        )
    return SearchPlan(
        train=train,
        dev=dev,
        test=test,
        trials=trials,
        full_trials=fulls,
        task_requests=searched,
        proposer_requests=proposals + 1,  # with the question whether it can write at all
        test_requests=2 * test,
        notes=tuple(notes),
    )
