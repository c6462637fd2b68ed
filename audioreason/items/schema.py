"""The item: one multiple-choice question with its clip, in MMAR's schema, and the dataset that holds many.

Knows the format on disk; knows nothing about decoding sound, splits or scoring.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["benchmark", "training", "own"]
CueKind = Literal["words", "events", "none"]


class Event(BaseModel):
    """Something that can be heard in a clip between two times in seconds; known only by construction."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    start: float
    end: float


class Item(BaseModel):
    """One multiple-choice question with its clip.

    On disk the keys are MMAR's (`audio_path`, `category`, `sub-category`); unknown keys are kept.
    `answer` is the gold choice's text. `audio_path` is relative to the dataset's folder.
    """

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    id: str
    question: str
    choices: tuple[str, ...]
    answer: str
    audio_path: str | None = None
    modality: str | None = None
    layer: str | None = Field(default=None, alias="category")
    subcategory: str | None = Field(default=None, alias="sub-category")
    language: str | None = None
    source: str | None = None
    url: str | None = None
    timestamp: str | None = None
    thinking: str | None = None
    cue: tuple[str, ...] = ()
    rubric: tuple[dict[str, Any], ...] = ()
    # what Soundcheck knows by construction
    family: str | None = None
    difficulty: int | None = None
    seed: int | None = None
    events: tuple[Event, ...] = ()

    @property
    def gold(self) -> int | None:
        """Index of the gold choice: the only exact match, else the only match after trimming; else None."""
        exact = [i for i, choice in enumerate(self.choices) if choice == self.answer]
        if len(exact) == 1:
            return exact[0]
        trimmed = [i for i, choice in enumerate(self.choices) if choice.strip() == self.answer.strip()]
        return trimmed[0] if len(trimmed) == 1 else None

    def to_json(self) -> dict[str, Any]:
        """The item as it is written to `items.jsonl`: MMAR's keys, nothing that is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


class DatasetInfo(BaseModel):
    """`dataset.json`: what a dataset is, apart from its items."""

    model_config = ConfigDict(extra="allow")

    name: str
    title: str = ""
    kind: Kind = "own"
    cue_kind: CueKind = "none"
    licence: str = ""
    source: str = ""
    created: str = ""
    hash: str = ""  # content hash of items (and clips where present), 12 hex digits
    items_hash: str = ""  # the same without the clips
    items_file: str = (
        ""  # SHA-256 of items.jsonl when the hashes were taken: if it differs they are taken anew
    )
    item_count: int = 0
    clip_count: int = 0  # items whose clip is there
