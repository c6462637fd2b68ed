"""The trials of a search, written as they end, and the best so far. Knows nothing about DSPy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from audioreason.optimize.asking import Ledger
from audioreason.optimize.judge import Judged
from audioreason.optimize.parts import Parts
from audioreason.optimize.record import Recorder, now, read_lines
from audioreason.optimize.shapes import State, Trial, TrialKind, Verdict
from audioreason.progress import Progress


class Trials:
    """Counts trials, keeps the best full dev score, and writes both down.

    In a replay the trials come again, in the same order with the same items, and what is on disk stands.
    """

    def __init__(
        self, recorder: Recorder, parts: Parts, state: State, ledger: Ledger, progress: Progress
    ) -> None:
        self._recorder = recorder
        self._parts = parts
        self._state = state
        self._ledger = ledger
        self._progress = progress
        self._old = {one.n: one for one in read_lines(recorder.folder, Trial)}
        self._judged = {(one.candidate, one.item_id) for one in read_lines(recorder.folder, Verdict)}
        self._count = 0
        self._began = time.monotonic()
        self._before = ledger.spent.model_copy()
        self.best: str | None = None
        self.best_score: float | None = None
        self.full: dict[str, float] = {}  # mean over all of dev, by candidate

    def begin(self) -> None:
        """A trial begins."""
        self._began = time.monotonic()
        self._before = self._ledger.spent.model_copy()

    def end(self, candidate: str, item_ids: Sequence[str], judged: Sequence[Judged] | None) -> None:
        """A trial is over; None for the answers of a prompt that the server refuses."""
        self._count += 1
        split, kind = self._kind(item_ids)
        score = sum(one.value for one in judged) / len(judged) if judged else 0.0
        if kind == "full":
            self.full[candidate] = score
            if self.best_score is None or score > self.best_score:
                self.best, self.best_score = candidate, score
        old = self._old.get(self._count)
        if old is None or (old.candidate, old.items) != (candidate, tuple(item_ids)):
            spent, before = self._ledger.spent, self._before
            self._recorder.append(
                Trial(
                    n=self._count,
                    candidate=candidate,
                    kind=kind,
                    split=split,
                    items=tuple(item_ids),
                    score=score,
                    best_so_far=self.best_score,
                    seconds=round(time.monotonic() - self._began, 3),
                    tokens=spent.tokens - before.tokens,
                    requests=spent.requests - before.requests,
                    created=now(),
                )
            )
        self._progress.done(
            self._count, "" if self.best_score is None else f"best on dev {self.best_score:.1%}"
        )
        self._progress.metrics(self._count, score=score, best=self.best_score or 0.0)
        self.save()

    def verdict(self, candidate: str, judged: Judged, split: Literal["train", "dev"]) -> None:
        """Write down what one answer was worth, once."""
        key = (candidate, judged.item.id)
        if key in self._judged:
            return
        self._judged.add(key)
        found = judged.score
        self._recorder.append(
            Verdict(
                candidate=candidate,
                item_id=judged.item.id,
                sample=0,
                split=split,
                strict=found.strict,
                official=found.official,
                outcome=found.outcome,
                choice=found.resolution.index,
                score=judged.value,
                request_hash=judged.answer.request_hash,
            )
        )

    def save(self) -> None:
        """Write `state.json`; a replay's poorer best does not hide the known one."""
        state = self._state
        state.spent = self._ledger.spent
        state.spent.seconds = round(self._ledger.seconds(), 1)
        if self.best_score is not None and (state.best_score is None or self.best_score >= state.best_score):
            state.best, state.best_score = self.best, self.best_score
        self._recorder.state(state)

    def _kind(self, item_ids: Sequence[str]) -> tuple[Literal["train", "dev"], TrialKind]:
        asked = set(item_ids)
        if asked <= set(self._parts.train):
            return "train", "reflection"
        return "dev", "full" if asked >= set(self._parts.dev) else "minibatch"
