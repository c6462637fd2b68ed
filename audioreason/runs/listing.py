"""Questions about single predictions: a page of them, one of them whole, an item across runs, the playground.

Filters and sorts in memory; reads texts from disk only for what is shown, or searched for.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import orjson

from audioreason.errors import RunError
from audioreason.items import Item
from audioreason.runs.derive import Scored, score_prediction
from audioreason.runs.filtering import Filter, conditions
from audioreason.runs.record import Prediction, RunRecord, load_record
from audioreason.runs.storage import PREDICTIONS, first_line, flat, read_at

if TYPE_CHECKING:
    import pandas as pd

    from audioreason.runs.catalog import Catalog

SORTS: Mapping[str, str] = {
    "item": "p.item_no",
    "run": "r.created",
    "outcome": "p.outcome",
    "subcategory": "i.subcategory",
    "tokens": "p.completion_tokens",
    "seconds": "p.seconds",
    "thinking": "p.thinking_chars",
    "length": "p.thinking_chars + p.answer_chars",
}


@dataclass(frozen=True)
class Page:
    """Some predictions of all that a filter lets through.

    `rows` columns: run_id, item_id, sample, question, choices, gold, answer, choice (index), choice_text,
    outcome, rule, strict, official, part, layer, subcategory, modality, language, completion_tokens, seconds
    (of the request), thinking_chars, answer_chars, error_kind.
    """

    rows: pd.DataFrame
    total: int


@dataclass(frozen=True)
class Detail:
    """One prediction whole: the item as it was asked, what came back, and what became of it."""

    run_id: str
    item: Item
    prediction: Prediction
    scored: Scored

    def to_dict(self) -> dict[str, Any]:
        """Prediction and scores as one flat dict."""
        return {"run_id": self.run_id} | flat(self.prediction) | flat(self.scored)


def predictions(
    catalog: Catalog,
    where: Filter,
    sort: str = "item",
    descending: bool = False,
    limit: int = 50,
    offset: int = 0,
) -> Page:
    """One page of predictions, sorted by one of `SORTS` (then by run, item and sample).

    Raises:
        RunError: if a run or the sort is unknown.
    """
    if sort not in SORTS:
        raise RunError(f"Predictions cannot be sorted by {sort!r}.", f"Choose one of {', '.join(SORTS)}.")
    clauses, arguments = conditions(catalog, where)
    condition = " AND ".join(clauses) or "true"
    # joined only where needed: the table of predictions alone is scanned several times faster
    source = "predictions p"
    if "i." in condition + SORTS[sort]:
        source += " JOIN items i USING (run_no, item_no)"
    if "r." in SORTS[sort]:
        source += " JOIN runs r USING (run_no)"
    total = catalog.query(f"SELECT count(*) AS n FROM {source} WHERE {condition}", arguments)  # noqa: S608
    direction = "DESC" if descending else "ASC"
    # in two steps, so that wide columns are fetched for the rows of the page alone
    rows = catalog.query(
        f"""
        WITH page AS MATERIALIZED (
            SELECT p.rowid AS place, {SORTS[sort]} AS sorted FROM {source} WHERE {condition}
            ORDER BY sorted {direction} NULLS LAST, p.item_no, p.run_no, p.sample
            LIMIT {int(limit)} OFFSET {int(offset)})
        SELECT r.run_id, i.item_id, p.sample, i.question, i.choices, i.gold, i.answer, p.choice,
               i.choices[p.choice + 1] AS choice_text, p.outcome, p.rule, p.strict, p.official, i.part,
               i.layer, i.subcategory, i.modality, i.language, p.completion_tokens, p.seconds,
               p.thinking_chars, p.answer_chars, p.error_kind
        FROM page JOIN predictions p ON p.rowid = page.place JOIN runs r USING (run_no)
        JOIN items i ON i.run_no = p.run_no AND i.item_no = p.item_no
        ORDER BY page.sorted {direction} NULLS LAST, p.item_no, p.run_no, p.sample
        """,  # noqa: S608 - our own clauses and numbers
        arguments,
    )
    return Page(rows, int(total["n"].iloc[0]))


def one_prediction(catalog: Catalog, run_id: str, item_id: str, sample: int = 0) -> Detail:
    """One prediction with its texts and its item.

    Raises:
        RunError: if there is none, or the run cannot be read.
    """
    found = _details(catalog, run_id, item_id, sample)
    if not found:
        raise RunError(
            f"The run {run_id} has no prediction for sample {sample} of {item_id!r}.",
            "It may still be running, or the id may belong to another dataset.",
        )
    return found[0]


def item_predictions(catalog: Catalog, run_id: str, item_id: str) -> list[dict[str, Any]]:
    """Every sample of one item in a run, with texts and scores (the fields of `Prediction` and `Scored`).

    Raises:
        RunError: if the run is unknown or cannot be read, or has no such item.
    """
    found = [detail.to_dict() for detail in _details(catalog, run_id, item_id)]
    if not found:
        raise RunError(
            f"The run {run_id} has no prediction for {item_id!r}.",
            "It may still be running, or the id may belong to another dataset.",
        )
    return found


def item_in_runs(catalog: Catalog, dataset: str, item_id: str) -> pd.DataFrame:
    """What the newest runs of a dataset made of one item, newest run first.

    Returns:
        One row per run of the dataset that has it: run_id, kind, prompt, prompt_version, model, samples,
        answered, strict and official (means over samples), choice and outcome of the first sample,
        same_question (False if the item has changed since the newest run).
    """
    catalog.load_newest(dataset)
    return catalog.query(
        """
        SELECT r.run_id, r.created, r.kind, r.prompt, r.prompt_version, r.model, s.samples, s.answered,
               s.strict, s.official, p.choice, i.choices[p.choice + 1] AS choice_text, p.outcome,
               i.fingerprint = first_value(i.fingerprint) OVER (ORDER BY r.created DESC, r.run_no DESC)
                   AS same_question
        FROM items i JOIN runs r USING (run_no) JOIN item_scores s USING (run_no, item_no)
        LEFT JOIN predictions p ON p.run_no = i.run_no AND p.item_no = i.item_no AND p.sample = 0
        WHERE i.item_id = $item AND r.dataset = $dataset
        ORDER BY r.created DESC, r.run_no DESC
        """,
        {"item": item_id, "dataset": dataset},
    )


def _details(catalog: Catalog, run_id: str, item_id: str, sample: int | None = None) -> list[Detail]:
    record = load_record(catalog.workspace, run_id)
    (run_no,) = catalog.run_numbers(run_id)
    rows = (
        catalog.cursor()
        .execute(
            """
            SELECT r.folder, p.sample, p.place FROM predictions p JOIN runs r USING (run_no)
            JOIN items i USING (run_no, item_no)
            WHERE p.run_no = $run AND i.item_id = $item AND ($sample IS NULL OR p.sample = $sample)
            ORDER BY p.sample
            """,
            {"run": run_no, "item": item_id, "sample": sample},
        )
        .fetchall()
    )
    if not rows:
        return []
    folder = Path(rows[0][0])
    places = {number: place for _, number, place in rows}
    item = _item(catalog, folder, item_id)
    texts = _texts(catalog, folder, item_id, places)
    return [_detail(record, item, texts[number]) for number in places if number in texts]


def _detail(record: RunRecord, item: Item, prediction: Prediction) -> Detail:
    return Detail(
        record.run_id, item, prediction, score_prediction(prediction, item, record.expected_sections)
    )


def _item(catalog: Catalog, folder: Path, item_id: str) -> Item:
    row = _read(
        catalog,
        folder,
        "SELECT item FROM read_parquet($file) WHERE item_id = $item",
        "items.parquet",
        item_id,
    )
    return Item.model_validate(orjson.loads(row[0]["item"]))


def _texts(catalog: Catalog, folder: Path, item_id: str, places: Mapping[int, int]) -> dict[int, Prediction]:
    """Predictions of one item by sample: from the live file if they are there, else the finished one."""
    found: dict[int, Prediction] = {}
    live = folder / "predictions.jsonl"
    if any(place < 0 for place in places.values()):
        # a run that finished a moment ago has no live file any more, and everything in the other
        with suppress(FileNotFoundError), live.open("rb") as file:
            for sample, place in places.items():
                prediction = read_at(file, -1 - place) if place < 0 else None
                if prediction is not None and prediction.key == (item_id, sample):
                    found[sample] = prediction
    if found.keys() != places.keys():
        # those that the file has: an older one lacks what was not recorded yet
        names = ", ".join(f"'{name}'" for name in PREDICTIONS.names)
        sql = (
            f"SELECT COLUMNS(lambda name: name IN ({names}))"  # noqa: S608 - our own names
            " FROM read_parquet($file) WHERE item_id = $item"
        )
        for row in _read(catalog, folder, sql, "predictions.parquet", item_id):
            prediction = Prediction(**row)
            found.setdefault(prediction.sample, prediction)
    return found


def _read(catalog: Catalog, folder: Path, sql: str, name: str, item_id: str) -> list[dict[str, Any]]:
    path = folder / name
    try:
        cursor = catalog.cursor().execute(sql, {"file": str(path), "item": item_id})
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except duckdb.Error as error:
        raise RunError(
            f"{path} cannot be read ({first_line(error)}).",
            "Restore the file from a copy, or delete the run's folder.",
        ) from error
