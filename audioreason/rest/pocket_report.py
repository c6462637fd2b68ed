"""What the arms of `rest.pocket` came to, as Markdown tables for the write-up.

    python -m audioreason.rest.pocket_report DIR

DIR holds ARM-SEED.json files. An item's score is the mean over the seeds that came so far; intervals (95%)
and p are over items, paired with the base, so they say nothing of how much other seeds would differ: each
seed's own figure stands beside them. Below each table stands what is left of its smallest p after Holm over
all of the table's comparisons. Knows nothing about models.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioreason.errors import RestError
from audioreason.rest.pocket import ARMS, OTHER, PROMPT
from audioreason.stats.intervals import wilson
from audioreason.stats.paired import Difference, holm, paired_difference

Marks = NDArray[np.float64]
_SETS = (("fresh", "fresh items"), ("shipped", "the shipped set"))


@dataclass(frozen=True)
class Arms:
    """What was found: by arm and seed, the file as `run_arm` wrote it; the items are the same in all."""

    found: dict[tuple[str, int], dict[str, Any]]
    items: list[dict[str, str]]

    def seeds(self, arm: str, number: int) -> list[int]:
        """The seeds of an arm that came to a round."""
        return sorted(s for (a, s), one in self.found.items() if a == arm and number < len(one["rounds"]))

    def round(self, arm: str, seed: int, number: int) -> dict[str, Any]:
        """A round's record; 0 is the base."""
        record: dict[str, Any] = self.found[arm, seed]["rounds"][number]
        return record

    def marks(self, arm: str, seeds: Sequence[int], number: int, prompt: str) -> Marks:
        """The mean over seeds of right (1) or wrong (0), (items,)."""
        right = [self.round(arm, seed, number)["right"][prompt] for seed in seeds]
        mean: Marks = np.asarray(right, dtype=float).mean(axis=0)
        return mean

    def where(self, key: str, value: str) -> NDArray[np.intp]:
        """Places of the items with a set or subcategory."""
        return np.asarray(
            [place for place, item in enumerate(self.items) if item[key] == value], dtype=np.intp
        )

    def come(self) -> Iterator[tuple[str, int, list[int]]]:
        """Arm, round and seeds, in order, where there is a seed."""
        last = max(len(one["rounds"]) for one in self.found.values())
        for arm in ARMS:
            for number in range(1, last):
                if seeds := self.seeds(arm, number):
                    yield arm, number, seeds


def read(folder: Path) -> Arms:
    """The arms in a folder.

    Raises:
        RestError: if there is none, a file is half written, or two were tested on different items.
    """
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for file in sorted(folder.glob("*-*.json")):
        try:
            one = json.loads(file.read_text())
            found[one["arm"], one["seed"]] = one
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RestError(f"{file} cannot be read ({error}).", "Run its arm again.") from error
    if not found:
        raise RestError(f"There is no arm in {folder}.", "Run python -m audioreason.rest.pocket first.")
    items = next(iter(found.values()))["items"]
    if any(one["items"] != items for one in found.values()):
        raise RestError(
            f"The arms in {folder} were tested on different items.", "Keep one kind of test a folder."
        )
    return Arms(found, items)


def report(arms: Arms) -> str:
    """All tables, in the order of the write-up."""
    parts = (_base, _accuracy, _contrasts, _forgetting, _zones, _subcategories, _time)
    return "\n\n".join(part(arms) for part in parts) + "\n"


def _base(arms: Arms) -> str:
    """The base's accuracy, and how many items it answers otherwise when another process asks it."""
    rows = []
    for prompt in (PROMPT, OTHER):
        asked = np.asarray([one["rounds"][0]["right"][prompt] for one in arms.found.values()])
        cells = [prompt]
        for name, _ in _SETS:
            mine = asked[0][arms.where("set", name)]
            cells.append(_share(int(mine.sum()), mine.size))
        cells.append(f"{int((asked != asked[0]).any(axis=0).sum())} of {asked.shape[1]:,}")
        rows.append(cells)
    return _table(
        "The base", ["prompt", *(title for _, title in _SETS), "items that vary when asked again"], rows
    )


def _accuracy(arms: Arms) -> str:
    rows, tests = [], []
    for arm, number, seeds in arms.come():
        for prompt in (PROMPT, OTHER):
            cells = [arm, str(number), str(len(seeds)), prompt]
            before, after = (arms.marks(arm, seeds, n, prompt) for n in (0, number))
            for name, _ in _SETS:
                where = arms.where("set", name)
                tests.append(_paired(before[where], after[where]))
                cells.append(_difference(tests[-1]))
                each = (arms.round(arm, seed, number)["accuracy"][prompt][name] for seed in seeds)
                began = (arms.round(arm, seed, 0)["accuracy"][prompt][name] for seed in seeds)
                cells.append(", ".join(f"{100 * (a - b):+.1f}" for a, b in zip(each, began, strict=True)))
            rows.append(cells)
    heads = ["arm", "round", "seeds", "prompt"]
    for _, title in _SETS:
        heads += [f"points on {title}", "by seed"]
    return _table("Accuracy against the base, in points", heads, rows) + _smallest(tests)


