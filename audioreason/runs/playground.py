"""Questions about playground generations: found in memory; read and scored only for what is shown."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.runs.derive import score_prediction
from audioreason.runs.scratch import Generation, generations_at

if TYPE_CHECKING:
    import pandas as pd

    from audioreason.runs.catalog import Catalog


def rows(
    catalog: Catalog, dataset: str | None = None, item_id: str | None = None, limit: int = 50, offset: int = 0
) -> pd.DataFrame:
    """Playground generations, newest first, of one dataset or one item if given.

    Returns:
        id, created, dataset, item_id, question, prompt, prompt_version, model, endpoint, seed, content,
        reasoning, finish_reason, error, choice_text, strict, official, outcome, completion_tokens, seconds.
    """
    import pandas as pd

    found = catalog.query(
        """
        SELECT id, file, place FROM playground
        WHERE ($dataset IS NULL OR dataset = $dataset) AND ($item IS NULL OR item_id = $item)
        ORDER BY created DESC, file DESC, place DESC LIMIT $limit OFFSET $offset
        """,
        {"dataset": dataset, "item": item_id, "limit": limit, "offset": offset},
    )
    entries = list(zip(found["id"], found["file"], found["place"], strict=True))
    places: dict[str, set[int]] = defaultdict(set)
    for _, file, place in entries:
        places[file].add(int(place))
    read = {file: generations_at(Path(file), wanted) for file, wanted in places.items()}
    shown = [
        _row(generation)
        for name, file, place in entries
        if (generation := read[file].get(int(place))) is not None and generation.id == name
    ]
    return pd.DataFrame(shown, columns=list(_COLUMNS))


_COLUMNS = (
    "id",
    "created",
    "dataset",
    "item_id",
    "question",
    "prompt",
    "prompt_version",
    "model",
    "endpoint",
    "seed",
    "content",
    "reasoning",
    "finish_reason",
    "error",
    "choice_text",
    "strict",
    "official",
    "outcome",
    "completion_tokens",
    "seconds",
)


def _row(generation: Generation) -> dict[str, Any]:
    prediction = generation.prediction()
    scored = score_prediction(prediction, generation.item, generation.prompt.sections)
    return {
        "id": generation.id,
        "created": generation.created.isoformat(timespec="seconds"),
        "dataset": generation.dataset.name if generation.dataset else None,
        "item_id": generation.item.id,
        "question": generation.item.question,
        "prompt": generation.prompt.name,
        "prompt_version": generation.prompt.version,
        "model": generation.endpoint.model,
        "endpoint": generation.endpoint.name,
        "seed": generation.seed,
        "content": generation.content,
        "reasoning": generation.reasoning,
        "finish_reason": generation.finish_reason,
        "error": generation.error,
        "choice_text": scored.choice_text,
        "strict": scored.strict,
        "official": scored.official,
        "outcome": scored.outcome,
        "completion_tokens": generation.completion_tokens,
        "seconds": generation.seconds,
    }
