"""An experiment as a reader wants it: rounds in order, what each made and cost, and what to be warned of.

Translates what the loop wrote (`record`) for whoever shows it; decides nothing. Knows nothing about pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from audioreason.rest import record, view
from audioreason.rest.config import RestConfig
from audioreason.rest.filter import filter_config
from audioreason.rest.forgetting import Forgetting
from audioreason.rest.phases import merges
from audioreason.rest.view import Figures, Score, share
from audioreason.rest.zones import NAMES, PAPER, Zones
from audioreason.stats import guess_share
from audioreason.wording import counted
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

ZONES: tuple[str, ...] = NAMES
COLLAPSE = 0.7  # what is trained on is this much shorter than all right answers, or than a round before
FORGOTTEN = 0.05  # of what the base knew: more than this, surely, is worth a sentence


@dataclass(frozen=True)
class Summary:
    """One line of the list of experiments; `problem` says why it cannot be shown."""

    id: str
    dataset: str
    rounds: str  # such as 1 of 3
    state: str
    created: str
    problem: str = ""


@dataclass(frozen=True)
class Round:
    """A round: 0 is the base, evaluated only. `over` once its last phase has ended.

    `learning` is the folder in adapters/ that a training writes its metrics to, before there is an `adapter`.
    `evaluations` are run ids by prompt, `seconds` and `tokens` by phase; `training` counts samples, and is
    None before the filter. `forgetting` is what was lost and newly learned against the base; `again` is the
    run of the base's second asking, "" without one. `control` is False where no silent control told which
    groups need the sound; `supervision` names what the filter knew beside the answers. `override` is the
    reason for letting benchmark items train it, "" without one.
    """

    number: int
    phase: str
    over: bool
    model: str = ""
    adapter: str = ""
    learning: str = ""
    origin: str = ""
    generate: str = ""
    evaluations: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    tokens: Mapping[str, int] = field(default_factory=dict)
    training: int | None = None
    training_words: str = ""
    forgetting: Forgetting | None = None
    again: str = ""
    override: str = ""
    recipe: Mapping[str, str] = field(default_factory=dict)
    control: bool = True
    supervision: str = ""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Base, Round 1, Round 2."""
        return "Base" if self.number == 0 else f"Round {self.number}"


@dataclass(frozen=True)
class Experiment:
    """An experiment with its rounds. `zones` from never right to always right, `accent` the learning zone's
    place among them; `settings` are those of the job kind `rest`, to be changed and started again. `judged`
    is the prompt that forgetting goes by."""

    id: str
    running: bool
    samples: int
    prompts: tuple[str, ...]
    dataset: str
    zones: tuple[str, ...]
    accent: int
    settings: Mapping[str, Any]
    rounds: tuple[Round, ...]
    stop: str = ""
    edges: Zones = PAPER
    judged: str = ""

    def zone_of(self, k: int, n: int) -> int:
        """The place among `zones` of a problem with `k` right answers of `n`."""
        return self.zones.index(self.edges.of(k, n))


def figures(found: Experiment, problems: pd.DataFrame, candidates: pd.DataFrame) -> Figures:
    """The figures of a round, with what guessing alone would put into each zone."""
    made = view.figures(problems, candidates, found.zones)
    rated = problems[problems["counts"].astype(bool) & (problems["n"] > 0)]
    luck = np.zeros(len(found.zones))
    for (options, n), group in rated.groupby(["n_choices", "n"]):
        samples, choices = int(str(n)), int(str(options))
        for k in range(samples + 1):
            luck[found.zone_of(k, samples)] += len(group) * guess_share(choices, samples, k, k)
    guess = tuple(float(part) for part in luck / len(rated)) if len(rated) else ()
    return replace(made, guess=guess)


def summaries(workspace: Workspace) -> list[Summary]:
    """Every experiment, newest first."""
    return [
        Summary(
            one.id,
            one.dataset,
            f"{one.rounds} of {one.planned}" if one.planned else "",
            "unreadable" if one.problem else one.state,
            datetime.fromtimestamp(one.created, UTC).isoformat(),
            one.problem,
        )
        for one in record.list_experiments(workspace)
    ]


