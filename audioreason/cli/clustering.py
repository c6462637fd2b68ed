"""Commands about jobs on a Ray cluster: cluster submit, list, show, logs, stop, resume, delete."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from audioreason.cli.output import Json, either, emit_table, plain, remark
from audioreason.cli.working import JobId, KindName, Preset, SetOption, SpecFile, settings_of
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.jobs.watch import JobView

app = typer.Typer(
    help="The same jobs on a Ray cluster (AUDIOREASON_RAY_ADDRESS).",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def submit(
    kind: KindName,
    settings: SetOption = None,
    spec: SpecFile = None,
    preset: Preset = None,
    title: str = "",
    json: Json = False,
) -> None:
    """Give a job to the cluster; a matrix becomes one job a part."""
    from audioreason.jobs import cluster

    workspace = Workspace.open()
    ids = cluster.submit(workspace, kind, settings_of(kind, settings, spec, preset), title=title)
    either(json, ids, lambda: remark("\n".join(f"Submitted {job_id}." for job_id in ids)))


@app.command("list")
def list_(json: Json = False) -> None:
    """List this workspace's jobs on clusters, newest first."""
    from audioreason.jobs import cluster

    views = cluster.list_jobs(Workspace.open())
    either(json, [view.to_dict() for view in views], lambda: _table(views))


@app.command()
def show(job_id: JobId, json: Json = False) -> None:
    """Show one job as its cluster and its own state tell it."""
    from audioreason.jobs import cluster

    view = cluster.job(Workspace.open(), job_id)
    either(json, view.to_dict(), lambda: _table([view]))


@app.command()
def logs(job_id: JobId) -> None:
    """Print what a job said; before it began, what Ray says of its start."""
    from audioreason.jobs import cluster

    sys.stdout.write(plain(cluster.logs(Workspace.open(), job_id)))


@app.command()
def stop(job_id: JobId) -> None:
    """Ask a job to stop at its next checkpoint."""
    from audioreason.jobs import cluster

    cluster.stop(Workspace.open(), job_id)
    remark(f"{job_id} was asked to stop.")


@app.command()
def resume(job_id: JobId) -> None:
    """Give a job that stopped, failed or crashed to the cluster again; it goes on where it was."""
    from audioreason.jobs import cluster

    cluster.resume(Workspace.open(), job_id)
    remark(f"{job_id} goes on.")


@app.command()
def delete(job_id: JobId) -> None:
    """Remove a job that is over; what it made stays."""
    from audioreason.jobs import cluster

    cluster.delete(Workspace.open(), job_id)
    remark(f"{job_id} is deleted.")


def _table(views: list[JobView]) -> None:
    emit_table(
        ("job", "what", "state", "done", "of", "attempt", ""),
        [
            (view.id, view.title, view.state, view.done, view.total, view.attempt, view.reason)
            for view in views
        ],
        right=("done", "of", "attempt"),
    )
