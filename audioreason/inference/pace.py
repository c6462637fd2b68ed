"""How many samples to have in flight: as many as allowed, fewer when the server has too much to do.

Starts at the full width, or at what this server bore last time (`read_width`). Additive increase,
multiplicative decrease (Chiu and Jain 1989, as in TCP): halving on a 429, a 503 or a timeout, a little more
per round after that. It climbs only while more in flight means more done, that is while latency holds. Knows
nothing about HTTP; time comes from the caller.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from audioreason.workspace import write_atomic

_SMALLEST_ROUND = 8  # requests: fewer say too little about latency
_WIDER, _MORE = 1.2, 1.05  # a round 20% wider that gets less than 5% more done has hit the server's ceiling
_WIDTHS = "widths.json"
_HOLD_ROUNDS = 8  # rounds to stay at a ceiling before trying again


@dataclass(frozen=True, slots=True)
class Sent:
    """When a request was sent (seconds on the caller's clock), how many samples were in flight then, its own
    among them, and how many of them were its own."""

    at: float
    in_flight: int
    samples: int = 1


class Pace:
    """The limit on samples in flight, between 1 and `most`, and a moment before which nothing is sent.

    `first` is the limit at the start; None means `most`.
    """

    def __init__(self, most: int, first: int | None = None) -> None:
        self.most = max(1, most)
        self.blocked_until = 0.0
        self._limit = float(min(self.most, max(1, first or self.most)))
        self._climbing = self._limit < self.most
        self._last_backoff = float("-inf")
        self._hold = 0
        self._best: tuple[float, float] | None = None  # (mean in flight, work per second) of the last climb
        self._round = _Round(self.limit)

    @property
    def limit(self) -> int:
        """Samples allowed in flight now."""
        return int(self._limit)

    def succeeded(self, sent: Sent, seconds: float, tokens: int) -> None:
        """A request took `seconds` and produced `tokens` (0 if the server does not count)."""
        if not self._climbing:
            return
        if self._hold == 0:
            self._limit = min(self.most, self._limit + self._step / self._limit * sent.samples)
        self._round.add(sent, seconds, tokens)
        if self._round.complete:
            self._finish_round()

    def overloaded(self, sent: Sent, now: float, retry_after: float | None = None) -> None:
        """The server had too much to do: halve, once per round trip, and wait if it asked for that."""
        if retry_after is not None:
            self.blocked_until = max(self.blocked_until, now + retry_after)
        if sent.at <= self._last_backoff:
            return  # sent before the last halving, which it knew nothing of
        self._last_backoff = now
        self._limit = max(1.0, min(self._limit, sent.in_flight) / 2)
        self._climbing = True
        self._hold = 0
        self._best = None
        self._round = _Round(self.limit)

    @property
    def borne(self) -> int | None:
        """The limit that the server was found to bear; None if it bore all that was allowed."""
        return self.limit if self._climbing and self.limit < self.most else None

    @property
    def _step(self) -> float:
        return max(1.0, self.most / 32)

    def _finish_round(self) -> None:
        width, rate = self._round.width, self._round.rate
        if self._hold > 0:
            self._hold -= 1
        elif self._best is None or rate >= self._best[1] * _MORE:
            self._best = (width, rate)
        elif width >= self._best[0] * _WIDER:  # this try at the ceiling went too far: back to where it began
            self._limit = max(1.0, self._best[0])
            self._best = None
            self._hold = _HOLD_ROUNDS
        self._round = _Round(self.limit)


class _Round:
    """What was seen over about one round trip of everything that was in flight when it began."""

    def __init__(self, limit: int) -> None:
        self._enough = limit
        self._requests = 0
        self._count = 0
        self._in_flight = 0
        self._seconds = 0.0
        self._tokens = 0

    def add(self, sent: Sent, seconds: float, tokens: int) -> None:
        self._requests += 1
        self._count += sent.samples
        self._in_flight += sent.in_flight * sent.samples
        self._seconds += seconds * sent.samples
        self._tokens += tokens

    @property
    def complete(self) -> bool:
        """Whether as much was seen as was in flight at its beginning."""
        return self._count >= self._enough and self._requests >= _SMALLEST_ROUND

    @property
    def width(self) -> float:
        """Mean number of samples in flight."""
        return self._in_flight / self._count

    @property
    def rate(self) -> float:
        """Tokens per second (answers, where nobody counts tokens), by Little's law: in flight / latency."""
        work = self._tokens or self._count
        return self.width * work / max(self._seconds, 1e-9)


def read_width(folder: Path, server: str) -> int | None:
    """How many samples in flight `server` (its URL and model) bore last time; None if nothing is known."""
    width = _read_widths(folder).get(server)
    return width if isinstance(width, int) and width > 0 else None


def write_width(folder: Path, server: str, width: int | None) -> None:
    """Keep what `read_width` returns, in `folder`/widths.json; None forgets it.

    Raises:
        WorkspaceError: if the folder cannot be written.
    """
    widths = _read_widths(folder)
    if widths.get(server) == width:
        return
    kept = {name: value for name, value in widths.items() if name != server}
    if width is not None:
        kept[server] = width
    write_atomic(folder / _WIDTHS, json.dumps(kept, indent=2) + "\n")


def _read_widths(folder: Path) -> dict[str, object]:
    try:
        value = json.loads((folder / _WIDTHS).read_bytes())
    except (OSError, ValueError):  # a cache: whatever is wrong with it, it is made again
        return {}
    return value if isinstance(value, dict) else {}
