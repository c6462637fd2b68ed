"""A dataset in numbers: how many items of what kind, how long their clips are, what is wrong or odd.

Pure counting over what `validate` found and remembered. Knows nothing about pages.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from audioreason.items.dataset import Dataset
from audioreason.items.schema import Item
from audioreason.items.sources import cluster_of
from audioreason.items.splits import load_splits
from audioreason.items.validate import Finding, known_clips

NOT_GIVEN = "not given"
_MOST_VALUES = 50  # of a table's own column that is counted: more are texts, not kinds
_REASON = re.compile(r"^Row \d+: | Its columns: .*|\(.*?\)|\d+", re.DOTALL)  # what differs from row to row
PROPERTIES: Mapping[str, Callable[[Item], str | None]] = {
    "Subcategory": lambda item: item.subcategory,
    "Modality": lambda item: item.modality,
    "Language": lambda item: item.language,
    "Choices": lambda item: str(len(item.choices)),
    "Difficulty": lambda item: column_of(item, "difficulty"),
}


@dataclass(frozen=True)
class Kinds:
    """How many items have each value of one property, most first."""

    name: str
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Problem:
    """One code of findings: how many items have it, how grave it is, and an example (empty: none to show)."""

    code: str
    severity: str
    items: int
    explanation: str
    example: str
    example_item: str


@dataclass(frozen=True)
class Facts:
    """A dataset in numbers. Durations are in seconds, over the clips that were decoded (`decoded`)."""

    items: int
    recordings: int
    clips: int
    decoded: int
    seconds: float
    shortest: float
    median: float
    longest: float
    kinds: tuple[Kinds, ...]
    splits: Mapping[str, int]
    problems: tuple[Problem, ...]


def facts(dataset: Dataset, findings: Sequence[Finding], hidden: Collection[str] = ()) -> Facts:
    """The numbers of a dataset; `findings` as `validate` gives them. Decodes nothing.

    Items whose ids are `hidden` are counted, but none of them is an example.
    """
    lengths = [info.seconds for info in known_clips(dataset).values()]
    return Facts(
        items=len(dataset.items),
        recordings=len({cluster_of(item) for item in dataset.items}),
        clips=dataset.info.clip_count,
        decoded=len(lengths),
        seconds=sum(lengths),
        shortest=min(lengths, default=0.0),
        median=statistics.median(lengths) if lengths else 0.0,
        longest=max(lengths, default=0.0),
        kinds=tuple(_kinds(dataset.items)),
        splits={name: len(ids) for name, ids in load_splits(dataset).items()},
        problems=tuple(problems(findings, hidden)),
    )


def column_of(item: Item, column: str) -> str | None:
    """An item's value in any column of its table, as text; None if it has none or a list.

    A column named like one of ours that holds something else is kept as `given_NAME` and found by its name.
    """
    extra = item.model_extra or {}
    places = (getattr(item, column) if column in Item.model_fields else None, extra.get(column))
    value = next((one for one in (*places, extra.get(f"given_{column}")) if one is not None), None)
    return str(value) if isinstance(value, str | int | float | bool) else None


def value_of(item: Item, name: str) -> str:
    """An item's value of one of `PROPERTIES` or of another column of its table, or `NOT_GIVEN`."""
    value = PROPERTIES[name](item) if name in PROPERTIES else column_of(item, name)
    return value or NOT_GIVEN


def _kinds(items: Sequence[Item]) -> list[Kinds]:
    found = []
    for name in (*PROPERTIES, *_own_columns(items)):
        counts = Counter(value_of(item, name) for item in items)
        if set(counts) != {NOT_GIVEN} and (name in PROPERTIES or 1 < len(counts) <= _MOST_VALUES):
            found.append(Kinds(name, dict(counts.most_common())))
    return found


def _own_columns(items: Sequence[Item]) -> list[str]:
    """The columns that a table had beyond ours, by name."""
    names = {name for item in items for name in item.model_extra or {} if not name.startswith("given_")}
    return sorted(names - {name.lower() for name in PROPERTIES})


def problems(findings: Sequence[Finding], hidden: Collection[str] = ()) -> list[Problem]:
    """Findings summed by severity and code (rows left out by reason too), gravest and most first.

    Items whose ids are `hidden` are counted, but none of them is an example.
    """
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        reason = _REASON.sub("", finding.message) if finding.code == "not-an-item" else ""
        groups.setdefault((finding.severity, finding.code, reason), []).append(finding)
    order = {"error": 0, "warning": 1, "info": 2}
    made = []
    for (severity, code, _), group in groups.items():
        example = next((one for one in group if one.item_id not in hidden), None)
        made.append(
            Problem(
                code,
                severity,
                len({one.item_id for one in group}),
                group[0].explanation,
                example.message if example else "",
                example.item_id if example else "",
            )
        )
    return sorted(made, key=lambda one: (order[one.severity], -one.items))
