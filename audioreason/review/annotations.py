"""Tags, notes and errata in `lab.sqlite`: on disk at once, any number of tabs and processes, with undo.

A tag or a note belongs to one prediction of a run; an erratum to an item of a dataset, whatever the run. Runs
have tags of their own, such as "paper" or "draft", which find them again.
Knows nothing about scores, figures or pages.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from audioreason.errors import RunError
from audioreason.review.export import FORMATS, exported
from audioreason.workspace import Workspace

ErratumKind = Literal["wrong", "ambiguous"]
Key = dict[str, str | int]

STARTER_TAGS = (
    "missed an event",
    "heard what is not there",
    "wrong count",
    "wrong order or time",
    "wrong source or speaker",
    "misheard words",
    "misread the question",
    "heard right, reasoned wrong",
    "answer contradicts reasoning",
    "guessed",
)
_KEYS = 9  # the first tags are given by the keys 1 to 9
_LONGEST_TAG = 60

_TABLES = (
    "CREATE TABLE IF NOT EXISTS tag (name TEXT PRIMARY KEY, place INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS tagged (run_id TEXT, item_id TEXT, sample INTEGER, tag TEXT,"
    " created REAL NOT NULL, PRIMARY KEY (run_id, item_id, sample, tag))",
    "CREATE TABLE IF NOT EXISTS note (run_id TEXT, item_id TEXT, sample INTEGER, text TEXT NOT NULL,"
    " created REAL NOT NULL, PRIMARY KEY (run_id, item_id, sample))",
    "CREATE TABLE IF NOT EXISTS erratum (dataset TEXT, item_id TEXT, kind TEXT NOT NULL, note TEXT NOT NULL,"
    " created REAL NOT NULL, PRIMARY KEY (dataset, item_id))",
    "CREATE TABLE IF NOT EXISTS run_tag (run_id TEXT, tag TEXT, created REAL NOT NULL,"
    " PRIMARY KEY (run_id, tag))",
    # `before` is what stood there: a JSON list of [table, key, row or null]
    "CREATE TABLE IF NOT EXISTS annotation_log (seq INTEGER PRIMARY KEY AUTOINCREMENT, actor TEXT NOT NULL,"
    " words TEXT NOT NULL, before TEXT NOT NULL, undone INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL)",
)


@dataclass(frozen=True)
class Tag:
    """A tag, the number key that gives it (1 to 9, or None), and how many predictions have it."""

    name: str
    key: int | None
    count: int


@dataclass(frozen=True)
class Erratum:
    """Somebody's finding that an item is wrong (its gold choice is not right) or ambiguous."""

    item_id: str
    kind: ErratumKind
    note: str


