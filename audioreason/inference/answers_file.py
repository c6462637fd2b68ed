"""Ask a model many small questions and append each answer to a JSONL file as it comes.

For work beside an evaluation: a judge's ratings and readings, invented choices. Failed requests are not
written, so the caller can ask for them again. Knows nothing about what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson

from audioreason.errors import RunError
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.runner import BatchSummary, RawRecord, Request, run_batch
from audioreason.progress import Progress
from audioreason.workspace import JsonlWriter


def append_answers(
    path: Path,
    requests: Iterable[Request],
    endpoint: Endpoint,
    sampling: Sampling,
    row: Callable[[RawRecord], dict[str, Any]],
    *,
    phase: str,
    total: int,
    already: int = 0,
    concurrency: int,
    progress: Progress,
    hint: str,
) -> BatchSummary:
    """Send the requests and append `row(answer)` for each that was answered.

    Args:
        path: the JSONL file; what it holds stays.
        requests, endpoint, sampling, concurrency, progress, total, already: as of `run_batch`.
        row: what is written about an answer.
        phase: the name of the phase in `progress`.
        hint: what to do after the model stopped answering.

    Raises:
        RunError: if the model stopped answering, or answered nothing; what was written stays.
        WorkspaceError: if the disk takes no more.
    """
    failed: list[str] = []
    writer = JsonlWriter(path)
    try:

        def keep(raw: RawRecord) -> None:
            if raw.error is not None:
                failed.append(raw.error)
            else:
                writer.append(orjson.dumps(row(raw)))

        summary = run_batch(
            requests,
            endpoint,
            sampling,
            on_record=keep,
            concurrency=concurrency,
            progress=progress,
            total=total,
            already=already,
            phase=phase,
        )
    finally:
        writer.close()
    if not summary.stopped and (summary.gave_up or (failed and not summary.answered)):
        raise RunError(f"{endpoint.model} stopped answering: {summary.gave_up or failed[-1]}", hint)
    return summary
