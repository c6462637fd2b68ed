"""What polling components are told: `/api/machine`, `/api/jobs` and `/api/jobs/ID`, as JSON.

Reads only; every action goes through a page. What has a stamp is left out of an answer to whoever has it.
Knows nothing about how anything looks.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from app.jobs import look, shown
from app.light import light_now
from audioreason.engines.gpus import Gpu
from audioreason.errors import LabError
from audioreason.jobs.watch import JobView
from audioreason.wording import counted

_ENDED = 200  # ended jobs listed
_LEVELS = ("", "WARNING", "ERROR")


async def machine_now(request: Request) -> Response:
    """What the light in the header shows."""
    return await _told(light_now)


async def jobs_now(request: Request) -> Response:
    """The lists of jobs; with `?job=ID` that one in full, with the end of its log by `level` and `find`."""
    query = dict(request.query_params)
    return await _told(lambda: told(query))


async def job_now(request: Request) -> Response:
    """One job as a card, with the accuracy of its run so far."""
    job_id = str(request.path_params["job_id"])
    return await _told(lambda: one_card(job_id))


async def _told(answer: Callable[[], dict[str, Any]]) -> Response:
    def dumped() -> bytes:
        try:
            return orjson.dumps(answer())
        except LabError as error:
            return orjson.dumps({"problem": str(error)})

    body = await to_thread.run_sync(dumped)
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


def told(query: Mapping[str, str]) -> dict[str, Any]:
    """What the Jobs page shows; `list` and `log` in the query are the stamps it has already."""
    jobs = look.jobs()
    queued = [view for view in jobs if view.state == "queued"]
    ended = [view for view in jobs if view.over]
    running = [view for view in jobs if not view.over and view.state != "queued"]
    answer: dict[str, Any] = {
        "counts": [len(running), len(queued)],
        "gpus": [_gpu(gpu) for gpu in look.gpus()],
        "running": [shown.card(view, look.parts(view)) for view in running],
    }
    lists = {
        "queued": [{"id": view.id, "cells": [view.title, look.why(view)]} for view in queued],
        "ended": [shown.row(view) for view in ended[:_ENDED]],
        "count": len(ended),
    }
    stamp = f"{zlib.crc32(orjson.dumps(lists)):08x}"
    if query.get("list") != stamp:
        answer["list"] = lists | {"stamp": stamp}
    if job_id := query.get("job"):
        answer |= _in_full(job_id, query)
    return answer


def _gpu(gpu: Gpu) -> list[str]:
    return [f"{gpu.used / 1024:.1f}", f"of {gpu.total / 1024:.0f} GB on GPU {gpu.index}"]


def _in_full(job_id: str, query: Mapping[str, str]) -> dict[str, Any]:
    view = look.one(job_id)
    if view is None:
        return {"job": {"id": job_id, "signature": f"{job_id} gone"}}
    rated = [] if view.over else _rated(view, 10.0)
    job = shown.live(view, look.used(view), look.why(view), look.parts(view), rated)
    job["metrics"] = look.metrics_size(job_id)
    answer: dict[str, Any] = {"job": job}
    if not view.children:
        level = query.get("level", "")
        log = look.log(job_id, level if level in _LEVELS else "", query.get("find", "").strip())
        if query.get("log") != log.stamp:
            lines = [(line.time[11:19], line.level, line.text.replace("\0", "�")) for line in log.lines]
            answer["log"] = {"stamp": log.stamp, "job": job_id, "lines": lines}
    return answer


def one_card(job_id: str) -> dict[str, Any]:
    """One job as a card; an empty one if there is none."""
    view = look.one(job_id)
    if view is None:
        return {"job": None, "problem": f"There is no job {job_id}."}
    return {"job": shown.card(view, look.parts(view), _rated(view, 3.0))}


def _rated(view: JobView, every: float) -> list[shown.Part]:
    """The accuracy of the job's run so far, with its interval and number of items."""
    found = look.accuracy_so_far(view, every)
    if found is None:
        return []
    value, low, high, rated = found
    return [
        [f"{100 * value:.1f}%", "strong"],
        [f"{100 * low:.1f} to {100 * high:.1f}, {counted(rated, 'item')} rated", "grey"],
    ]