class Annotations:
    """The annotations of a workspace, as one `actor` changes them: undo takes back that actor's steps only.

    Every call is a transaction of its own, so that tabs, threads and processes may share a workspace.
    """

    def __init__(self, workspace: Workspace, actor: str = "lab") -> None:
        self._workspace = workspace
        self._actor = actor

    def version(self) -> int:
        """A number that grows with every change by anybody."""
        with self._tables() as database:
            row = database.execute("SELECT max(seq) AS seq FROM annotation_log").fetchone()
        return int(row["seq"] or 0)

    def tags(self) -> list[Tag]:
        """Every tag, the starter set first."""
        with self._tables() as database:
            rows = database.execute(
                "SELECT name, (SELECT count(*) FROM tagged WHERE tag = name) AS n FROM tag ORDER BY place"
            ).fetchall()
        return [
            Tag(row["name"], number if number <= _KEYS else None, row["n"])
            for number, row in enumerate(rows, start=1)
        ]

    def add_tag(self, name: str) -> None:
        """Add a tag to the end of the list; one that is there stays as it is.

        Raises:
            RunError: if the name is empty or too long.
        """
        name = _tag_name(name)
        with self._step(f"added the tag “{name}”") as put:
            _add_tag(put, name)

    def remove_tag(self, name: str) -> None:
        """Remove a tag from the list and from every prediction that has it."""
        with self._step(f"removed the tag “{name}”") as put:
            for row in put.database.execute("SELECT * FROM tagged WHERE tag = ?", (name,)).fetchall():
                put("tagged", {name: row[name] for name in ("run_id", "item_id", "sample", "tag")}, None)
            put("tag", {"name": name}, None)

    def set_tag(self, run_id: str, item_id: str, sample: int, tag: str, on: bool) -> None:
        """Give a prediction a tag, or take it away; a tag that is new joins the list.

        Raises:
            RunError: if the tag's name is empty or too long.
        """
        tag = _tag_name(tag) if on else tag
        words = f"{'gave' if on else 'took'} “{tag}” {'to' if on else 'from'} {item_id}"
        with self._step(words) as put:
            key: Key = {"run_id": run_id, "item_id": item_id, "sample": sample, "tag": tag}
            if on:
                _add_tag(put, tag)
            put("tagged", key, {"created": time.time()} if on else None)

    def tags_of(self, run_id: str) -> dict[tuple[str, int], tuple[str, ...]]:
        """The tags of a run's predictions by (item id, sample), in the order of the list."""
        with self._tables() as database:
            rows = database.execute(
                "SELECT item_id, sample, tag FROM tagged LEFT JOIN tag ON tag.name = tagged.tag"
                " WHERE run_id = ? ORDER BY tag.place, tagged.tag",
                (run_id,),
            ).fetchall()
        found: dict[tuple[str, int], tuple[str, ...]] = {}
        for row in rows:
            place = (row["item_id"], row["sample"])
            found[place] = (*found.get(place, ()), row["tag"])
        return found

    def run_tags(self) -> dict[str, tuple[str, ...]]:
        """The tags of every run that has any, by its id, in the order of the alphabet."""
        with self._tables() as database:
            rows = database.execute("SELECT run_id, tag FROM run_tag ORDER BY run_id, tag").fetchall()
        found: dict[str, tuple[str, ...]] = {}
        for row in rows:
            found[row["run_id"]] = (*found.get(row["run_id"], ()), row["tag"])
        return found

    def tag_run(self, run_id: str, tag: str, on: bool) -> None:
        """Give a run a tag, or take it away; whether there is such a run is the caller's to know.

        Raises:
            RunError: if the tag's name is empty or too long.
        """
        tag = _tag_name(tag)
        with self._step(f"{'gave' if on else 'took'} “{tag}” {'to' if on else 'from'} {run_id}") as put:
            put("run_tag", {"run_id": run_id, "tag": tag}, {"created": time.time()} if on else None)

    def note(self, run_id: str, item_id: str, sample: int) -> str:
        """The note on a prediction, "" if there is none."""
        with self._tables() as database:
            row = database.execute(
                "SELECT text FROM note WHERE run_id = ? AND item_id = ? AND sample = ?",
                (run_id, item_id, sample),
            ).fetchone()
        return str(row["text"]) if row else ""

    def set_note(self, run_id: str, item_id: str, sample: int, text: str) -> None:
        """Replace the note on a prediction; an empty text removes it."""
        with self._step(f"changed the note on {item_id}") as put:
            key: Key = {"run_id": run_id, "item_id": item_id, "sample": sample}
            put("note", key, {"text": text, "created": time.time()} if text.strip() else None)

    def errata(self, dataset: str) -> dict[str, Erratum]:
        """The marked items of a dataset by id, oldest mark first."""
        with self._tables() as database:
            rows = database.execute(
                "SELECT item_id, kind, note FROM erratum WHERE dataset = ? ORDER BY created", (dataset,)
            ).fetchall()
        return {row["item_id"]: Erratum(row["item_id"], row["kind"], row["note"]) for row in rows}

    def mark(self, dataset: str, item_id: str, kind: ErratumKind | None, note: str = "") -> None:
        """Mark an item as wrong or ambiguous, or take the mark away with None.

        Raises:
            RunError: if the kind is another word.
        """
        if kind not in ("wrong", "ambiguous", None):
            raise RunError(f"An item cannot be marked {kind!r}.", "Mark it wrong or ambiguous.")
        with self._step(f"marked {item_id} {kind}" if kind else f"unmarked {item_id}") as put:
            row = {"kind": kind, "note": note, "created": time.time()} if kind else None
            put("erratum", {"dataset": dataset, "item_id": item_id}, row)

    def undo(self) -> str | None:
        """Take back this actor's last step that is not taken back yet.

        What another actor has changed since stays as it is, and so does a tag that predictions still have.

        Returns:
            What was undone, in words; None if there is nothing left.
        """
        with self._tables() as database:
            row = database.execute(
                "SELECT seq, words, before FROM annotation_log"
                " WHERE actor = ? AND undone = 0 ORDER BY seq DESC LIMIT 1",
                (self._actor,),
            ).fetchone()
            if row is None:
                return None
            changed = _changed_since(database, row["seq"], self._actor)
            kept = False
            for table, key, before in reversed(json.loads(row["before"])):
                if _place(table, key) in changed:
                    kept = True
                elif table != "tag" or before is not None or not _given(database, key["name"]):
                    _restore(database, table, key, before)
            database.execute("UPDATE annotation_log SET undone = 1 WHERE seq = ?", (row["seq"],))
            _log(database, self._actor, f"undid: {row['words']}", [], undone=True)
        return f"{row['words']} (what others changed since is kept)" if kept else str(row["words"])

    def export(self, form: str = "csv") -> str:
        """Every tag, note and erratum, and the tags of runs, as one text: csv, jsonl, or md.

        Raises:
            RunError: for another format.
        """
        if form not in FORMATS:
            raise RunError(
                f"Annotations cannot be exported as {form!r}.", f"Choose one of {', '.join(FORMATS)}."
            )
        with self._tables() as database:
            rows = [dict(row) for row in database.execute(_EVERYTHING).fetchall()]
        return exported(rows, form)

    @contextmanager
    def _step(self, words: str) -> Iterator[_Step]:
        """One undoable step; a step that changes nothing is not logged."""
        with self._tables() as database:
            step = _Step(database)
            yield step
            if step.before:
                _log(database, self._actor, words, step.before)

    @contextmanager
    def _tables(self) -> Iterator[sqlite3.Connection]:
        with self._workspace.sqlite() as database:
            known = {row["name"] for row in database.execute("SELECT name FROM sqlite_master")}
            if not {"annotation_log", "run_tag"} <= known:  # a new lab, or one from before runs had tags
                for statement in _TABLES:
                    database.execute(statement)
                if "tag" not in known:
                    database.executemany(
                        "INSERT INTO tag VALUES (?, ?)",
                        [(name, place) for place, name in enumerate(STARTER_TAGS)],
                    )
            yield database