def read(workspace: Workspace, experiment_id: str) -> Experiment:
    """An experiment as it stands on disk.

    Raises:
        RestError: if there is none of that id, or a file of it cannot be read.
    """
    found = record.read_experiment(workspace, experiment_id)
    config = found.config
    return Experiment(
        id=found.id,
        running=found.state == "running",
        samples=config.samples,
        prompts=tuple(config.eval_prompts),
        dataset=config.eval_dataset,
        zones=ZONES,
        accent=ZONES.index("learning"),
        settings=config.model_dump(mode="json") | {"name": ""},  # a new experiment needs a name of its own
        rounds=tuple(_round(found, one) for one in found.rounds) + _begun(found),
        stop=found.stop,
        judged=config.retention_prompt,
        edges=filter_config(config.filter, config.filter_changes).zones,
    )


def _round(found: record.Experiment, one: record.Round) -> Round:
    return Round(
        number=one.number,
        phase=_under_way(found.config, one),
        over=one.over,
        model=one.model,
        adapter=one.adapter,
        learning=one.adapter or (record.adapter_name(found.id, one.number) if one.number else ""),
        origin=one.origin,
        generate=one.generate,
        evaluations=one.evaluations or _evaluations(found, one.number),
        seconds=one.seconds,
        tokens=one.tokens,
        training=one.training,
        training_words=one.training_words,
        forgetting=one.forgetting,
        again=one.again,
        override=one.override,
        recipe=one.recipe,
        control=not str(one.summary.get("control", "")).startswith("none"),
        supervision=str(one.summary.get("extra_supervision", "")),
        notes=tuple(one.notes),
    )


def _under_way(config: RestConfig, one: record.Round) -> str:
    """The phase after the last that is done."""
    phases = [phase for phase in record.PHASES if phase != "merge" or merges(config, one.number)]
    return next((phase for phase in phases if not one.did(phase)), phases[-1]) if one.number else phases[-1]


def _begun(found: record.Experiment) -> tuple[Round, ...]:
    """The round whose first phase is under way: nothing of it is written down, but its runs have names."""
    number = len(found.rounds)
    if found.state == "finished" or number > found.config.rounds or found.stop:
        return ()
    if found.rounds and not found.rounds[-1].over:
        return ()
    if number == 0:
        return (Round(0, "evaluate", False, evaluations=_evaluations(found, 0)),)
    return (Round(number, "generate", False, generate=record.generate_run(found.id, number)),)


def _evaluations(found: record.Experiment, number: int) -> dict[str, str]:
    """What a round's evaluations are called before they are done."""
    return {prompt: record.evaluation_run(found.id, number, prompt) for prompt in found.config.eval_prompts}


def warnings(found: Experiment, figures: Mapping[int, Figures], scores: list[Score]) -> list[str]:
    """What would lead a reader to a wrong conclusion, one sentence each, by round.

    Args:
        found: the experiment.
        figures: of the rounds that have candidates.
        scores: of every round with evaluations.
    """
    said = []
    before: Figures | None = None
    for one in found.rounds:
        if one.override:
            said.append(
                f"{one.name} was trained on benchmark items by an override ({one.override}): its accuracy on"
                " that benchmark says nothing."
            )
        said += one.notes
        if not one.control:
            said.append(
                f"No silent control stands behind {one.name}: every problem with four choices counts, even"
                " where its question alone gives the answer away."
            )
        if one.supervision:
            said.append(f"The filter of {one.name} used extra supervision: {one.supervision}.")
        if (here := figures.get(one.number)) is not None:
            said += _about_zones(one, here, found) + _about_lengths(one, here, before)
            before = here
        said += _about_forgetting(one)
    said += _about_scores(scores)
    if found.stop:
        said.append(found.stop)
    return list(dict.fromkeys(said))


