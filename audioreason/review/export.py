"""Annotations as a file: CSV for spreadsheets, JSON lines for programs, Markdown for people. Pure text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from audioreason.runs.cells import inert

FORMATS = ("csv", "jsonl", "md")
_COLUMNS = ("kind", "dataset", "run_id", "item_id", "sample", "value", "note", "created")


def exported(rows: Sequence[Mapping[str, Any]], form: str) -> str:
    """Rows (kind, dataset, run_id, item_id, sample, value, note, created in seconds since 1970) as text."""
    plain = [
        {name: row[name] for name in _COLUMNS}
        | {"created": datetime.fromtimestamp(row["created"], UTC).isoformat(timespec="seconds")}
        for row in rows
    ]
    if form == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in plain)
    if form == "md":
        lines = ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
        lines += ["| " + " | ".join(_cell(row[name]) for name in _COLUMNS) + " |" for row in plain]
        return "\n".join(lines) + "\n"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([_csv(row[name]) for name in _COLUMNS] for row in plain)
    return text.getvalue()


def _csv(value: Any) -> Any:
    if isinstance(value, str):
        return inert(value)
    return "" if value is None else value


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
