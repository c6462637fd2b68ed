"""The explorer's questions about one run: figures with and without errata, lists, confusions, habits.

Answers are plain dataclasses of counts and fractions. Knows nothing about pages, and of what people said only
the sets of items and predictions that it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from audioreason.review.annotations import Annotations
from audioreason.runs import Catalog, Filter, Page, load_record, records
from audioreason.runs.filtering import AGREEMENT
from audioreason.stats import cohen_kappa, wilson

_NONE: frozenset[str] = frozenset()
_QUARTERS = 4
_EXAMPLES = 5


@dataclass(frozen=True)
class Share:
    """A share of n as a fraction with its Wilson 95% interval; all None where n is 0."""

    n: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Group:
    """One subcategory: strict accuracy over its rated items, and its predictions by outcome."""

    layer: str
    name: str
    strict: Share
    outcomes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Overview:
    """A run's figures over all of the items asked for, and by subcategory (by layer, then worst first)."""

    strict: Share
    official: Share
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Confusion:
    """How often one choice was given where another is gold: predictions, items, and some items' ids."""

    gold: str
    given: str
    n: int
    items: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Position:
    """A place among the choices (0 is the first): how often it was chosen, and how often it is gold."""

    index: int
    chosen: Share
    gold: float


@dataclass(frozen=True)
class LengthBand:
    """Predictions of one quarter by length (characters of reasoning and answer) and their accuracy."""

    low: int
    high: int
    strict: Share


@dataclass(frozen=True)
class Biases:
    """Habits that have nothing to do with the sound."""

    positions: tuple[Position, ...]
    lengths: tuple[LengthBand, ...]


@dataclass(frozen=True)
class Agreement:
    """Another run beside this one: first samples of items that asked the same in both and were answered.

    `same` is the share with the same choice; `same_wrong` that among items which both got wrong (None if
    there is none); `kappa` is Cohen's over the choices' positions (None where undefined).
    """

    run_id: str
    n: int
    same: float
    same_wrong: float | None
    kappa: float | None


@dataclass(frozen=True)
class TagTable:
    """Tagged predictions: `counts[i][j]` of subcategory `groups[i]` have `tags[j]`, `tagged` have any."""

    tags: tuple[str, ...]
    groups: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    tagged: int


def overview(
    catalog: Catalog, run_id: str, split: str | None = None, without: frozenset[str] = _NONE
) -> Overview:
    """A run's accuracy and outcomes by subcategory, over a split (None: all), without some items.

    Accuracy is the mean over items of an item's mean over its answered samples; server errors and items
    without gold leave the denominator.

    Raises:
        RunError: if the run is unknown or cannot be read.
    """
    arguments = _arguments(catalog, run_id, split, without)
    rows = records(
        catalog.query(
            f"""
            SELECT coalesce(i.layer, 'none') AS layer, coalesce(i.subcategory, 'none') AS subcategory,
                   count(s.strict)::INTEGER AS n, sum(s.strict) AS strict, sum(s.official) AS official
            FROM item_scores s JOIN items i USING (run_no, item_no)
            WHERE s.run_no = $run AND {_PART} GROUP BY ALL
            """,  # noqa: S608 - our own clauses
            arguments,
        )
    )
    counts: dict[str, dict[str, int]] = {}
    for row in records(
        catalog.query(
            f"""
            WITH p AS (SELECT run_no, item_no, outcome, count(*) AS n FROM predictions
                       WHERE run_no = $run GROUP BY ALL)
            SELECT coalesce(i.subcategory, 'none') AS subcategory, p.outcome, sum(p.n)::INTEGER AS n
            FROM p JOIN items i USING (run_no, item_no) WHERE {_PART} GROUP BY ALL
            """,  # noqa: S608
            arguments,
        )
    ):
        counts.setdefault(row["subcategory"], {})[row["outcome"]] = row["n"]
    groups = [
        Group(
            row["layer"],
            row["subcategory"],
            _share(row["strict"], row["n"]),
            counts.get(row["subcategory"], {}),
        )
        for row in rows
    ]
    n = sum(row["n"] for row in rows)
    return Overview(
        strict=_share(sum(row["strict"] or 0 for row in rows), n),
        official=_share(sum(row["official"] or 0 for row in rows), n),
        groups=tuple(sorted(groups, key=lambda group: (group.layer, group.strict.value or 0.0, group.name))),
    )