def _contrasts(arms: Arms) -> str:
    """Rehearsal against none, curriculum against fixed: same seeds, same round, same items."""
    rows, tests = [], []
    pairs = [
        ("fixed", "fixed+rehearsal"), ("curriculum", "curriculum+rehearsal"),
        ("fixed", "curriculum"), ("fixed+rehearsal", "curriculum+rehearsal"),
    ]  # fmt: skip
    for a, b in pairs:
        for number in sorted({number for arm, number, _ in arms.come() if arm in (a, b)}):
            seeds = sorted(set(arms.seeds(a, number)) & set(arms.seeds(b, number)))
            if not seeds:
                continue
            rows.append([f"{b} minus {a}", str(number), str(len(seeds))])
            for prompt in (PROMPT, OTHER):
                first, second = (arms.marks(arm, seeds, number, prompt) for arm in (a, b))
                tests.append(_paired(first, second))
                rows[-1].append(_difference(tests[-1]))
    title = "Arms against each other, all test items, in points"
    return _table(title, ["", "round", "seeds", PROMPT, OTHER], rows) + _smallest(tests)


def _forgetting(arms: Arms) -> str:
    rows = []
    for arm, number, seeds in arms.come():
        cells = [arm, str(number), str(len(seeds))]
        for prompt in (PROMPT, OTHER):
            lost = learned = had = lacked = 0
            for seed in seeds:
                before, after = (np.asarray(arms.round(arm, seed, n)["right"][prompt]) for n in (0, number))
                had, lacked = had + int(before.sum()), lacked + int((1 - before).sum())
                lost += int((before > after).sum())
                learned += int((after > before).sum())
            cells += [f"{100 * lost / had:.1f}%", f"{100 * learned / lacked:.1f}%"]
        rows.append(cells)
    heads = ["arm", "round", "seeds"]
    for prompt in (PROMPT, OTHER):
        heads += [f"{prompt}: lost of right", "learned of wrong"]
    return _table("Lost and learned, all test items", heads, rows)


def _zones(arms: Arms) -> str:
    rows = []
    for arm, number, seeds in arms.come():
        cells = [arm, str(number), str(len(seeds))]
        for name in ("four_choices", "counted"):
            zones = [arms.round(arm, seed, number)["zones"][name] for seed in seeds]
            inside, of = (sum(zone[key] for zone in zones) for key in ("learning", "problems"))
            cells.append(_share(inside, of))
        records = [arms.round(arm, seed, number) for seed in seeds]
        cells.append(_mean([one["training"]["examples"] for one in records]))
        cells.append(_mean([one["summary"]["median_kept"] for one in records]))
        cells.append(_mean([one["summary"]["median_right"] for one in records]))
        rows.append(cells)
    heads = ["arm", "round", "seeds", "in the learning zone, of four choices", "of those that count"]
    return _table("What was learned from", [*heads, "examples", "tokens kept (median)", "tokens right"], rows)


def _subcategories(arms: Arms) -> str:
    """Every subcategory at each arm's last round that most seeds came to, with the trained prompt."""
    last: dict[str, tuple[int, list[int]]] = {}
    for arm, number, seeds in arms.come():
        if arm not in last or len(seeds) >= len(last[arm][1]):
            last[arm] = (number, seeds)
    names = list(dict.fromkeys(item["subcategory"] for item in arms.items))
    tests: list[Difference] = []  # arm after arm, each with all names
    for arm, (number, seeds) in last.items():
        before, after = (arms.marks(arm, seeds, n, PROMPT) for n in (0, number))
        tests += [_paired(before[w], after[w]) for w in (arms.where("subcategory", n) for n in names)]
    stars = [" *" if p < 0.05 else "" for p in _holm(tests)]
    cells = [_points(one) + star for one, star in zip(tests, stars, strict=True)]
    base = arms.marks(next(iter(last)), last[next(iter(last))][1], 0, PROMPT)
    rows = [
        [
            name,
            f"{100 * base[arms.where('subcategory', name)].mean():.0f}%",
            *cells[n :: len(names)],
        ]
        for n, name in enumerate(names)
    ]
    heads = [f"{arm}, round {number}, {len(seeds)} seeds" for arm, (number, seeds) in last.items()]
    title = f"By subcategory, {PROMPT}, in points (* where p < 0.05 after Holm over the whole table)"
    return _table(title, ["subcategory", "base", *heads], rows) + _smallest(tests)


def _time(arms: Arms) -> str:
    phases = ("problems", "candidates", "train", "test")
    rows = []
    for arm, number, seeds in arms.come():
        seconds = [arms.round(arm, seed, number)["seconds"] for seed in seeds]
        rows.append([arm, str(number), *(_mean([one[phase] for one in seconds]) for phase in phases)])
    return _table("Seconds a round, mean over seeds", ["arm", "round", *phases], rows)


def _paired(a: Marks, b: Marks) -> Difference:
    return paired_difference(a, b, list(map(str, range(a.size))))


def _holm(tests: Sequence[Difference]) -> list[float]:
    return holm([one.p for one in tests])


def _points(one: Difference) -> str:
    return f"{100 * one.mean:+.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"


def _difference(one: Difference) -> str:
    return f"{_points(one)}, {_p(one.p)}"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _smallest(tests: Sequence[Difference]) -> str:
    """How surprising the most surprising of a table's comparisons is, given how many there are."""
    if not tests:
        return ""
    least = min(one.p for one in tests)
    return f"\n\nOf {len(tests)} comparisons the smallest is {_p(least)}; after Holm {_p(min(_holm(tests)))}."


def _share(count: int, of: int) -> str:
    low, high = wilson(count, of)
    return f"{count:,} of {of:,}, {100 * count / max(1, of):.1f}% ({100 * low:.1f} to {100 * high:.1f})"


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):,.0f}"


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]
    return "\n".join([f"**{title}**", "", *lines])


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m audioreason.rest.pocket_report`."""
    parser = argparse.ArgumentParser(description="Tables of the self-training experiment at pocket size.")
    parser.add_argument("folder", type=Path)
    print(report(read(parser.parse_args(arguments).folder)), end="")


if __name__ == "__main__":
    main()
