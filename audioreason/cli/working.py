"""Commands about jobs: jobs submit, plan, list, watch, logs, stop, resume, retry, delete, kinds."""

from __future__ import annotations

import json as jsonlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audioreason.cli.output import Json, either, emit_json, emit_table, remark, terminal_progress
from audioreason.errors import JobError
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.jobs.kinds import Plan
    from audioreason.jobs.watch import JobView

app = typer.Typer(help="Queue, watch and control long work.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(help="The job's id, as `audioreason jobs list` shows it.")]
KindName = Annotated[str, typer.Argument(help="What kind of job: see `audioreason jobs kinds`.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="A setting as NAME=VALUE; lists as JSON or with commas (repeatable)."),
]
SpecFile = Annotated[
    Path | None, typer.Option("--spec", help="Settings from a JSON or YAML file; --set overrules it.")
]
Preset = Annotated[str | None, typer.Option(help="Settings of a preset; --spec and --set overrule it.")]


@app.command()
def submit(
    kind: KindName,
    settings: SetOption = None,
    spec: SpecFile = None,
    preset: Preset = None,
    title: Annotated[str, typer.Option(help="How the job is called (default: made from its settings).")] = "",
    priority: Annotated[int, typer.Option(help="A higher one starts first.")] = 0,
    after: Annotated[
        list[str] | None, typer.Option(help="A job that must be finished before (repeatable).")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Watch it until it is over.")] = False,
    json: Json = False,
) -> None:
    """Queue a job; it starts at once if there is room, and outlives this command."""
    from audioreason.jobs import actions
    from audioreason.jobs.watch import job

    workspace = Workspace.open()
    values = settings_of(kind, settings, spec, preset)
    if not after:  # what it names may be made by the job before it
        actions.plan(workspace, kind, values)
    job_id = actions.submit(workspace, kind, values, title=title, priority=priority, after=after or ())
    if wait:
        watch(job_id, json)
        return
    view = job(workspace, job_id)
    either(json, view.to_dict(), lambda: _print_submitted(view))


@app.command()
def plan(
    kind: KindName,
    settings: SetOption = None,
    spec: SpecFile = None,
    preset: Preset = None,
    json: Json = False,
) -> None:
    """Say what a job would do, and how long past runs took for the like; start nothing."""
    from audioreason.jobs import actions

    found = actions.plan(Workspace.open(), kind, settings_of(kind, settings, spec, preset))
    either(json, found.to_dict(), lambda: _print_plan(found))
    if any(check.state == "fail" for check in found.checks):
        raise typer.Exit(1)


@app.command("list")
def list_(
    all_: Annotated[bool, typer.Option("--all", help="Children of matrices too.")] = False,
    json: Json = False,
) -> None:
    """List the jobs, newest first."""
    from audioreason.jobs.queue import reconcile
    from audioreason.jobs.watch import list_jobs

    workspace = Workspace.open()
    reconcile(workspace)
    jobs = list_jobs(workspace, children=all_)

    def table() -> None:
        if not jobs:
            remark("No jobs yet. Try: audioreason jobs submit evaluate --set endpoints=embedded")
            return
        emit_table(
            ("job", "what", "state", "progress", "rate", "left", ""),
            (
                (view.id, view.title, view.state, _count(view), _rate(view), _duration(view.eta), view.reason)
                for view in jobs
            ),
            right=("progress", "rate", "left"),
        )

    either(json, [view.to_dict() for view in jobs], table)


@app.command()
def watch(job_id: JobId, json: Json = False) -> None:
    """Follow a job until it is over; Ctrl-C stops watching, not the job. Exit status 1 if it went wrong."""
    from audioreason.jobs.queue import reconcile
    from audioreason.jobs.watch import job

    workspace = Workspace.open()
    view = job(workspace, job_id)
    shown = ""
    with terminal_progress(quiet=json) as progress:
        while not view.over and not progress.should_stop():
            doing = view.phase if view.state == "running" else view.state
            if doing != shown:
                shown = doing
                progress.phase(doing, view.total)
            progress.done(view.done, view.note or view.reason)
            time.sleep(0.3)
            reconcile(workspace)
            view = job(workspace, job_id)
    either(json, view.to_dict(), lambda: _print_job(view))
    if view.over and view.state != "finished":
        raise typer.Exit(1)


@app.command()
def show(job_id: JobId, json: Json = False) -> None:
    """Show one job: state, phases, result, and whether it can be resumed."""
    from audioreason.jobs.queue import reconcile
    from audioreason.jobs.resuming import resumable
    from audioreason.jobs.watch import job

    workspace = Workspace.open()
    reconcile(workspace)
    view = job(workspace, job_id)
    resumption = resumable(workspace, job_id)
    going_on = "possible" if resumption.possible else "no"
    stopped = view.over and view.state != "finished"

    def table() -> None:
        _print_job(view, [("resume", f"{going_on}. {resumption.why}".strip())] if stopped else [])

    either(json, view.to_dict() | {"resume": resumption.to_dict()}, table)


@app.command()
def logs(
    job_id: JobId,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 50,
    level: Annotated[str, typer.Option(help="Only this level and worse: info, warning, error.")] = "",
    search: Annotated[str, typer.Option(help="Only lines that contain this.")] = "",
    json: Json = False,
) -> None:
    """Print the end of a job's log."""
    from audioreason.jobs.watch import job, tail_log

    workspace = Workspace.open()
    job(workspace, job_id)  # says so if there is none
    found = tail_log(workspace, job_id, lines, level, search)

    def text() -> None:
        for line in found:
            typer.echo(f"{line.time} {line.level:7} {line.text}" if line.time else line.text)

    either(json, [{"time": line.time, "level": line.level, "text": line.text} for line in found], text)


@app.command()
def stop(
    job_id: JobId,
    now: Annotated[bool, typer.Option("--now", help="Kill it instead of waiting for a checkpoint.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has stopped.")] = True,
    json: Json = False,
) -> None:
    """Stop a job at its next checkpoint; it can be resumed."""
    from audioreason.jobs import actions
    from audioreason.jobs.watch import job

    workspace = Workspace.open()
    actions.stop(workspace, job_id, now=now)
    if wait:
        actions.wait_until_over(workspace, job_id, 60)
    view = job(workspace, job_id)
    either(json, view.to_dict(), lambda: remark(f"{view.id} is {view.state}. {view.reason}".strip()))


@app.command()
def resume(job_id: JobId, json: Json = False) -> None:
    """Continue a job that stopped, failed or crashed."""
    from audioreason.jobs import actions
    from audioreason.jobs.watch import job

    workspace = Workspace.open()
    actions.resume(workspace, job_id)
    view = job(workspace, job_id)
    either(json, view.to_dict(), lambda: _print_submitted(view))


@app.command()
def retry(job_id: JobId, json: Json = False) -> None:
    """Submit a job's settings again as a new job, from the beginning."""
    from audioreason.jobs import actions
    from audioreason.jobs.watch import job

    workspace = Workspace.open()
    view = job(workspace, actions.retry(workspace, job_id))
    either(json, view.to_dict(), lambda: _print_submitted(view))


@app.command()
def delete(
    job_id: JobId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Delete a job's settings, log and metrics, after saying what goes; a running one is stopped first."""
    from audioreason.jobs import actions

    workspace = Workspace.open()
    removal = actions.what_goes(workspace, job_id)
    remark(removal.sentence())
    if not yes and not typer.confirm("Delete?", err=True):
        raise typer.Exit(1)
    actions.delete(workspace, job_id, stop_first=True)
    if json:
        emit_json(removal.to_dict())


@app.command()
def kinds(
    kind: Annotated[str | None, typer.Argument(help="Show the settings of this kind.")] = None,
    json: Json = False,
) -> None:
    """List the kinds of jobs, or the settings and presets of one."""
    from audioreason.jobs.kinds import find_kind, list_kinds

    if kind is None:
        listed = list_kinds()
        either(
            json,
            [{"name": found.name, "title": found.title, "about": found.about} for found in listed],
            lambda: emit_table(("kind", ""), [(found.name, found.about) for found in listed]),
        )
        return
    found = find_kind(kind)
    schema = found.spec.model_json_schema()
    presets = {name: dict(values) for name, values in found.presets.items()}

    def table() -> None:
        emit_table(
            ("setting", "default", ""),
            [
                (name, jsonlib.dumps(field.get("default")), field.get("description") or field.get("title"))
                for name, field in schema["properties"].items()
            ],
        )
        if presets:
            typer.echo(f"\npresets: {', '.join(presets)}")

    either(json, {"name": found.name, "schema": schema, "presets": presets}, table)


def settings_of(kind: str, given: list[str] | None, file: Path | None, preset: str | None) -> dict[str, Any]:
    """Preset, file and `--set`, each overruling the one before."""
    from audioreason.jobs.kinds import find_kind

    found = find_kind(kind)
    values: dict[str, Any] = {}
    if preset is not None:
        if preset not in found.presets:
            raise JobError(
                f"The kind {kind} has no preset {preset!r}.", f"There are: {', '.join(found.presets)}."
            )
        values |= found.presets[preset]
    if file is not None:
        values |= _read_settings(file)
    fields = found.spec.model_json_schema()["properties"]
    for pair in given or ():
        name, equals, text = pair.partition("=")
        if not equals:
            raise JobError(f"{pair!r} is not a setting.", "Write it as NAME=VALUE.")
        values[name] = _value(text, fields.get(name, {}))
    return values


def _read_settings(file: Path) -> dict[str, Any]:
    import yaml

    try:
        read = yaml.safe_load(file.read_text(encoding="utf-8"))  # JSON is YAML too
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise JobError(f"{file} cannot be read as settings ({type(error).__name__}).") from error
    if not isinstance(read, dict):
        raise JobError(f"{file} holds no settings.", "Write names and values, as JSON or YAML.")
    return read


def _value(text: str, field: dict[str, Any]) -> Any:
    """What a person typed for a field: JSON where it is JSON, else text; a list may have commas."""
    kinds = {field.get("type"), *(option.get("type") for option in field.get("anyOf", ()))}
    if "array" in kinds and not text.lstrip().startswith("["):
        items = field.get("items", {})
        return [_value(part.strip(), items) for part in text.split(",") if part.strip()]
    if kinds <= {"string", None} and kinds != {None}:
        return text
    try:
        return jsonlib.loads(text)
    except ValueError:
        return text


def _print_submitted(view: JobView) -> None:
    typer.echo(view.id)
    remark(f"{view.title}: {view.state}. {view.reason}".strip())
    remark(f"Follow it with: audioreason jobs watch {view.id}")


def _print_job(view: JobView, further: Sequence[tuple[str, str]] = ()) -> None:
    rows: list[tuple[str, str]] = [("job", view.id), ("what", f"{view.kind}: {view.title}")]
    rows.append(("state", view.state))
    rows += [("", text) for text in (view.reason, view.hint) if text]
    rows.append(("progress", f"{view.phase} {_count(view)} {view.note}".strip()))
    rows.append(("time", f"{_duration(view.seconds)}, attempt {view.attempt}"))
    rows += [("phase", f"{phase.name}: {_duration((phase.ended or time.time()) - phase.began)}"
              f" (attempt {phase.attempt})") for phase in view.phases]  # fmt: skip
    rows += [("run", run) for run in view.runs]
    rows += [(name, str(value)) for name, value in (view.result or {}).items()]
    rows += further
    emit_table(("", " "), rows)


def _print_plan(found: Plan) -> None:
    rows: list[tuple[str, str]] = [("jobs", str(found.jobs))]
    rows += [("items", f"{found.items:,}")] if found.items is not None else []
    rows += [("requests", f"{found.requests:,}")] if found.requests is not None else []
    rows += [("tokens", f"about {found.tokens:,}")] if found.tokens is not None else []
    rows += [("time", f"about {_duration(found.seconds)}")] if found.seconds is not None else []
    rows += [("", text) for text in (found.basis, *found.notes) if text]
    rows += [(check.state, f"{check.name}: {check.sentence}") for check in found.checks]
    emit_table(("", " "), rows)
    typer.echo(found.command)


def _count(view: JobView) -> str:
    if view.total is None:
        return str(view.done) if view.done else ""
    return f"{view.done}/{view.total}"


def _rate(view: JobView) -> str:
    return "" if not view.rate else f"{view.rate:.1f}/s"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