def find(
    catalog: Catalog,
    where: Filter,
    sort: str = "item",
    descending: bool = False,
    limit: int = 50,
    offset: int = 0,
    agreement: bool = True,
) -> Page:
    """A page of predictions as `Catalog.predictions` gives it, with a column more: `agreement`.

    It is the share of the item's answered samples that make its commonest choice, NaN where none answered or
    where it is not asked for: it costs as much as the page, and says nothing of runs with one sample.

    Raises:
        RunError: if a run or the sort is unknown, or a text cannot be searched for.
    """
    page = catalog.predictions(where, sort, descending, limit, offset)
    shares: dict[tuple[str, str], float] = {}
    if len(page.rows) and agreement:
        runs = sorted(set(page.rows["run_id"]))
        numbers = ", ".join(map(str, catalog.run_numbers(runs)))
        # items first, as numbers: the samples of 50 items are counted, not those of a million predictions
        items = catalog.query(
            f"SELECT run_no, item_no, item_id FROM items WHERE run_no IN ({numbers})"  # noqa: S608 - numbers
            " AND item_id IN (SELECT unnest($items))",
            {"items": sorted(set(page.rows["item_id"]))},
        )
        shown = ", ".join(map(str, sorted(set(items["item_no"]))))
        scope = f"AND run_no IN ({numbers}) AND item_no IN ({shown})"
        known = catalog.query(
            f"""
            SELECT r.run_id, i.item_id, a.agreement FROM ({AGREEMENT.format(scope=scope)}) a
            JOIN runs r USING (run_no) JOIN items i USING (run_no, item_no)
            """,  # noqa: S608 - numbers
        )
        shares = {(row["run_id"], row["item_id"]): row["agreement"] for row in records(known)}
    places = zip(page.rows["run_id"], page.rows["item_id"], strict=True)
    rows = page.rows.assign(agreement=[shares.get(place, float("nan")) for place in places])
    return Page(rows, page.total)


def confusions(
    catalog: Catalog, run_id: str, split: str | None = None, without: frozenset[str] = _NONE
) -> list[Confusion]:
    """Which choice was given where which was gold, the commonest first.

    Raises:
        RunError: if the run is unknown or cannot be read.
    """
    found = catalog.query(
        f"""
        SELECT i.choices[i.gold + 1] AS gold, i.choices[p.choice + 1] AS given, count(*)::INTEGER AS n,
               count(DISTINCT i.item_no)::INTEGER AS items, list(DISTINCT i.item_id ORDER BY i.item_id) AS ids
        FROM predictions p JOIN items i USING (run_no, item_no)
        WHERE p.run_no = $run AND {_PART} AND p.choice IS NOT NULL AND p.choice <> i.gold
        GROUP BY ALL ORDER BY n DESC, gold, given
        """,  # noqa: S608
        _arguments(catalog, run_id, split, without),
    )
    return [
        Confusion(row["gold"], row["given"], row["n"], row["items"], tuple(row["ids"][:_EXAMPLES]))
        for row in records(found)
    ]


def biases(
    catalog: Catalog, run_id: str, split: str | None = None, without: frozenset[str] = _NONE
) -> Biases:
    """How often each position is chosen and is gold, and accuracy by quarter of length.

    Intervals count items, not samples: samples of one item are not independent.

    Raises:
        RunError: if the run is unknown or cannot be read.
    """
    arguments = _arguments(catalog, run_id, split, without)
    places = records(
        catalog.query(
            f"""
            WITH asked AS (
                SELECT i.item_no, p.choice, i.gold FROM predictions p JOIN items i USING (run_no, item_no)
                WHERE p.run_no = $run AND {_PART} AND p.choice IS NOT NULL AND i.gold IS NOT NULL),
            places AS (
                SELECT unnest(range((SELECT max(greatest(choice, gold)) + 1 FROM asked)))::INTEGER AS place)
            SELECT place, (SELECT count(*) FROM asked WHERE choice = place) AS chosen,
                   (SELECT count(*) FROM asked WHERE gold = place) AS gold,
                   (SELECT count(*) FROM asked) AS n, (SELECT count(DISTINCT item_no) FROM asked) AS items
            FROM places ORDER BY place
            """,  # noqa: S608
            arguments,
        )
    )
    bands = records(
        catalog.query(
            f"""
            SELECT band, min(chars)::INTEGER AS low, max(chars)::INTEGER AS high, avg(strict) AS strict,
                   count(DISTINCT item_no)::INTEGER AS items
            FROM (SELECT i.item_no, p.strict::INTEGER AS strict, p.thinking_chars + p.answer_chars AS chars,
                         ntile({_QUARTERS}) OVER (ORDER BY p.thinking_chars + p.answer_chars) AS band
                  FROM predictions p JOIN items i USING (run_no, item_no)
                  WHERE p.run_no = $run AND {_PART} AND p.strict IS NOT NULL)
            GROUP BY band ORDER BY band
            """,  # noqa: S608
            arguments,
        )
    )
    return Biases(
        positions=tuple(
            Position(
                row["place"],
                _share(row["chosen"] / row["n"] * row["items"], row["items"]),
                row["gold"] / row["n"],
            )
            for row in places
        ),
        lengths=tuple(
            LengthBand(row["low"], row["high"], _share(row["strict"] * row["items"], row["items"]))
            for row in bands
        ),
    )


