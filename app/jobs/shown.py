"""Jobs as the browser is told about them: text with a tone, shares and numbers. Knows nothing of Streamlit.

A part is `[text, tone]` with the tones "", strong, grey, wrong; parts of a line are drawn with dots between.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from app.words import duration, when
from audioreason.jobs.resources import Usage
from audioreason.jobs.watch import JobView

Part = list[str]

_GIB = 2**30
_NAMES = 12  # phases of different names in a timeline
_BARS = 200
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 28_800)  # s


def card(view: JobView, parts: Sequence[JobView] = (), more: Sequence[Part] = ()) -> dict[str, Any]:
    """A job as a card; `more` stands behind its counts, instead of what its result says."""
    line = (ended_line(view)[: 2 if more else None]) if view.over else progress_line(view, parts)
    return {
        "id": view.id,
        "title": view.title,
        "share": share(view, parts) if view.total else None,
        "line": [*line, *more],
        "reason": _reason(view),
        "over": view.over,
        "stopping": view.state in ("stopping", "deleting"),
    }


def share(view: JobView, parts: Sequence[JobView] = ()) -> float:
    """How much of the phase, or of all parts of a matrix, is done, 0 to 1; 0 if its size is not known."""
    done, total = (view.done, view.total) if not parts else _all_of(parts)
    return round(min(1.0, done / total), 4) if total else 0.0


def _all_of(parts: Sequence[JobView]) -> tuple[float, float]:
    """Done and total of all parts; one whose size is not known yet counts like the others on average."""
    known = [part for part in parts if part.total]
    total = sum(part.total or 0 for part in known) * len(parts) / max(1, len(known))
    return sum(part.done for part in known), total


def progress_line(view: JobView, parts: Sequence[JobView] = ()) -> list[Part]:
    """Such as 612 of 1,000 · 8.4 /s · 46 s left · GPU 1 · generate; of a matrix the parts come first."""
    if parts:
        return _matrix_line(view, parts)
    line = [] if view.total is None else [[f"{view.done:,} of {view.total:,}", ""]]
    if view.total is None and view.done:
        line.append([f"{view.done:,}", ""])
    words = [f"{view.rate:.1f} /s"] if view.rate else []
    words += [f"{duration(view.eta)} left"] if view.eta is not None else []
    words += [f"GPU {', '.join(view.gpus)}"] if view.gpus else []
    words += [view.note] if view.note else []
    if view.ready:
        words.append("answers")
    elif view.state == "queued":
        words.append(view.reason or "queued")
    elif view.state != "running":
        words.append(view.state)
    else:
        words.append(view.phase or "running")
    return line + [[word, "grey"] for word in words]


def _matrix_line(view: JobView, parts: Sequence[JobView]) -> list[Part]:
    """Such as 3 of 8 jobs · 1,204 of 3,200 · 19.3 /s · 1 m 43 left · 1 failed."""
    done, total = _all_of(parts)
    over = sum(part.over for part in parts)
    line = [[f"{over} of {len(parts)} jobs", ""]]
    words = [f"{done:,.0f} of {total:,.0f}"] if total else []
    if view.rate:
        words += [f"{view.rate:.1f} /s", f"{duration((total - done) / view.rate)} left"]
    bad = sum(part.state in ("failed", "crashed") for part in parts)
    return [*line, *([word, "grey"] for word in words), *([[f"{bad} failed", "wrong"]] if bad else [])]


def ended_line(view: JobView) -> list[Part]:
    """Such as Finished after 2 m 05 · 440 of 440 · 56.1% strict: how it ended and how far it came first."""
    after = f" after {duration(view.seconds)}" if view.began else ""
    parts = [[f"{view.state.capitalize()}{after}", ""]]
    if view.total is not None:
        parts.append([f"{view.done:,} of {view.total:,}", "grey"])
    strict = _strict(view)
    if strict is not None and view.result is not None:
        low, high = (100 * bound for bound in strict["ci95"])
        parts.append([f"{100 * strict['accuracy']:.1f}% strict", "strong"])
        parts.append([f"{low:.1f} to {high:.1f}, {view.result['answered']:,} answered", "grey"])
    if unrated := (view.result or {}).get("unrated"):
        parts.append([f"{unrated:,} unrated: no gold among the choices", "grey"])
    unanswered = _unanswered(view)
    if unanswered:
        parts.append([f"{unanswered:,} not answered", "wrong"])
    return parts


def _unanswered(view: JobView) -> int:
    """Items of a finished run that the server gave no answer to: they are in no figure."""
    result = view.result or {}
    n, answered = result.get("n"), result.get("answered")
    return n - answered if view.over and isinstance(n, int) and isinstance(answered, int) else 0


def _reason(view: JobView) -> list[Part]:
    """Why it ended as it did, and what to do; nothing where all is well."""
    if not view.over or view.state == "finished" or not view.reason:
        return []
    bad = view.state in ("failed", "crashed") and not view.children
    hint = [[view.hint, "grey"]] if view.hint else []
    return [[view.reason, "wrong" if bad else "grey"], *hint]


def _strict(view: JobView) -> dict[str, Any] | None:
    strict = (view.result or {}).get("strict")
    return strict if isinstance(strict, dict) and strict.get("accuracy") is not None else None


def accuracy(view: JobView) -> str:
    """Strict accuracy of the run that a finished job made, as a percentage; "" if it made none."""
    strict = _strict(view)
    return "" if strict is None else f"{100 * strict['accuracy']:.1f}%"


def row(view: JobView) -> dict[str, Any]:
    """An ended job as a row: title, state, time, accuracy."""
    took = duration(view.seconds) if view.began else ""
    return {
        "id": view.id,
        "cells": [view.title, view.state, took, accuracy(view)],
        "bad": view.state in ("failed", "crashed"),
    }


def child(view: JobView) -> dict[str, Any]:
    """A part of a matrix as a row: title, state, how far, accuracy."""
    done = "" if view.total is None else f"{view.done:,} of {view.total:,}"
    return {
        "id": view.id,
        "cells": [view.title, view.state, done, accuracy(view)],
        "bad": view.state in ("failed", "crashed"),
        "share": 0.0 if view.over or view.state == "queued" else share(view),
    }


def signature(view: JobView) -> str:
    """What the buttons of a job depend on: while it stays the same, no script needs to run."""
    state = view.state if view.over or view.state in ("stopping", "deleting") else "active"
    return f"{view.id} {state} {len(view.children)} {len(view.runs)}"


def live(
    view: JobView,
    used: Usage | None,
    why: str,
    parts: Sequence[JobView],
    more: Sequence[Part] = (),
    now: float | None = None,
) -> dict[str, Any]:
    """Everything about one job that moves; `more` stands behind its numbers."""
    line = ended_line(view) if view.over else [*progress_line(view, parts), *more]
    if view.state == "queued":
        line = [["Queued", ""], [why if why.startswith("It ") else f"waits {why}", "grey"]]
    elif not view.over and view.began:
        line.append([duration(view.seconds), "grey"])
    return {
        "id": view.id,
        "signature": signature(view),
        "since": _since(view),
        "line": line,
        "share": None if view.over or not view.total else share(view, parts),
        "reason": _reason(view),
        "used": _used(used),
        "timeline": None if view.children else timeline(view, now),
        "children": [child(part) for part in parts],
    }


def _since(view: JobView) -> list[Part]:
    words = []
    if view.began:
        words.append(f"started {when(datetime.fromtimestamp(view.began, UTC))}")
    if view.attempt > 1:
        words.append(f"attempt {view.attempt}")
    return [[word, "grey"] for word in words]


def _used(used: Usage | None) -> list[Part]:
    """Number and unit, in turn."""
    if used is None:
        return []
    memory = f"{used.memory / _GIB:.1f} GB" if used.memory >= _GIB else f"{used.memory / 2**20:.0f} MB"
    cores = f"{used.cpu:.1f}" if used.cpu >= 1 else f"{used.cpu:.2f}"
    parts = [[cores, "cores"], [memory, "memory"]]
    if used.gpu_memory is not None:
        parts.append([f"{used.gpu_memory / 1024:.1f} GB", "GPU memory"])
    parts.append([f"{used.processes}", "process" if used.processes == 1 else "processes"])
    return parts


def timeline(view: JobView, now: float | None = None) -> dict[str, Any] | None:
    """A job's phases as rows of bars in percent of the axis, its ticks, and where now is.

    Time that passed between two attempts is left out. A bar's state is past, now, or next: what is expected
    of the phase under way. None if no phase has begun.
    """
    now = time.time() if now is None else now
    at, ended_before, attempt = 0.0, 0.0, 0
    alive = not view.over and view.state != "queued"
    bars: list[tuple[str, float, float, str]] = []
    moment = None
    for phase in view.phases[-_BARS:]:
        until = phase.ended or (now if alive else view.ended or phase.began)
        if phase.attempt == attempt:
            at += max(0.0, phase.began - ended_before)
        spent = max(0.0, until - phase.began)
        under_way = alive and phase.ended is None
        bars.append((phase.name, at, at + spent, "now" if under_way else "past"))
        at, ended_before, attempt = at + spent, until, phase.attempt
        if under_way:
            moment = at
            if view.eta:
                bars.append((phase.name, at, at + view.eta, "next"))
    if not bars:
        return None
    span, ticks = _axis(max(bar[2] for bar in bars))
    names = list(dict.fromkeys(bar[0] for bar in bars))[-_NAMES:]
    rows: Mapping[str, list[list[Any]]] = {name: [] for name in names}
    for name, began, until, state in bars:
        if name in rows:
            words = f"{name}: {duration(until - began)}{' left, by the present rate' * (state == 'next')}"
            width = round(100 * (until - began) / span, 3)
            rows[name].append([round(100 * began / span, 3), width, state, words])
    return {
        "rows": [{"id": name, "bars": found} for name, found in rows.items()],
        "ticks": ticks,
        "now": None if moment is None else round(100 * moment / span, 3),
    }


def _axis(span: float) -> tuple[float, list[list[Any]]]:
    """The end of a time axis, which moves rarely, and its ticks as percent and label."""
    step = next((step for step in _STEPS if span / step <= 6), None)
    if step is None:
        step = 86_400 * math.ceil(span / 86_400 / 6)
    end = step * max(1, math.ceil(span / step))
    scale, unit = (1, "s") if step < 60 else (60, "min") if step < 3_600 else (3_600, "h")
    if step == 30 and end > 60:
        scale, unit = 60, "min"
    ticks = [[round(100 * k * step / end, 3), f"{k * step / scale:g} {unit}"] for k in range(end // step + 1)]
    return float(end), ticks
