"""The catalog's tables: what queries group, filter and sort by, in memory. Answers themselves stay on disk.

`runs` and `totals` (a run's counts and sums for each part of its items) hold every run. `items`,
`predictions` and `item_scores` (an item's means over its samples) hold only the runs that a question has
named; `place` says where a prediction's text is (a row number of predictions.parquet, or -1 minus a byte
offset in predictions.jsonl).

Knows how rows get in; knows nothing about which runs there are or when they change.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from audioreason.runs.record import RunRecord

_TABLES = """
CREATE TABLE runs (
    run_no INTEGER, run_id VARCHAR, folder VARCHAR, created VARCHAR, kind VARCHAR, status VARCHAR,
    dataset VARCHAR, dataset_hash VARCHAR, dataset_size INTEGER, split VARCHAR, prompt VARCHAR,
    prompt_version VARCHAR, model VARCHAR, endpoint VARCHAR, samples INTEGER, temperature DOUBLE, seed BIGINT,
    ablation VARCHAR, n INTEGER, scorer VARCHAR);
CREATE TABLE items (
    run_no INTEGER, item_no INTEGER, item_id VARCHAR, part VARCHAR, cluster VARCHAR, fingerprint VARCHAR,
    question VARCHAR, choices VARCHAR[], answer VARCHAR, gold INTEGER, modality VARCHAR, layer VARCHAR,
    subcategory VARCHAR, language VARCHAR, source VARCHAR, family VARCHAR, difficulty INTEGER);
CREATE TABLE predictions (
    run_no INTEGER, item_no INTEGER, sample INTEGER, place BIGINT, choice INTEGER, rule VARCHAR,
    strict BOOLEAN, official BOOLEAN, outcome VARCHAR, thinking_chars INTEGER, answer_chars INTEGER,
    prompt_tokens INTEGER, completion_tokens INTEGER, seconds DOUBLE, error_kind VARCHAR);
CREATE TABLE item_scores (
    run_no INTEGER, item_no INTEGER, samples INTEGER, answered INTEGER, strict DOUBLE, official DOUBLE,
    errors INTEGER, prompt_tokens DOUBLE, completion_tokens DOUBLE, seconds DOUBLE);
CREATE TABLE totals (
    run_no INTEGER, part VARCHAR, items INTEGER, recorded INTEGER, answered INTEGER, errors INTEGER,
    rated INTEGER, strict DOUBLE, official DOUBLE, prompt_tokens DOUBLE, with_prompt_tokens INTEGER,
    completion_tokens DOUBLE, with_completion_tokens INTEGER, seconds DOUBLE, with_seconds INTEGER);
CREATE TABLE playground (
    id VARCHAR, file VARCHAR, place BIGINT, created VARCHAR, dataset VARCHAR, item_id VARCHAR, prompt VARCHAR,
    prompt_version VARCHAR, model VARCHAR, endpoint VARCHAR, error_kind VARCHAR, completion_tokens INTEGER,
    seconds DOUBLE);
