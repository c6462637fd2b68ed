"""A desk in `lab.sqlite`: drafts, saved versions of prompts, pinned items, sealed items that were opened.

A saved prompt is also a file, `workspace/prompts/NAME.md`; the table remembers every version it ever had.
Knows nothing about pages, and nothing about what a prompt scored: the catalog does.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from audioreason.errors import PromptError
from audioreason.prompts import Prompt, dump_prompt, parse_prompt
from audioreason.workspace import Workspace, write_atomic

_TABLES = (
    "CREATE TABLE IF NOT EXISTS draft (key TEXT PRIMARY KEY, value TEXT NOT NULL, changed REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS prompt_version (name TEXT, version TEXT, text TEXT NOT NULL,"
    " note TEXT NOT NULL, created REAL NOT NULL, PRIMARY KEY (name, version))",
    "CREATE TABLE IF NOT EXISTS pin (dataset TEXT, item_id TEXT, created REAL NOT NULL,"
    " PRIMARY KEY (dataset, item_id))",
    "CREATE TABLE IF NOT EXISTS sealed_opened (dataset TEXT, item_id TEXT, created REAL NOT NULL,"
    " PRIMARY KEY (dataset, item_id))",
)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


@dataclass(frozen=True)
class SavedVersion:
    """One version a prompt had when it was saved; `created` is seconds since 1970."""

    prompt: Prompt
    note: str
    created: float

    @property
    def version(self) -> str:
        """Hash of the version's text."""
        return self.prompt.version


def save_draft(workspace: Workspace, key: str, value: dict[str, Any]) -> None:
    """Keep what is being edited, so that it survives a refresh and a restart; replaces the draft at `key`."""
    with _tables(workspace) as database:
        database.execute(
            "INSERT OR REPLACE INTO draft VALUES (?, ?, ?)", (key, json.dumps(value), time.time())
        )


def load_draft(workspace: Workspace, key: str) -> dict[str, Any] | None:
    """The draft kept at `key`, or None."""
    with _tables(workspace) as database:
        row = database.execute("SELECT value FROM draft WHERE key = ?", (key,)).fetchone()
    return dict(json.loads(row["value"])) if row else None


def drop_draft(workspace: Workspace, key: str) -> None:
    """Forget the draft at `key`; nothing happens if there is none."""
    with _tables(workspace) as database:
        database.execute("DELETE FROM draft WHERE key = ?", (key,))


def save_prompt(workspace: Workspace, prompt: Prompt, note: str = "") -> SavedVersion:
    """Write `prompts/NAME.md` and remember the version; saving the same text again only updates the note.

    Raises:
        PromptError: if the name cannot be a file's name.
        WorkspaceError: if the disk refuses.
    """
    if not _NAME.fullmatch(prompt.name):
        raise PromptError(
            f"{prompt.name!r} cannot be the name of a prompt.",
            "Use lower-case letters, digits, dots, dashes and underscores, at most 80.",
        )
    text = dump_prompt(prompt)
    now = time.time()
    write_atomic(workspace.prompts / f"{prompt.name}.md", text)
    with _tables(workspace) as database:
        database.execute(
            "INSERT INTO prompt_version VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (name, version) DO UPDATE SET note = excluded.note, created = excluded.created",
            (prompt.name, prompt.version, text, note, now),
        )
    return SavedVersion(prompt, note, now)


def versions(workspace: Workspace, name: str) -> list[SavedVersion]:
    """Every saved version of a prompt, newest first."""
    with _tables(workspace) as database:
        rows = database.execute(
            "SELECT text, note, created FROM prompt_version WHERE name = ? ORDER BY created DESC", (name,)
        ).fetchall()
    return [SavedVersion(parse_prompt(row["text"], name), row["note"], row["created"]) for row in rows]


def set_pin(workspace: Workspace, dataset: str, item_id: str, pinned: bool) -> None:
    """Pin an item, or unpin it."""
    with _tables(workspace) as database:
        if pinned:
            database.execute("INSERT OR IGNORE INTO pin VALUES (?, ?, ?)", (dataset, item_id, time.time()))
        else:
            database.execute("DELETE FROM pin WHERE dataset = ? AND item_id = ?", (dataset, item_id))


def pins(workspace: Workspace, dataset: str) -> tuple[str, ...]:
    """Ids of the pinned items of a dataset, oldest pin first."""
    with _tables(workspace) as database:
        rows = database.execute(
            "SELECT item_id FROM pin WHERE dataset = ? ORDER BY created", (dataset,)
        ).fetchall()
    return tuple(row["item_id"] for row in rows)


def note_opened(workspace: Workspace, dataset: str, item_id: str) -> None:
    """Record that somebody looked at the gold answer of a sealed item."""
    with _tables(workspace) as database:
        database.execute(
            "INSERT OR IGNORE INTO sealed_opened VALUES (?, ?, ?)", (dataset, item_id, time.time())
        )


def opened(workspace: Workspace, dataset: str) -> frozenset[str]:
    """Ids of the sealed items whose gold answer somebody looked at."""
    with _tables(workspace) as database:
        rows = database.execute("SELECT item_id FROM sealed_opened WHERE dataset = ?", (dataset,)).fetchall()
    return frozenset(row["item_id"] for row in rows)


@contextmanager
def _tables(workspace: Workspace) -> Iterator[sqlite3.Connection]:
    with workspace.sqlite() as database:
        for statement in _TABLES:
            database.execute(statement)
        yield database
