"""One playground generation: from item, prompt and endpoint through the hub to `scratch/`, and back by id.

A generation is found the same way while it streams and long after: the hub knows the living ones, the
scratch files the others. Knows nothing about pages.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.answers import RawResponse, Score, score
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.hub import GenerationHub, GenerationSpec, Snapshot, State
from audioreason.inference.messages import build_messages
from audioreason.items import Dataset, Item
from audioreason.items.own import delete_own_item
from audioreason.prompts import Prompt
from audioreason.runs.record import PromptRef, dataset_ref, endpoint_ref, prompt_ref
from audioreason.runs.rendering import render_for
from audioreason.runs.scratch import Generation, append_generation, delete_generations, generations_at
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.runs.catalog import Catalog


@dataclass(frozen=True)
class Ask:
    """Everything that decides an answer. `clip` is the prepared clip that is sent, None to send no audio.

    `ablation` says what was done to the clip ("silence", "noise", "other clip", "no audio"); "" for nothing.
    The endpoint must be ready: a model and a transport are known (`inference.probe.ready_endpoint`).
    """

    dataset: Dataset | None
    item: Item
    clip: Path | None
    prompt: Prompt
    endpoint: Endpoint
    sampling: Sampling
    seed: int
    ablation: str = ""


@dataclass(frozen=True)
class Play:
    """An answer in the playground as it stands, live or kept."""

    id: str
    state: State
    item: Item
    prompt: PromptRef
    model: str
    sampling: Sampling
    seed: int
    ablation: str
    created: str
    raw: RawResponse
    error: str | None
    problem: str | None
    first_token: float | None  # seconds; None before it, and for kept generations
    seconds: float | None
    tokens: int | None
    tokens_per_second: float | None
    prompt_tokens: int | None

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ("done", "stopped", "failed")

    @functools.cached_property
    def score(self) -> Score:
        """What became of it; while it streams, of what has come so far. A failed one scores as an error."""
        failed = self.error if self.state == "failed" else None
        return score(
            self.raw,
            choices=self.item.choices,
            answer=self.item.answer,
            gold=self.item.gold,
            expected_sections=self.prompt.sections,
            error=failed,
        )


def start(workspace: Workspace, hub: GenerationHub, ask: Ask) -> str:
    """Begin a generation and return its id; it is kept in `scratch/` however it ends.

    Raises:
        PromptError: if the prompt cannot be filled in for the item.
    """
    rendered = render_for(ask.prompt, ask.item)
    item = ask.item.model_copy(update={"ablation": ask.ablation}) if ask.ablation else ask.item
    recipe = {
        "dataset": dataset_ref(ask.dataset) if ask.dataset else None,
        "item": item,
        "prompt": prompt_ref(ask.prompt),
        "endpoint": endpoint_ref(ask.endpoint),
        "sampling": ask.sampling,
        "seed": ask.seed,
    }

    def keep(final: Snapshot) -> None:
        append_generation(workspace, _generation(final))

    return hub.start(
        GenerationSpec(
            endpoint=ask.endpoint,
            messages=lambda: build_messages(rendered, ask.clip, ask.endpoint.transport),
            sampling=ask.sampling,
            seed=ask.seed,
            meta=recipe,
        ),
        on_done=keep,
    )


def recall(catalog: Catalog, hub: GenerationHub, generation_id: str) -> Play | None:
    """A generation by id: from the hub while it knows it, else from the scratch files; None if unknown."""
    snapshot = hub.snapshot(generation_id)
    if snapshot is not None:
        return _living(snapshot)
    found = catalog.query("SELECT file, place FROM playground WHERE id = $id LIMIT 1", {"id": generation_id})
    for row in found.itertuples(index=False):
        place = int(str(row.place))
        generation = generations_at(Path(str(row.file)), [place]).get(place)
        if generation is not None and generation.id == generation_id:
            return _kept(generation)
    return None


def recall_all(catalog: Catalog, hub: GenerationHub, ids: Sequence[str]) -> list[Play]:
    """The known ones of these generations, in order."""
    return [play for play in (recall(catalog, hub, one) for one in ids) if play is not None]


def _generation(final: Snapshot) -> Generation:
    recipe: dict[str, Any] = dict(final.meta)
    return Generation(
        id=final.id,
        created=datetime.fromisoformat(final.created),
        content=final.text,
        reasoning=final.reasoning or None,
        finish_reason=final.finish_reason or ("stopped" if final.state == "stopped" else None),
        error=final.error,
        error_kind=final.error_kind,
        prompt_tokens=final.usage.prompt_tokens if final.usage else None,
        completion_tokens=final.usage.completion_tokens if final.usage else None,
        seconds=final.seconds,
        **recipe,
    )


def _living(snapshot: Snapshot) -> Play:
    meta = snapshot.meta
    item: Item = meta["item"]
    finish = snapshot.finish_reason or ("stopped" if snapshot.state == "stopped" else None)
    return Play(
        id=snapshot.id,
        state=snapshot.state,
        item=item,
        prompt=meta["prompt"],
        model=snapshot.endpoint.model,
        sampling=snapshot.sampling,
        seed=snapshot.seed,
        ablation=_ablation(item),
        created=snapshot.created,
        raw=RawResponse(snapshot.text, snapshot.reasoning or None, finish),
        error=snapshot.error,
        problem=snapshot.problem,
        first_token=snapshot.first_token,
        seconds=snapshot.seconds,
        tokens=snapshot.tokens,
        tokens_per_second=snapshot.tokens_per_second,
        prompt_tokens=snapshot.usage.prompt_tokens if snapshot.usage else None,
    )


def _kept(generation: Generation) -> Play:
    state: State = "done"
    if generation.error is not None:
        state = "failed"
    elif generation.finish_reason == "stopped":
        state = "stopped"
    return Play(
        id=generation.id,
        state=state,
        item=generation.item,
        prompt=generation.prompt,
        model=generation.endpoint.model,
        sampling=generation.sampling,
        seed=generation.seed,
        ablation=_ablation(generation.item),
        created=generation.created.isoformat(timespec="seconds"),
        raw=RawResponse(generation.content, generation.reasoning, generation.finish_reason),
        error=generation.error,
        problem=None,
        first_token=None,
        seconds=generation.seconds,
        tokens=generation.completion_tokens,
        tokens_per_second=None,
        prompt_tokens=generation.prompt_tokens,
    )


def _ablation(item: Item) -> str:
    return str((item.model_extra or {}).get("ablation", ""))


def forget_own_item(workspace: Workspace, item_id: str) -> int:
    """Delete one of the researcher's own items with its clip and every playground generation about it.

    Returns:
        How many generations were deleted.

    Raises:
        WorkspaceError: if the disk is full; a file is rewritten whole or not at all.
    """
    delete_own_item(workspace, item_id)
    return delete_generations(workspace, lambda generation: generation.item.id == item_id)