def agreement(
    catalog: Catalog, run_id: str, split: str | None = None, without: frozenset[str] = _NONE
) -> list[Agreement]:
    """The newest other runs that answered some of the same items, those with most items in common first.

    Raises:
        RunError: if the run is unknown or cannot be read.
    """
    arguments = _arguments(catalog, run_id, split, without)
    catalog.load_newest(load_record(catalog.workspace, run_id).dataset.name)
    rows = catalog.query(
        f"""
        WITH mine AS (
            SELECT i.item_id, i.fingerprint, p.choice, p.strict
            FROM predictions p JOIN items i USING (run_no, item_no)
            WHERE p.run_no = $run AND p.sample = 0 AND p.choice IS NOT NULL AND {_PART})
        SELECT r.run_id, m.choice AS a, p.choice AS b, (NOT m.strict AND NOT p.strict) AS wrong,
               count(*)::INTEGER AS n
        FROM mine m JOIN items i ON i.item_id = m.item_id AND i.fingerprint = m.fingerprint
        JOIN predictions p ON p.run_no = i.run_no AND p.item_no = i.item_no
        JOIN runs r ON r.run_no = p.run_no
        WHERE p.run_no <> $run AND p.sample = 0 AND p.choice IS NOT NULL
        GROUP BY ALL ORDER BY ALL
        """,  # noqa: S608
        arguments,
    )
    cells: dict[str, list[tuple[int, int, bool, int]]] = {}
    for row in records(rows):
        cells.setdefault(row["run_id"], []).append((row["a"], row["b"], bool(row["wrong"]), row["n"]))
    found = [_agreement(other, counts) for other, counts in cells.items()]
    return sorted(found, key=lambda one: (-one.n, one.run_id))


def tag_table(
    catalog: Catalog,
    annotations: Annotations,
    run_id: str,
    split: str | None = None,
    without: frozenset[str] = _NONE,
) -> TagTable:
    """How many predictions of each subcategory have which tag, in the order of the tags' list.

    Raises:
        RunError: if the run is unknown or cannot be read.
    """
    tags_of = annotations.tags_of(run_id)
    places = sorted(tags_of)
    rows = catalog.query(
        f"""
        SELECT t.item_id, t.sample, coalesce(i.subcategory, 'none') AS subcategory
        FROM (SELECT unnest($items) AS item_id, unnest($samples) AS sample) t
        JOIN items i ON i.run_no = $run AND i.item_id = t.item_id WHERE {_PART}
        """,  # noqa: S608
        _arguments(catalog, run_id, split, without)
        | {"items": [item for item, _ in places], "samples": [sample for _, sample in places]},
    )
    counts: dict[str, dict[str, int]] = {}
    for row in records(rows):
        group = counts.setdefault(row["subcategory"], {})
        for tag in tags_of[row["item_id"], row["sample"]]:
            group[tag] = group.get(tag, 0) + 1
    used = {tag for group in counts.values() for tag in group}
    tags = tuple(tag.name for tag in annotations.tags() if tag.name in used)
    groups = tuple(sorted(counts))
    return TagTable(
        tags, groups, tuple(tuple(counts[group].get(tag, 0) for tag in tags) for group in groups), len(rows)
    )


def tagged(annotations: Annotations, run_id: str, tag: str | None = None) -> tuple[tuple[str, int], ...]:
    """(item id, sample) of a run's predictions with a tag, or with any; for `Filter.only`."""
    return tuple(
        sorted(place for place, tags in annotations.tags_of(run_id).items() if tag is None or tag in tags)
    )


_PART = "($split IS NULL OR i.part = $split) AND i.item_id NOT IN (SELECT unnest($without::VARCHAR[]))"


def _arguments(catalog: Catalog, run_id: str, split: str | None, without: frozenset[str]) -> dict[str, Any]:
    (number,) = catalog.run_numbers(run_id)
    return {"run": number, "split": None if split == "full" else split, "without": sorted(without)}


def _share(total: float | None, n: int) -> Share:
    if not n:
        return Share(0, None, None, None)
    low, high = wilson(round(total or 0), n)
    return Share(n, (total or 0) / n, low, high)


def _agreement(run_id: str, cells: Sequence[tuple[int, int, bool, int]]) -> Agreement:
    n = sum(count for *_, count in cells)
    same = sum(count for a, b, _, count in cells if a == b)
    wrong = sum(count for _, _, both, count in cells if both)
    same_wrong = sum(count for a, b, both, count in cells if both and a == b)
    first = [a for a, _, _, count in cells for _ in range(count)]
    second = [b for _, b, _, count in cells for _ in range(count)]
    kappa = cohen_kappa(first, second)
    return Agreement(
        run_id, n, same / n, same_wrong / wrong if wrong else None, None if kappa != kappa else kappa
    )
