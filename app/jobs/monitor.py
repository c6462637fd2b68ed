"""The components of the Jobs page: each polls by itself, all of them one address.

A script runs only when somebody presses something, or when what a script drew (buttons, charts) no longer
fits the job.
"""

from __future__ import annotations

from pathlib import Path

from app.feeds import told
from app.jobs.look import metrics_size
from app.jobs.shown import signature
from app.widgets.feed import polling_component
from audioreason.jobs.watch import JobView

CHARTS_EVERY = 5.0  # seconds between two drawings of charts that grow
_FOLDER = Path(__file__).parent / "web"


def _head(*names: str) -> str:
    return '<div class="head">' + "".join(f'<span class="cell">{name}</span>' for name in names) + "</div>"


def _list(kind: str, *names: str) -> str:
    return (
        f'<section class="{kind}" hidden><div class="label"></div>'
        f'<div class="rows">{_head(*names)}<div class="list"></div></div></section>'
    )


_counts = polling_component(
    "counts",
    _FOLDER,
    '<div class="counts" role="status"><div class="numbers"></div><div class="wrong"></div></div>',
)
_rail = polling_component(
    "rail",
    _FOLDER,
    f'<div class="rail"><div class="cards"></div>{_list("queued", "Job", "Waits")}'
    f"{_list('ended', 'Job', 'State', 'Took', 'Accuracy')}</div>",
)
_live = polling_component(
    "live",
    _FOLDER,
    '<div class="live"><div class="line"></div><div class="track" hidden><div class="bar"></div></div>'
    '<div class="reason" hidden></div><div class="used" hidden></div>'
    '<div class="timeline" role="img" aria-label="Phases" hidden><div class="phases"></div>'
    '<div class="axis"></div></div>'
    f'<div class="parts" hidden><div class="rows">{_head("Job", "State", "Done", "Accuracy")}'
    '<div class="list"></div></div></div></div>',
)
_log = polling_component(
    "log",
    _FOLDER,
    '<div class="tools"><span class="strong">Log</span><div class="levels" role="group" aria-label="Level">'
    '<button type="button" value="" aria-pressed="true">All</button>'
    '<button type="button" value="WARNING" aria-pressed="false">Warnings</button>'
    '<button type="button" value="ERROR" aria-pressed="false">Errors</button></div>'
    '<input type="search" placeholder="Find in log" aria-label="Find in log"></div>'
    '<div class="around"><div class="log" role="log" aria-label="Log" tabindex="0"></div>'
    '<div class="empty grey"></div></div>',
)
_pulse = polling_component("pulse", _FOLDER, "<i hidden></i>")


def _nothing() -> None:
    """A component's event runs the script; there is nothing to do before."""


def counts(empty: bool) -> None:
    """How many jobs run and wait, and the GPUs' memory. `empty`: the page shows no job yet."""
    _counts(key="counts", data={"now": told({}), "empty": empty}, on_changed_change=_nothing, width="content")


def rail(job_id: str | None) -> tuple[str | None, str | None]:
    """What runs, waits and has ended; the id of the job whose title, and whose Stop, was just pressed."""
    result = _rail(
        key="rail", data={"now": told({}), "job": job_id}, on_open_change=_nothing, on_stop_change=_nothing
    )
    opened: str | None = result.get("open")
    stopped: str | None = result.get("stop")
    return opened, stopped


def live(view: JobView) -> str | None:
    """How far a job is, what it uses, its timeline or its parts; the id of the part just clicked."""
    data = {"now": told({"job": view.id}), "job": view.id, "signature": signature(view)}
    result = _live(key="live", data=data, on_open_change=_nothing, on_changed_change=_nothing)
    opened: str | None = result.get("open")
    return opened


def log(job_id: str) -> None:
    """The end of the job's log, with level and search."""
    _log(key="log", data={"job": job_id})


def pulse(job_id: str) -> None:
    """Run the fragment that this stands in when the job has new metrics."""
    data = {"job": job_id, "seen": metrics_size(job_id), "every": CHARTS_EVERY}
    _pulse(key="pulse", data=data, on_grown_change=_nothing, height=1)
