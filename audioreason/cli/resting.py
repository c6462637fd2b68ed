"""The commands `rest`: self-training as a whole, each of its phases alone, and what came of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audioreason.cli.output import Json, either, emit_json, emit_table, remark, terminal_progress
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.rest.config import RestConfig
    from audioreason.rest.record import Experiment

app = typer.Typer(
    help="Self-training: generate, filter, train, evaluate, round after round.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(help="Name of the experiment.")]
OptionalName = Annotated[str, typer.Argument(help="Name of the experiment (default: the file's).")]
Config = Annotated[Path | None, typer.Option(help="Settings, YAML or JSON: the fields of the job rest.")]
Filter = Annotated[
    str,
    typer.Option(
        "--filter",
        help="A preset of the filter, paper or code: also for a round that kept nothing with another.",
    ),
]
RoundNumber = Annotated[int | None, typer.Option("--round", min=0, help="Default: the one that is next.")]


@app.command("run")
def run(
    name: OptionalName = "",
    config: Config = None,
    preset: Annotated[str, typer.Option(help="Where settings start that the file leaves out.")] = "",
    filter_preset: Filter = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it was interrupted.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it would take.")] = False,
    json: Json = False,
) -> None:
    """Run an experiment to its end; Ctrl-C keeps what is done, --resume goes on."""
    workspace = Workspace.open()
    settings = _settings(workspace, name, config, preset, resume)
    if filter_preset:
        settings = settings.model_copy(update={"filter": filter_preset, "filter_changes": {}})
    if plan:
        _plan(workspace, settings, json)
        return
    _report(workspace, _loop(workspace, settings, resume, None, json), json)


def _phase(phase: str, words: str) -> None:
    """Add the command that does one phase alone."""

    def command(
        name: OptionalName = "",
        number: RoundNumber = None,
        config: Config = None,
        json: Json = False,
    ) -> None:
        workspace = Workspace.open()
        settings = _settings(workspace, name, config, "", resume=True)
        if number is None:
            number = _next_round(workspace, settings)
        _report(workspace, _loop(workspace, settings, True, (number, phase), json), json, whole=False)

    command.__doc__ = words
    app.command(phase)(command)


_phase("generate", "Make a round's candidates, or the rest of them.")
_phase("filter", "Choose what is worth learning from a round's candidates.")
_phase("train", "Train a round's adapter on what was kept.")
_phase("merge", "Merge a round's adapter into its model, where the next round or vLLM needs it.")
_phase("evaluate", "Ask a round's model with every evaluation prompt; round 0 is the base, and comes first.")


@app.command("show")
def show(name: Name, json: Json = False) -> None:
    """Show an experiment's rounds side by side, and what to know before concluding."""
    from audioreason.cli.rest_tables import ledger, print_ledger

    workspace = Workspace.open()
    if json:
        emit_json(ledger(workspace, name))
    else:
        print_ledger(workspace, name)


@app.command("list")
def list_all(json: Json = False) -> None:
    """List all experiments, newest first."""
    from audioreason.rest.record import list_experiments

    found = list_experiments(Workspace.open())
    rows = [
        (one.id, one.state, f"{one.rounds} of {one.planned}", one.dataset, one.problem or one.model)
        for one in found
    ]
    either(
        json,
        [asdict(one) for one in found],
        lambda: emit_table(("experiment", "state", "rounds", "dataset", "model"), rows),
    )


def _settings(workspace: Workspace, name: str, config: Path | None, preset: str, resume: bool) -> RestConfig:
    """From a file, from a preset, or those an experiment began with.

    Raises:
        RestError: if they cannot be used, or no name is given.
    """
    from audioreason.errors import RestError
    from audioreason.rest.config import make_config, read_config
    from audioreason.rest.record import experiment_folder, read_experiment

    if config is None and name and resume:
        return read_experiment(workspace, name).config
    found = read_config(config, preset) if config is not None else make_config({"preset": preset or "paper"})
    if name:
        experiment_folder(workspace, name)
        found = found.model_copy(update={"name": name})
    if not found.name:
        raise RestError("The experiment has no name.", "Give one: audioreason rest run NAME --config FILE")
    return found


def _next_round(workspace: Workspace, settings: RestConfig) -> int:
    from audioreason.rest.loop import next_step
    from audioreason.rest.record import experiment_folder, read_experiment

    if not (experiment_folder(workspace, settings.name) / "config.json").exists():
        return 0
    rounds = read_experiment(workspace, settings.name).rounds
    step = next_step(settings, rounds)
    return step[0] if step else rounds[-1].number


def _loop(
    workspace: Workspace, settings: RestConfig, resume: bool, only: tuple[int, str] | None, quiet: bool
) -> Experiment:
    from audioreason.jobs.serving import serving
    from audioreason.rest.loop import run as run_loop
    from audioreason.rest.phases import Interrupted

    try:
        with terminal_progress(quiet) as progress:
            return run_loop(
                workspace,
                settings,
                serve=serving(workspace, settings, progress),
                resume=resume,
                progress=progress,
                only=only,
            )
    except Interrupted as error:
        remark("Stopped before anything was begun.")
        raise typer.Exit(130) from error


def _plan(workspace: Workspace, settings: RestConfig, json: bool) -> None:
    from audioreason.jobs.kinds.rest import KIND

    found = KIND.plan(settings, workspace)
    rows = [("", "requests", f"{found.requests:,}"), *(("", "", note) for note in found.notes)]
    if found.seconds is not None:
        rows.append(("", "time", f"About {found.seconds / 60:,.1f} minutes. {found.basis}"))
    rows += [(check.state, check.name, check.sentence) for check in found.checks]
    either(json, found.to_dict(), lambda: emit_table(("", "what", "found"), rows))
    if any(check.state == "fail" for check in found.checks):
        raise typer.Exit(1)


def _report(workspace: Workspace, found: Experiment, json: bool, whole: bool = True) -> None:
    from audioreason.cli.rest_tables import ledger, print_ledger

    if json:
        emit_json(ledger(workspace, found.id))
    else:
        print_ledger(workspace, found.id)
    if whole and found.state != "finished":
        remark(f"Stopped; go on with: audioreason rest run {found.id} --resume")
        raise typer.Exit(130)
