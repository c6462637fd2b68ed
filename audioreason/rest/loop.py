"""The loop: generate, filter, train, merge, evaluate, and again from there, by itself on one GPU or the CPU.

    base evaluated -> for each round: candidates -> what is worth learning -> server stops -> adapter
    -> merged model where it is needed -> served again -> evaluated with every prompt

What is next follows from the rounds' records alone (`next_step`), so a loop that was killed anywhere goes on
where it was: each phase either left its record or is done again, and does what it would have done. Knows
neither jobs nor how a server is made: `serve` is handed in.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from audioreason.errors import EndpointError, ItemError, LabError, RestError, RunError
from audioreason.items import load_dataset
from audioreason.items.guard import check_training
from audioreason.progress import Progress, Quiet
from audioreason.prompts import load_prompt
from audioreason.rest.choosing import check_cues, choose
from audioreason.rest.config import RestConfig
from audioreason.rest.evaluation import ask_again, evaluate_round
from audioreason.rest.forgetting import Forgetting, asked, measure, why_stop
from audioreason.rest.generate import ask_silent, generate, run_tokens
from audioreason.rest.phases import (
    Interrupted,
    Named,
    Serve,
    Server,
    base_folder,
    merges,
    round_model,
    say_how_to_go_on,
    to_serve,
)
from audioreason.rest.problems import aim, problems_dataset
from audioreason.rest.record import (
    PHASES,
    Experiment,
    Round,
    adapter_name,
    again_run,
    evaluation_run,
    experiment_folder,
    generate_run,
    merged_folder,
    probe_name,
    problems_name,
    read_experiment,
    silent_run,
    tried_name,
    write_round,
)
from audioreason.rest.settling import check_kept, settle
from audioreason.rest.training import left_out, merge_round, round_recipe, train_round
from audioreason.runs import run_folder
from audioreason.workspace import FileLock, Workspace

log = logging.getLogger("audioreason.rest")

Step = tuple[int, str]  # a round's number and a phase


def run(
    workspace: Workspace,
    config: RestConfig,
    *,
    serve: Serve,
    resume: bool = False,
    progress: Progress | None = None,
    only: Step | None = None,
) -> Experiment:
    """Begin an experiment or go on with it, until its last round, its stop rule, or a request to stop.

    Args:
        workspace: where everything is.
        config: the settings; `name` must be set.
        serve: makes a server of a model folder, an adapter or None, and a name.
        resume: go on with the experiment of that name if there is one.
        progress: hears of every phase, and may ask for a stop.
        only: do this phase alone; it must be the next one, or one that is done, which changes nothing.

    Returns:
        The experiment as it then stands; `state` tells whether it is through.

    Raises:
        RestError: if the name is taken, the settings are not those it began with (those that nothing
            was done by yet may differ), it is being worked on, or `only` is not what comes next.
        GuardError: if a benchmark item would train the model; nothing was asked.
        Interrupted: if a stop was asked for before anything was begun.
        LabError: what a phase raises; what was done stays, and resuming goes on.
    """
    progress = progress or Quiet()
    folder = experiment_folder(workspace, config.name)
    exists = (folder / "config.json").exists()
    if exists and not resume:
        raise RestError(
            f"There is an experiment {config.name} already.",
            f"Go on with it: audioreason rest run {config.name} --resume; or choose another name.",
        )
    if exists:
        check_kept(workspace, config)
    else:
        try:
            check_start(workspace, config, progress)
        except ItemError as error:
            if progress.should_stop():
                raise Interrupted from error
            raise
    lock = FileLock(folder / "lock")
    if not lock.acquire():
        raise RestError(f"The experiment {config.name} is being worked on.", "Stop that first, or wait.")
    try:
        settle(workspace, config)
        with Server(serve) as server:
            _go_on(workspace, config, server, progress, only)
    except Interrupted:
        pass  # the state on disk says how far it came
    except RestError:
        raise
    except LabError as error:
        say_how_to_go_on(config.name, error)
        raise
    finally:
        lock.release()
    return read_experiment(workspace, config.name)


def check_start(workspace: Workspace, config: RestConfig, progress: Progress | None = None) -> None:
    """See that an experiment can begin: nothing has its names, its parts are there, no benchmark trains it.

    Raises:
        RestError: if a name is taken or the model is not there.
        GuardError: if a benchmark item would train the model.
        LabError: if a dataset, a split or a prompt is missing.
    """
    from audioreason.evaluate import choose_items

    base_folder(config)
    check_names(workspace, config)
    for prompt in (config.prompt, *config.eval_prompts):
        load_prompt(prompt, [workspace.prompts])
    check_cues(workspace, config)
    if len({evaluation_run(config.name, 0, prompt) for prompt in config.eval_prompts}) < len(
        config.eval_prompts
    ):
        raise RestError("Two evaluation prompts would make runs of one name.", "Name one of them otherwise.")
    choose_items(
        load_dataset(workspace, config.eval_dataset),
        None if config.eval_split == "full" else config.eval_split,
    )
    if config.curriculum:  # each round's problems are looked at before they train it
        return
    dataset = load_dataset(workspace, config.dataset)
    items = choose_items(dataset, None if config.split == "full" else config.split)[: config.limit]
    check_training(dataset, workspace, items, config.override_reason.strip() or None, progress)


def check_names(workspace: Workspace, config: RestConfig) -> None:
    """See that no run, adapter or model has a name that the experiment will give.

    Raises:
        RestError: naming the first that is taken.
    """
    for number in range(config.rounds + 1):
        name = adapter_name(config.name, number)
        taken = [
            ("an adapter", workspace.adapters / name),
            ("a model", merged_folder(workspace, config.name, number)),
            ("a run", run_folder(workspace, generate_run(config.name, number))),
            ("a run", run_folder(workspace, silent_run(config.name, number))),
            *(_of_curriculum(workspace, config.name, number) if config.curriculum and number else ()),
            ("a run", run_folder(workspace, again_run(config.name, config.retention_prompt))),
            *(
                ("a run", run_folder(workspace, evaluation_run(config.name, number, prompt)))
                for prompt in config.eval_prompts
            ),
        ]
        for what, path in taken:
            if path.exists():
                raise RestError(
                    f"There is {what} {path.name.removeprefix('run_id=')} already, which the experiment"
                    f" {config.name} would make.",
                    "Choose another name for the experiment; nothing was changed.",
                )


def _of_curriculum(workspace: Workspace, name: str, number: int) -> list[tuple[str, Path]]:
    probe = probe_name(name, number)
    return [
        ("a dataset", workspace.datasets / problems_name(name, number)),
        ("a dataset", workspace.datasets / probe),
        ("a run", run_folder(workspace, probe)),
        ("a run", run_folder(workspace, f"{probe}-silent")),
        ("a dataset", workspace.datasets / tried_name(name, number)),
        ("a run", run_folder(workspace, tried_name(name, number))),
    ]


def next_step(config: RestConfig, rounds: Sequence[Round]) -> Step | None:
    """The round and phase that come next; None when the experiment is through."""
    if not rounds:
        return 0, "evaluate"
    last = rounds[-1]
    if not last.over:
        if last.number == 0:
            return 0, "evaluate"
        left = PHASES[PHASES.index(last.phase) + 1 if last.phase else 0 :]
        return last.number, next(p for p in left if p != "merge" or merges(config, last.number))
    if last.stop or last.number >= config.rounds:
        return None
    return last.number + 1, "generate"


def _go_on(
    workspace: Workspace, config: RestConfig, server: Server, progress: Progress, only: Step | None
) -> None:
    _ask_again_if_lost(workspace, config)
    while (step := next_step(config, rounds := read_experiment(workspace, config.name).rounds)) is not None:
        number, phase = step
        if only is not None and only != step:
            if _done(rounds, only):
                return
            raise RestError(
                f"The next phase of {config.name} is {phase} of round {number}, not {only[1]} of {only[0]}.",
                f"Do that first: audioreason rest {phase} {config.name}",
            )
        if progress.should_stop():
            raise Interrupted
        one = rounds[number] if number < len(rounds) else Round(number=number)
        began, notes = time.monotonic(), list(one.notes)
        named = Named(progress, f"round {number}" if number else "base")
        while True:
            try:
                _phase(workspace, config, rounds, one, phase, server, named)
                break
            except (EndpointError, RunError) as error:
                if not server.came_back(error):
                    raise
                log.warning("%s The server answers again: the phase %s continues.", error.message, phase)
                one = one.model_copy(update={"notes": notes})
        loading, server.seconds = server.seconds, 0.0
        apart = loading + (one.seconds.get("silent", 0.0) if phase == "generate" else 0.0)
        one.seconds[phase] = round(time.monotonic() - began - apart, 1)
        if loading:
            one.seconds["loading"] = round(one.seconds.get("loading", 0.0) + loading, 1)
        one.phase = phase
        write_round(workspace, config.name, one)
        if only is not None:
            return
    if only is not None and not _done(rounds, only):
        raise RestError(
            f"The experiment {config.name} is through: there is no {only[1]} of round {only[0]} to do.",
            f"See what it came to: audioreason rest show {config.name}",
        )


def _ask_again_if_lost(workspace: Workspace, config: RestConfig) -> None:
    """Take the newest round back to its beginning if nothing was made of its candidates and they are gone."""
    rounds = read_experiment(workspace, config.name).rounds
    if not rounds or rounds[-1].phase != "generate":
        return
    last = rounds[-1]
    runs = [generate_run(config.name, last.number), *filter(None, [last.silent])]
    if lost := [run for run in runs if not run_folder(workspace, run).is_dir()]:
        note = f"The answers of {' and '.join(lost)} had been deleted and were asked for again."
        write_round(
            workspace, config.name, last.model_copy(update={"phase": "", "notes": [*last.notes, note]})
        )


def _done(rounds: Sequence[Round], step: Step) -> bool:
    return step[0] < len(rounds) and (rounds[step[0]].over or rounds[step[0]].did(step[1]))


def _phase(
    workspace: Workspace,
    config: RestConfig,
    rounds: Sequence[Round],
    one: Round,
    phase: str,
    server: Server,
    progress: Progress,
) -> None:
    """Do a phase and write into the record what came of it."""
    number = one.number
    if phase == "generate":
        # candidates come from the newest model; what is trained may be the base again
        before = rounds[number - 1]
        origin = before if config.start == "previous" else rounds[0]
        one.origin, one.folder, one.override = origin.model, origin.folder, config.override_reason.strip()
        endpoint = server.ask(*to_serve(workspace, config, before))
        asked_before: list[str] = []
        if config.curriculum:
            said, asked_before = aim(workspace, config, number, endpoint, progress)
            one.notes.append(said)
        one.problems = problems_dataset(config, number)
        one.generate = generate(workspace, config, number, one.problems, endpoint, progress)
        began = time.monotonic()
        one.silent = ask_silent(workspace, config, number, one.problems, endpoint, progress)
        if one.silent:
            one.seconds["silent"] = round(time.monotonic() - began, 1)
        asked_for = [*asked_before, one.generate, *([one.silent] if one.silent else [])]
        one.tokens[phase] = sum(run_tokens(workspace, run_id) for run_id in asked_for)
    elif phase == "filter":
        chosen = choose(workspace, config, number, one.silent, progress)
        one.training, one.training_words, one.summary = chosen.examples, chosen.words, chosen.summary
        one.notes += chosen.notes
        if not chosen.examples:
            one.stop, one.over = chosen.nothing, True
    elif phase == "train":
        server.stop()  # on one GPU there is no room for both
        one.adapter = train_round(workspace, config, number, Path(one.folder), progress)
        one.model = round_model(config, number)
        one.notes += left_out(workspace, config, number, one.training or 0)
        one.recipe = _words(round_recipe(config, number).model_dump(exclude_none=True))
    elif phase == "merge":
        server.stop()
        one.folder = str(merge_round(workspace, config, number, Path(one.folder), progress))
    else:
        if number == 0:
            one.model, one.folder = round_model(config, 0), str(base_folder(config))
        endpoint = server.ask(*to_serve(workspace, config, one))
        one.evaluations = evaluate_round(workspace, config, number, endpoint, progress)
        one.tokens[phase] = sum(run_tokens(workspace, each) for each in one.evaluations.values())
        if number == 0:
            one.again = ask_again(workspace, config, endpoint, progress)
            one.tokens[phase] += run_tokens(workspace, one.again) if one.again else 0
        else:
            one.forgetting = _forgotten(workspace, config, rounds[0], one)
            known = [each.forgetting for each in rounds[1:number] if each.forgetting is not None]
            one.stop = why_stop(config, number, [*known, one.forgetting])
            if one.forgetting.luck_unknown:
                one.notes.append(
                    f"The base was asked once, with drawn answers: how many of round {number}'s losses are"
                    " luck is not known, and no rule stops on them."
                )
        one.over = True


def _forgotten(workspace: Workspace, config: RestConfig, base: Round, one: Round) -> Forgetting:
    prompt = config.retention_prompt
    items = asked(workspace, base.evaluations[prompt], one.evaluations[prompt], base.again)
    return measure(items, prompt, config.answers_drawn)


def _words(values: dict[str, object]) -> dict[str, str]:
    return {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}
