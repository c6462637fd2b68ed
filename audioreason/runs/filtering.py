"""Filters of predictions as SQL: which runs, items, outcomes, texts.

Conditions on items are settled first where one run is asked for, so that a million predictions are scanned by
number and joined with nothing. Texts are searched on disk. Knows nothing about pages or sorting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from audioreason.errors import RunError
from audioreason.runs.accuracy import group_sql
from audioreason.runs.storage import PREDICTIONS, first_line

if TYPE_CHECKING:
    from audioreason.runs.catalog import Catalog

# a filter's single value -> SQL
_SINGLE = {"choice": "p.choice", "strict": "p.strict", "official": "p.official"}
_LONGEST_LINE = 64 << 20  # bytes of one JSONL line that a text search reads


@dataclass(frozen=True)
class Filter:
    """Which predictions; an empty tuple or None means any. `text` is searched for, whatever its case, in
    answers, reasoning and questions; `choice` and `gold` are indexes, `given_text` and `gold_text` texts of
    choices; `part` is explore, sealed, train ... Ranges include their low end and not their high one:
    `agreement` is the share of the item's answered samples that make its commonest choice, `chars` counts
    reasoning and answer. `only` and `never` are (item id, sample), `without` ids of items.
    """

    runs: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    part: tuple[str, ...] = ()
    layer: tuple[str, ...] = ()
    subcategory: tuple[str, ...] = ()
    modality: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    choice: int | None = None
    gold: int | None = None
    strict: bool | None = None
    official: bool | None = None
    text: str = ""
    gold_text: str = ""
    given_text: str = ""
    agreement: tuple[float | None, float | None] = (None, None)
    chars: tuple[int | None, int | None] = (None, None)
    only: tuple[tuple[str, int], ...] | None = None
    never: tuple[tuple[str, int], ...] = ()
    without: frozenset[str] = frozenset()


def conditions(catalog: Catalog, where: Filter) -> tuple[list[str], dict[str, Any]]:
    """SQL conditions over p (prediction) and i (item), and their arguments.

    Values are arguments one by one, which DuckDB checks against a column's statistics; a list it would join.

    Raises:
        RunError: if a run is unknown, or a text cannot be searched for.
    """
    clauses: list[str] = []
    of_items: list[str] = []
    arguments: dict[str, Any] = {}

    def among(into: list[str], column: str, name: str, values: Sequence[str]) -> None:
        if values:
            names = {f"{name}_{number}": value for number, value in enumerate(values)}
            arguments.update(names)
            into.append(f"{column} IN ({', '.join(f'${each}' for each in names)})")

    def equal(into: list[str], column: str, name: str) -> None:
        value = getattr(where, name)
        if value is not None and value != "":
            into.append(f"{column} = ${name}")
            arguments[name] = value

    numbers = catalog.run_numbers(where.runs) if where.runs else None
    if numbers is None:
        catalog.load(None)
    if numbers is not None:
        clauses.append(f"p.run_no IN ({', '.join(map(str, numbers))})")
    among(clauses, "p.outcome", "outcome", where.outcome)
    for name, column in _SINGLE.items():
        equal(clauses, column, name)
    equal(clauses, "i.choices[p.choice + 1]", "given_text")
    clauses += _range("p.thinking_chars + p.answer_chars", where.chars)
    if where.agreement != (None, None):
        scope = "" if numbers is None else f"AND run_no IN ({', '.join(map(str, numbers)) or 'NULL'})"
        inside = " AND ".join(_range("agreement", where.agreement))
        of_runs = AGREEMENT.format(scope=scope)
        agreeing = f"SELECT (run_no, item_no) FROM ({of_runs}) WHERE {inside}"  # noqa: S608 - numbers
        clauses.append(f"(p.run_no, p.item_no) IN ({agreeing})")

    among(of_items, "i.item_id", "item", where.items)
    for name in ("part", "layer", "subcategory", "modality", "language"):
        among(of_items, group_sql(name), name, getattr(where, name))
    equal(of_items, "i.gold", "gold")
    equal(of_items, "i.choices[i.gold + 1]", "gold_text")
    if where.without:
        of_items.append("i.item_id NOT IN (SELECT unnest($without))")
        arguments["without"] = sorted(where.without)
    if where.only is not None:
        of_items.append("i.item_id IN (SELECT unnest($only_items::VARCHAR[]))")
        clauses.append("(i.item_id, p.sample) IN (SELECT (unnest($only_items), unnest($only_samples)))")
        arguments |= {
            "only_items": [item_id for item_id, _ in where.only],
            "only_samples": [sample for _, sample in where.only],
        }
    if where.never:
        clauses.append("(p.run_no, p.item_no, p.sample) NOT IN (" + _NEVER + ")")
        arguments |= {
            "never_items": [item_id for item_id, _ in where.never],
            "never_samples": [sample for _, sample in where.never],
        }
    if of_items and numbers is not None and len(numbers) == 1:
        clauses += _settled(catalog, numbers[0], " AND ".join(of_items), arguments)
    else:
        clauses += of_items
    if where.text:
        hits = _search(catalog, where.text, numbers)
        clauses.append(
            "(contains(lower(i.question), $text) OR (p.run_no, i.item_id, p.sample) IN"
            " (SELECT (unnest($hit_runs), unnest($hit_items), unnest($hit_samples))))"
        )
        arguments |= {
            "text": where.text.lower(),
            "hit_runs": [hit[0] for hit in hits],
            "hit_items": [hit[1] for hit in hits],
            "hit_samples": [hit[2] for hit in hits],
        }
    return clauses, arguments


# what is left out, as numbers: predictions need not be joined with their items for it
_NEVER = """
SELECT (n.run_no, n.item_no, t.sample) FROM (
    SELECT unnest($never_items) AS item_id, unnest($never_samples) AS sample) t
