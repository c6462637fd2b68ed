"""The lab's own HTTP routes: clips and their spectrograms, by dataset and item id, never by path, and feeds.

They stand behind `access`, as everything does, and refuse other sites also where they are mounted alone. No
header ever allows another site. Knows nothing about pages.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable
from pathlib import Path

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from app import feeds, session
from app.access import refused
from audioreason.errors import ItemError
from audioreason.items.picture import spectrogram

_FOREVER = "private, max-age=31536000, immutable"  # addresses carry the clip's content hash

Handler = Callable[[Request], Awaitable[Response]]


def routes() -> list[Route]:
    """The routes to mount beside Streamlit's own."""
    return [
        Route("/api/audio/{dataset}/{item_id:path}", _guarded(audio), methods=["GET"]),
        Route("/api/spectrogram/{dataset}/{item_id:path}.png", _guarded(mel), methods=["GET"]),
        Route("/api/machine", _guarded(feeds.machine_now), methods=["GET"]),
        Route("/api/jobs", _guarded(feeds.jobs_now), methods=["GET"]),
        Route("/api/jobs/{job_id}", _guarded(feeds.job_now), methods=["GET"]),
    ]


async def audio(request: Request) -> Response:
    """The clip as it is in the dataset, or with `?form=model` the 16 kHz mono clip that models are sent."""
    path = await to_thread.run_sync(_clip, request, request.query_params.get("form") == "model")
    kind = mimetypes.guess_type(path.name)[0] or ""
    if not kind.startswith(("audio/", "video/")):
        kind = "application/octet-stream"
    return FileResponse(path, media_type=kind, headers=_headers(request))


async def mel(request: Request) -> Response:
    """The clip's grey mel spectrogram, 900 x 80 PNG."""

    def draw() -> Path:
        return spectrogram(_clip(request, True), session.workspace().cache)

    return FileResponse(await to_thread.run_sync(draw), media_type="image/png", headers=_headers(request))


def _clip(request: Request, prepared: bool) -> Path:
    data, item = session.with_clip(request.path_params["dataset"], request.path_params["item_id"])
    source = data.clip(item)
    if source is None:
        raise ItemError("The clip of this item is missing.")
    return session.prepared(source) if prepared else source


def _headers(request: Request) -> dict[str, str]:
    fixed = "v" in request.query_params
    return {"Cache-Control": _FOREVER if fixed else "no-cache", "X-Content-Type-Options": "nosniff"}


def _guarded(handler: Handler) -> Handler:
    async def guarded(request: Request) -> Response:
        if refused(request.scope):
            return PlainTextResponse("This lab answers only its own pages.", status_code=403)
        try:
            return await handler(request)
        except ItemError as error:
            return PlainTextResponse(str(error), status_code=404)
        except (OSError, ValueError):  # a name that no file can have
            return PlainTextResponse("There is nothing under this address.", status_code=404)

    return guarded