class _Step:
    """Changes of one step, with what stood there before each."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        self.before: list[tuple[str, Key, dict[str, Any] | None]] = []

    def __call__(self, table: str, key: Key, row: Mapping[str, Any] | None) -> None:
        """Put the row at the key, or remove what is there with None."""
        where = " AND ".join(f"{name} = ?" for name in key)
        found = self.database.execute(
            f"SELECT * FROM {table} WHERE {where}",  # noqa: S608 - our own tables and columns
            tuple(key.values()),
        ).fetchone()
        before = dict(found) if found else None
        if row is None and before is None:
            return
        _restore(self.database, table, key, None if row is None else {**key, **row})
        self.before.append((table, key, before))


def _changed_since(database: sqlite3.Connection, seq: int, actor: str) -> set[str]:
    """The places that other actors changed after a step, and did not take back."""
    rows = database.execute(
        "SELECT before FROM annotation_log WHERE seq > ? AND actor <> ? AND undone = 0", (seq, actor)
    ).fetchall()
    return {_place(table, key) for row in rows for table, key, _ in json.loads(row["before"])}


def _place(table: str, key: Key) -> str:
    return json.dumps([table, key], sort_keys=True)


def _given(database: sqlite3.Connection, tag: str) -> bool:
    """Whether any prediction has the tag."""
    return database.execute("SELECT 1 FROM tagged WHERE tag = ? LIMIT 1", (tag,)).fetchone() is not None


def _tag_name(text: str) -> str:
    name = " ".join(text.split())
    if not 1 <= len(name) <= _LONGEST_TAG:
        raise RunError(f"A tag has 1 to {_LONGEST_TAG} characters.", "Choose another name.")
    return name


def _add_tag(put: _Step, name: str) -> None:
    if put.database.execute("SELECT 1 FROM tag WHERE name = ?", (name,)).fetchone() is None:
        last = put.database.execute("SELECT max(place) AS place FROM tag").fetchone()["place"]
        put("tag", {"name": name}, {"place": 0 if last is None else last + 1})


def _restore(database: sqlite3.Connection, table: str, key: Key, row: Mapping[str, Any] | None) -> None:
    where = " AND ".join(f"{name} = ?" for name in key)
    database.execute(f"DELETE FROM {table} WHERE {where}", tuple(key.values()))  # noqa: S608
    if row is not None:
        marks = ", ".join("?" * len(row))
        database.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})",  # noqa: S608 - our own columns
            tuple(row.values()),
        )


def _log(
    database: sqlite3.Connection,
    actor: str,
    words: str,
    before: list[tuple[str, Key, dict[str, Any] | None]],
    undone: bool = False,
) -> None:
    database.execute(
        "INSERT INTO annotation_log (actor, words, before, undone, created) VALUES (?, ?, ?, ?, ?)",
        (actor, words, json.dumps(before), undone, time.time()),
    )


_EVERYTHING = """
SELECT 'tag' AS kind, NULL AS dataset, run_id, item_id, sample, tag AS value, '' AS note, created FROM tagged
UNION ALL SELECT 'note', NULL, run_id, item_id, sample, text, '', created FROM note
UNION ALL SELECT 'run tag', NULL, run_id, NULL, NULL, tag, '', created FROM run_tag
UNION ALL SELECT 'erratum', dataset, NULL, item_id, NULL, kind, note, created FROM erratum
ORDER BY kind, dataset, run_id, item_id, sample, value
"""
