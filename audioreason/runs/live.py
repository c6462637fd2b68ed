"""Follow a run that is still being written: read and score each new line of its JSONL once.

Knows one file that grows; knows nothing about tables or other runs.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from audioreason.runs.derive import score_prediction
from audioreason.runs.record import RunRecord
from audioreason.runs.snapshot import read_items
from audioreason.runs.storage import decode_line, read_lines, supersedes

_CHUNK = 64  # lines between two looks at the clock


class LiveRun:
    """The predictions.jsonl of one run, read from where the last look ended.

    `known` says which (item number, sample) are there already, and whether with an answer.
    `complete` is False while a look had to end before the file did.
    """

    def __init__(self, folder: Path, record: RunRecord, known: dict[tuple[int, int], bool]) -> None:
        self.path = folder / "predictions.jsonl"
        self.complete = False
        self.unreadable = 0
        self._record = record
        self._items = {item.id: (number, item) for number, item in enumerate(read_items(folder))}
        self._known = known
        self._offset = 0

    def shrunk(self) -> bool:
        """Whether the file is shorter than what was read of it: somebody replaced it."""
        return self.path.exists() and self.path.stat().st_size < self._offset

    def poll(self, deadline: float | None) -> tuple[list[dict[str, Any]], bool]:
        """Scored rows for the table of predictions, and whether some of them replace earlier ones.

        Stops at `deadline` (of `time.monotonic`), if there is one.

        Raises:
            OSError: if the file cannot be read.
        """
        rows: dict[tuple[int, int], dict[str, Any]] = {}
        replaces = False
        self.complete = True
        for count, (offset, line) in enumerate(read_lines(self.path, self._offset), 1):
            if count % _CHUNK == 0 and deadline is not None and time.monotonic() > deadline:
                self.complete = False
                break
            self._offset = offset + len(line)
            prediction = decode_line(line)
            if (
                prediction is None
                or prediction.item_id not in self._items
                or not 0 <= prediction.sample < self._record.samples
            ):
                self.unreadable += 1
                continue
            number, item = self._items[prediction.item_id]
            key = (number, prediction.sample)
            ok = prediction.error is None
            if key in self._known and not supersedes(ok, self._known[key]):
                continue
            replaces = replaces or (key in self._known and key not in rows)
            self._known[key] = ok
            result = score_prediction(prediction, item, self._record.expected_sections)
            rows[key] = {
                "item_no": number,
                "sample": prediction.sample,
                "place": -1 - offset,
                "choice": result.choice,
                "rule": result.rule,
                "strict": result.strict,
                "official": result.official,
                "outcome": result.outcome,
                "thinking_chars": result.thinking_chars,
                "answer_chars": result.answer_chars,
                "prompt_tokens": prediction.prompt_tokens,
                "completion_tokens": prediction.completion_tokens,
                "seconds": prediction.seconds,
                "error_kind": prediction.error_kind,
            }
        return list(rows.values()), replaces