"""
LISTED = ("runs", "totals")
ROWS = ("items", "predictions", "item_scores")

_TYPES = {"INTEGER": pa.int32(), "BIGINT": pa.int64(), "DOUBLE": pa.float64(), "VARCHAR": pa.string()}


def _schema(table: str) -> pa.Schema:
    columns = _TABLES.split(f"CREATE TABLE {table} (")[1].split(")")[0].split(",")
    return pa.schema([(name, _TYPES[kind]) for name, kind in map(str.split, columns)])


RUNS = _schema("runs")
TOTALS = _schema("totals")

INCOMING = pa.schema(
    [
        ("item_no", pa.int32()),
        ("sample", pa.int32()),
        ("place", pa.int64()),
        ("choice", pa.int32()),
        ("rule", pa.string()),
        ("strict", pa.bool_()),
        ("official", pa.bool_()),
        ("outcome", pa.string()),
        ("thinking_chars", pa.int32()),
        ("answer_chars", pa.int32()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
        ("seconds", pa.float64()),
        ("error_kind", pa.string()),
    ]
)

PLAYGROUND = pa.schema(
    [
        ("id", pa.string()),
        ("file", pa.string()),
        ("place", pa.int64()),
        ("created", pa.string()),
        ("dataset", pa.string()),
        ("item_id", pa.string()),
        ("prompt", pa.string()),
        ("prompt_version", pa.string()),
        ("model", pa.string()),
        ("endpoint", pa.string()),
        ("error_kind", pa.string()),
        ("completion_tokens", pa.int32()),
        ("seconds", pa.float64()),
    ]
)


def connect() -> duckdb.DuckDBPyConnection:
    """An in-memory database with empty tables; it never fetches an extension."""
    connection = duckdb.connect(
        ":memory:", config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    )
    connection.execute(_TABLES)
    return connection


def drop_runs(cursor: duckdb.DuckDBPyConnection, run_nos: Sequence[int], kept_in: Sequence[str] = ()) -> None:
    """Take runs out of every table but those that they are `kept_in`."""
    if run_nos:
        for table in (*LISTED, *ROWS):
            if table not in kept_in:
                cursor.execute(f"DELETE FROM {table} WHERE {_among(run_nos)}")  # noqa: S608 - numbers


def run_row(folder: Path, record: RunRecord, status: str, scorer: str) -> list[Any]:
    """A run's own row of the table `runs`, without its number."""
    prompt, endpoint, sampling = record.prompt, record.endpoint, record.sampling
    return [
        record.run_id,
        str(folder),
        record.created.isoformat(timespec="seconds"),
        record.kind,
        status,
        record.dataset.name,
        record.dataset.hash,
        record.dataset.size,
        record.split,
        prompt.name if prompt else None,
        prompt.version if prompt else None,
        endpoint.model if endpoint else None,
        endpoint.name if endpoint else None,
        record.samples,
        sampling.temperature if sampling else None,
        record.seed,
        record.ablation,
        record.n_items,
        scorer,
    ]


def insert(
    cursor: duckdb.DuckDBPyConnection, table: str, schema: pa.Schema, rows: Sequence[Sequence[Any]]
) -> None:
    """Add whole rows to a table, in one go."""
    if not rows:
        return
    columns = [
        pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)
    ]
    cursor.register("incoming", pa.Table.from_arrays(columns, schema=schema))
    try:
        cursor.execute(f"INSERT INTO {table} SELECT * FROM incoming")  # noqa: S608 - our own names
    finally:
        cursor.unregister("incoming")


def add_rows(
    cursor: duckdb.DuckDBPyConnection, runs: Sequence[tuple[int, Path]], scores: Sequence[Path | None]
) -> None:
    """Add the items of these (run number, folder), and the predictions of those that have scores.

    Raises:
        duckdb.Error: if one of the files is not whole, or lacks a column.
    """
    add_items(cursor, runs)
    scored = [(run, path) for run, path in zip(runs, scores, strict=True) if path is not None]
    if scored:
        add_finished(cursor, [run for run, _ in scored], [path for _, path in scored])
        add_item_scores(cursor, [number for (number, _), _ in scored])


def totals(cursor: duckdb.DuckDBPyConnection, run_nos: Sequence[int]) -> list[tuple[Any, ...]]:
    """The rows of the table `totals` for these runs, from the rows of theirs that were added."""
    return cursor.execute(
        f"""
        SELECT i.run_no, i.part, count(*), count(s.run_no), count(*) FILTER (s.answered > 0),
               count(*) FILTER (s.answered = 0), count(s.strict), sum(s.strict), sum(s.official),
               sum(s.prompt_tokens), count(s.prompt_tokens), sum(s.completion_tokens),
               count(s.completion_tokens), sum(s.seconds), count(s.seconds)
        FROM items i LEFT JOIN item_scores s USING (run_no, item_no)
        WHERE {_among(run_nos)} GROUP BY i.run_no, i.part ORDER BY ALL
        """  # noqa: S608 - numbers
    ).fetchall()


def totals_of(folder: Path, scores: Path) -> list[tuple[Any, ...]]:
    """The same of one finished run alone, without the run's number.

    Raises:
        duckdb.Error: if one of its files is not whole.
    """
    with closing(connect()) as connection:
        add_rows(connection, [(0, folder)], [scores])
        return [row[1:] for row in totals(connection, [0])]


def _among(run_nos: Sequence[int]) -> str:
    return f"run_no IN ({', '.join(map(str, run_nos))})"


