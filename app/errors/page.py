"""The page: header, what stands against showing the run, and the view that was chosen."""

from __future__ import annotations

from app.errors import address, confusions, figures, look, notes, overview, picker, tags, triage
from app.errors.address import Address
from app.errors.detail import leave_if_asked
from app.widgets.header import header


def draw() -> None:
    """Draw the page."""
    leave_if_asked()
    now = address.here()
    if not now.run:
        newest = next(iter(look.runs()), None)
        if newest is not None:
            address.go(run=str(newest["run_id"]))
            now = address.here()
    run = look.run(now.run)
    with header():
        picker.pick_run(now, run)
        if run is not None:
            parts = look.parts(run)
            part = look.part_shown(run, parts, now.part)
            picker.pick_view(now)
            picker.pick_part(now, parts, part)
            picker.pick_errata(now, run)
    if run is None:
        picker.no_run(now.run)
        return
    if not picker.ask_to_unseal(run, part):
        return
    picker.trouble(run)
    _view(now, run, part)


def _view(now: Address, run: dict[str, object], part: str) -> None:
    if now.view == "Triage":
        triage.triage(run, part)
        return
    without = notes.shown_without(now, run)
    if now.view == "Confusions":
        confusions.confusions(run, part, without)
        return
    if now.view == "Tags":
        tags.tags(run, part, without)
        return
    found = figures.figures(run, part, without)
    if not found.groups:
        overview.nothing_here(part)
    else:
        overview.overview(now, run, found)
