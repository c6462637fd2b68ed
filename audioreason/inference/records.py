"""What goes into the batch road and what comes out of it: a request, and a record of each of its samples.

Knows nothing about sending.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from audioreason.inference.messages import Messages


@dataclass(frozen=True, slots=True)
class Request:
    """One request: `n` samples of an item, numbered from `sample`, drawn with `seed` and those after it.

    Servers draw choice i of a request with seed + i, and that is the seed of its record. `only` are the
    sample numbers that are wanted, when a group is asked again for what is missing of it; None are all.
    `messages` may be a function, called when the request is sent: then memory holds only the clips that are
    in flight.
    """

    item_id: str
    sample: int
    seed: int
    messages: Messages | Callable[[], Messages]
    n: int = 1
    only: frozenset[int] | None = None

    def wants(self, offset: int) -> bool:
        """Whether choice `offset` is to be recorded."""
        return self.only is None or self.sample + offset in self.only


@dataclass(frozen=True, slots=True)
class RawRecord:
    """What became of one sample: what the server said, or (`error`, `error_kind`) why it said nothing.

    The fields are those of `predictions.jsonl`. `seed` is None if the server takes none. `seconds` is the
    last attempt alone; `attempt` counts from 1 (0: never sent); `created` is UTC, ISO format.
    `tokens_estimated`: `completion_tokens` is a share of what the server counted for several choices.
    `error_kind` is a fault's kind, `not_sent` when the server had been given up before, or `unbuildable` when
    the item's messages could not be built.
    """

    item_id: str
    sample: int
    seed: int | None
    content: str | None = None
    reasoning: str | None = None
    finish_reason: str | None = None
    error: str | None = None
    error_kind: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    tokens_estimated: bool = False
    seconds: float = 0.0
    created: str = ""
    attempt: int = 0

    def to_json(self) -> bytes:
        """One line of `predictions.jsonl`, without the newline."""
        return orjson.dumps(self)