def add_items(cursor: duckdb.DuckDBPyConnection, runs: Sequence[tuple[int, Path]]) -> None:
    """Add the items of these (run number, folder), all in one query over their Parquet files.

    Raises:
        duckdb.Error: if one of the files is not whole, or lacks a column.
    """
    cursor.execute(
        """
        INSERT INTO items
        SELECT r.run_no, i.item_no, i.item_id, i.part, i.cluster, i.fingerprint, i.question, i.choices,
               i.answer, i.gold, i.modality, i.layer, i.subcategory, i.language, i.source, i.family,
               i.difficulty
        FROM read_parquet(?, filename = true, union_by_name = true) i
        JOIN (SELECT unnest(?) AS run_no, unnest(?) AS file) r ON i.filename = r.file
        """,
        [*_files(runs, "items.parquet")],
    )


def add_finished(
    cursor: duckdb.DuckDBPyConnection, runs: Sequence[tuple[int, Path]], scores: Sequence[Path]
) -> None:
    """Add the predictions of finished runs, whose `scores` are given in the same order; items come first.

    Raises:
        duckdb.Error: if one of the files is not whole, or lacks a column.
    """
    files, numbers, names = _files(runs, "predictions.parquet")
    score_files = [str(path) for path in scores]
    cursor.execute(
        """
        INSERT INTO predictions
        WITH r AS (SELECT unnest(?) AS run_no, unnest(?) AS file, unnest(?) AS score_file)
        SELECT r.run_no, i.item_no, p.sample, p.file_row_number, s.choice, s.rule, s.strict, s.official,
               s.outcome, s.thinking_chars, s.answer_chars, p.prompt_tokens, p.completion_tokens, p.seconds,
               p.error_kind
        FROM read_parquet(?, filename = true, file_row_number = true, union_by_name = true) p
        JOIN r ON p.filename = r.file
        JOIN items i ON i.run_no = r.run_no AND i.item_id = p.item_id
        JOIN (SELECT * FROM read_parquet(?, filename = true, union_by_name = true)) s
          ON s.filename = r.score_file AND s.item_id = p.item_id AND s.sample = p.sample
        """,
        [numbers, names, score_files, files, score_files],
    )


def add_live(
    cursor: duckdb.DuckDBPyConnection, run_no: int, rows: Sequence[dict[str, Any]], replaces: bool
) -> None:
    """Add scored predictions of one run; with `replaces`, earlier ones of the same key give way."""
    incoming = pa.Table.from_pylist(list(rows), INCOMING)
    cursor.register("incoming", incoming)
    try:
        if replaces:
            cursor.execute(
                "DELETE FROM predictions WHERE run_no = ? AND (item_no, sample) IN"
                " (SELECT item_no, sample FROM incoming)",
                [run_no],
            )
        cursor.execute("INSERT INTO predictions SELECT ?::INTEGER, * FROM incoming", [run_no])
    finally:
        cursor.unregister("incoming")


def add_item_scores(cursor: duckdb.DuckDBPyConnection, run_nos: Sequence[int]) -> None:
    """Compute every item's means over its samples anew for these runs."""
    cursor.execute(f"DELETE FROM item_scores WHERE {_among(run_nos)}")  # noqa: S608 - numbers
    cursor.execute(
        f"""
        INSERT INTO item_scores
        SELECT run_no, item_no, count(*), count(*) FILTER (outcome <> 'server_error'), avg(strict::INTEGER),
               avg(official::INTEGER), count(*) FILTER (outcome = 'server_error'), avg(prompt_tokens),
               avg(completion_tokens), avg(seconds) FILTER (outcome <> 'server_error')
        FROM predictions WHERE {_among(run_nos)} GROUP BY run_no, item_no
        """  # noqa: S608 - numbers
    )


def add_playground(cursor: duckdb.DuckDBPyConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Add generations; one whose id is there already is left out."""
    cursor.register("incoming", pa.Table.from_pylist(list(rows), PLAYGROUND))
    try:
        cursor.execute(
            "INSERT INTO playground SELECT * FROM incoming WHERE id NOT IN (SELECT id FROM playground)"
        )
    finally:
        cursor.unregister("incoming")


def _files(runs: Sequence[tuple[int, Path]], name: str) -> tuple[list[str], list[int], list[str]]:
    files = [str(folder / name) for _, folder in runs]
    return files, [number for number, _ in runs], files