def _about_forgetting(one: Round) -> list[str]:
    if one.forgetting is None:
        return []
    lost = one.forgetting.lost
    if one.forgetting.luck_unknown:
        if not lost.of or lost.low <= FORGOTTEN:
            return []
        return [
            f"{one.name} gets {lost.k:,} of {lost.of:,} items wrong that the base got right"
            f" ({100 * lost.low:.1f} to {100 * lost.high:.1f}%): it forgets, or they were never firm."
        ]
    if not one.forgetting.surely_above(FORGOTTEN):
        return []
    luck = "" if lost.own is None else f", and the base {lost.own:,} of them when it is asked again"
    return [
        f"{one.name} has lost {lost.k:,} of {lost.of:,} items that the base knows{luck}: it forgets, surely"
        f" more than {100 * FORGOTTEN:.0f}%."
    ]


def _about_zones(one: Round, here: Figures, found: Experiment) -> list[str]:
    said = []
    if here.candidates and here.errors > 0.02 * here.candidates:
        said.append(
            f"Of {counted(here.candidates, 'candidate')} of {one.name}, {here.errors:,} got no answer from"
            " the server. They left every denominator."
        )
    of = sum(here.zones)
    zone = share(here.zones[found.accent], of)
    name = found.zones[found.accent].replace("_", " ")
    if not of:
        said.append(f"No problem of {one.name} counts, so no zone of it can be claimed.")
    elif not zone.k:
        said.append(f"No problem of {one.name} is in the zone “{name}”, so nothing to learn from is there.")
    elif here.guess and zone.low <= here.guess[found.accent]:
        said.append(
            f"{one.name}: {100 * (zone.value or 0):.1f}% of the problems are in the zone “{name}”"
            f" ({100 * zone.low:.1f} to {100 * zone.high:.1f}), and guessing alone would put"
            f" {100 * here.guess[found.accent]:.1f}% there: they need not be problems that it half knows."
        )
    if not here.kept:
        said.append(f"The filter kept no candidate of {one.name}, so nothing was trained.")
    return said


def _about_lengths(one: Round, here: Figures, before: Figures | None) -> list[str]:
    said = []
    about = "about " if here.estimated else ""
    if here.kept_tokens and here.right_tokens and here.kept_tokens < COLLAPSE * here.right_tokens:
        said.append(
            f"What {one.name} trains on is short: {about}{here.kept_tokens:,.0f} tokens in the median,"
            f" against {here.right_tokens:,.0f} of all right answers."
            " Learning the shortest makes reasoning collapse."
        )
    before_about = "about " if before is not None and before.estimated else ""
    now, then = here.right_tokens, before.right_tokens if before is not None else None
    if now and then and now < COLLAPSE * then:
        said.append(
            f"Right answers of {one.name} have {about}{now:,.0f} tokens in the median, and had"
            f" {before_about}{then:,.0f} a round before: the reasoning is collapsing."
        )
    return said


def _about_scores(scores: list[Score]) -> list[str]:
    changed = [one for one in scores if one.change is not None and one.change.n]
    said = [
        f"Round {one.round} is worse than the base with the prompt {one.prompt}:"
        f" {_points(one.change.mean)} points ({_points(one.change.low)} to {_points(one.change.high)})."
        for one in changed
        if one.change is not None and one.change.significant and one.change.mean < 0
    ]
    if changed and not any(one.change is not None and one.change.significant for one in changed):
        said.append("No accuracy after training can be told from the base's: every difference may be noise.")
    elif len(changed) > 2:
        said.append(
            f"{len(changed)} differences from the base are shown, uncorrected: by luck alone one in twenty"
            " leaves out 0."
        )
    unfinished = [one for one in scores if not one.finished]
    if unfinished:
        said.append(
            f"Not finished: {counted(len(unfinished), 'evaluation')}. Accuracy there is of the items so far."
        )
    return said


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.1f}".replace("-", "\N{MINUS SIGN}")