JOIN items n ON n.item_id = t.item_id
"""


def _settled(catalog: Catalog, run_no: int, condition: str, arguments: Mapping[str, Any]) -> list[str]:
    """A condition on the items of one run, as the numbers of those inside or outside, whichever are fewer."""
    items = catalog.query(
        f"SELECT item_no, coalesce({condition}, false) AS inside FROM items i WHERE run_no = $run",  # noqa: S608
        {**arguments, "run": run_no},
    )
    inside, outside = items["item_no"][items["inside"]], items["item_no"][~items["inside"]]
    if outside.empty:
        return []
    sign, fewer = ("IN", inside) if len(inside) <= len(outside) else ("NOT IN", outside)
    return [f"p.item_no {sign} ({', '.join(map(str, fewer)) or '-1'})"]


# the share of each item's answered samples that make its commonest choice
AGREEMENT = """
SELECT run_no, item_no, max(n) / sum(n) AS agreement FROM (
    SELECT run_no, item_no, choice, count(*) AS n FROM predictions
    WHERE outcome <> 'server_error' {scope} GROUP BY ALL) GROUP BY ALL
"""


def _range(column: str, bounds: tuple[float | None, float | None]) -> list[str]:
    """Conditions that a number is at least the first bound and below the second."""
    low, high = bounds
    return [
        f"{column} {sign} {float(bound)}" for sign, bound in ((">=", low), ("<", high)) if bound is not None
    ]


def _search(catalog: Catalog, text: str, runs: list[int] | None) -> list[tuple[int, str, int]]:
    """(run number, item id, sample) whose stored answer or reasoning contains `text`, whatever its case.

    Raises:
        RunError: if a file cannot be read.
    """
    try:
        return _search_files(catalog, text, runs)
    except duckdb.Error:
        catalog.refresh()  # a run finished, or broke, since the last look
    try:
        return _search_files(catalog, text, runs)
    except duckdb.Error as error:
        raise RunError(f"The runs cannot be searched ({first_line(error)}).", "Try again.") from error


def _search_files(catalog: Catalog, text: str, runs: list[int] | None) -> list[tuple[int, str, int]]:
    where = "" if runs is None else "AND run_no IN (SELECT unnest($runs))"
    places = catalog.query(
        f"SELECT run_no, folder FROM runs WHERE run_no IN (SELECT run_no FROM item_scores) {where}",  # noqa: S608
        {"runs": runs},
    )
    folders = list(zip(places["run_no"], places["folder"], strict=True))
    columns = {name: "INTEGER" if name == "sample" else "VARCHAR" for name in PREDICTIONS.names}
    hits: list[tuple[int, str, int]] = []
    # one query over all files of a form
    for name, reader in {
        "predictions.parquet": "read_parquet($files, filename = true, union_by_name = true)",
        "predictions.jsonl": "read_json($files, filename = true, format = 'newline_delimited',"
        f" ignore_errors = true, columns = {columns}, maximum_object_size = {_LONGEST_LINE})",
    }.items():
        files = {str(path): int(no) for no, folder in folders if (path := Path(folder) / name).exists()}
        if not files:
            continue
        rows = catalog.cursor().execute(
            f"""SELECT filename, item_id, sample FROM {reader}
            WHERE item_id IS NOT NULL
              AND (contains(lower(content), $text) OR contains(lower(reasoning), $text))
            """,  # noqa: S608 - our own reader
            {"files": list(files), "text": text.lower()},
        )
        hits += [(files[file], item_id, sample) for file, item_id, sample in rows.fetchall()]
    return hits
