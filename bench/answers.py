"""The answer reader: how often it reads what a careful grader reads, and how fast.

The collected replies and the traces stand beside a checkout of this project, not in it; without them only the
speed is measured.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from audioreason.answers import RawResponse, read, score
from audioreason.items.schema import Item
from bench.report import write
from bench.rest import PROBLEMS, SAMPLES, tables

SHARED = Path(__file__).resolve().parents[2] / "shared"
TARGET = 12.5  # seconds of CPU for 66,448 candidates: what the reader before this one took
_CHOICES = ("one dog", "two dogs", "three dogs", "four dogs")
_FORMS = (
    "HEARD: a bell at 0.5 s\nANALYSIS: {text}\nANSWER: {choice}",
    "<think>{text}</think>\n{choice}",
    "{text} The answer is {letter}.",
    "{text}\n\n**Answer: ({letter}) {choice}**",
)


def main() -> None:
    """Accuracy on the collected replies and the traces, then the time for ReST's candidates."""
    rows = [row for row in (_replies(), _traces()) if row]
    if rows:
        write("answers", rows)
    write("answers_speed", [_speed()])


def _replies() -> dict[str, Any] | None:
    file = SHARED / "cases" / "answers.jsonl"
    if not file.exists():
        return None
    tally: Counter[str] = Counter()
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found = read(RawResponse(row["said"], row.get("thinking"), "stop"), row["choices"]).resolution
        verdict = _verdict(found.index, row["want"])
        tally[verdict] += 1
        if verdict != "right":
            print(f"{verdict}: {row['said'][:200]!r} of {row['choices']}: read {found.index} by {found.rule}")
    return _row("collected replies", tally)


def _traces() -> dict[str, Any] | None:
    """Real traces: nobody has read each by hand, so it counts what was read and what is right by gold."""
    folder = SHARED / "mmar"
    if not folder.exists():
        return None
    lines = (folder / "MMAR-meta.jsonl").read_text(encoding="utf-8").splitlines()
    items = {item.id: item for item in map(Item.model_validate_json, lines)}
    tally: Counter[str] = Counter()
    for line in (folder / "traces-500.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        item = items[row["id"]]
        found = score(
            RawResponse(row["answer_prediction"], row["thinking_prediction"]),
            choices=item.choices,
            answer=item.answer,
            gold=item.gold,
        )
        tally[found.outcome] += 1
    print(f"500 traces: {dict(tally)}; strict {tally['correct']} of {tally.total()}")
    return None


def _verdict(index: int | None, wanted: int | None) -> str:
    if index == wanted:
        return "right"
    if index is None:
        return "lost"
    return "guessed" if wanted is None else "wrong"


def _row(name: str, tally: Counter[str]) -> dict[str, Any]:
    return {
        "what": name,
        "replies": tally.total(),
        "right": tally["right"],
        "accuracy": f"{100 * tally['right'] / tally.total():.1f}%",
        "lost": tally["lost"],
        "read as a wrong choice": tally["wrong"],
        "guessed": tally["guessed"],
    }


def _speed() -> dict[str, Any]:
    candidates, _ = tables()
    replies = [
        RawResponse(
            _FORMS[n % 4].format(text=text, choice=_CHOICES[n % 3], letter="ABC"[n % 3]), finish_reason="stop"
        )
        for n, text in enumerate(candidates["text"])
    ]
    start = time.process_time()
    unread = sum(read(reply, _CHOICES).resolution.index is None for reply in replies)
    used = time.process_time() - start
    return {
        "candidates": PROBLEMS * SAMPLES,
        "unread": unread,
        "CPU seconds": round(used, 1),
        "of the target of 12.5 s": f"{100 * used / TARGET:.0f}%",
    }


if __name__ == "__main__":
    main()
