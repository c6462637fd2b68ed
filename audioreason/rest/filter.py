"""Which candidates are worth learning, and why the others are not: zones, quality gates, ranking, weights.

A candidate passes the gates if it is right, keeps the format that was asked for, and neither loops nor was
cut off. Those of a problem are ranked by length, the shortest first, and one that says nearly the same as a
kept one is dropped. What a zone keeps, and with which weight, is its rule. Server errors leave the
denominator. Every candidate stays in the table with its reason.

Published presets: "paper" learns from the zone of 26 to 75% alone; "code" is what its program does (all of
challenging x 1.0, the best three of learning x 1.5, the best one of almost mastered x 0.5). Neither explains
the 4,361 samples reported from 889 problems of the learning zone: the best three of each are 2,667 at most,
and all right ones some 7,100 if half of the samples are right there, which was not published.

Pure; knows nothing about files, prompts or training.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audioreason.errors import RestError
from audioreason.rest.ranking import by_problem, ranked
from audioreason.rest.zones import FEWEST_CHOICES, NAMES, Name, Zones, heard_groups
from audioreason.rest.zones import PRESETS as EDGES
from audioreason.wording import counted

if TYPE_CHECKING:
    import pandas as pd

Strategy = Literal["zones", "learning", "top", "best", "all"]

_GATES = {
    "server_error": "server error",
    "truncated": "cut off at the longest length",
    "looped": "repeats itself",
    "refused": "refuses to answer",
    "format_broken": "format broken",
    "unresolved": "no clear answer",
    "wrong": "wrong answer",
}


class Keep(BaseModel):
    """What is kept of a zone: the `best` right candidates of each problem (None: all), of a `share` of its
    problems, each with a `weight`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    best: int | None = Field(default=None, ge=0)
    weight: float = Field(default=1.0, gt=0)
    share: float = Field(default=1.0, ge=0, le=1)


NOTHING = Keep(best=0)


class FilterConfig(BaseModel):
    """Settings of the filter.

    `strategy` zones goes by the rules below; learning, top, best and all are shorthands: the learning zone
    alone, or `k`, one or all right candidates of every problem whatever its zone.
    `near_duplicate` is the share of common three-word sequences from which two texts are the same (1: only
    equal ones). `cues` keeps only candidates that name what can be heard: it uses knowledge of the clip that
    the answers alone do not give, and is labelled as extra supervision.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    zones: Zones = EDGES["paper"]
    strategy: Strategy = "zones"
    k: int = Field(default=3, ge=1)
    challenging: Keep = NOTHING
    learning: Keep = Keep()
    almost_mastered: Keep = NOTHING
    mastered: Keep = NOTHING
    near_duplicate: float = Field(default=0.9, gt=0, le=1)
    cues: bool = False

    def rule(self, zone: str) -> Keep:
        """What is kept of a zone; of unsolved problems there is nothing."""
        if zone == "unsolved":
            return NOTHING
        if self.strategy == "zones":
            return {
                "challenging": self.challenging,
                "learning": self.learning,
                "almost_mastered": self.almost_mastered,
                "mastered": self.mastered,
            }[zone]
        if self.strategy == "learning":
            return Keep() if zone == "learning" else NOTHING
        return Keep(best={"top": self.k, "best": 1, "all": None}[self.strategy])


PRESETS: Mapping[str, FilterConfig] = {
    "paper": FilterConfig(),
    "code": FilterConfig(
        zones=EDGES["code"],
        challenging=Keep(),
        learning=Keep(best=3, weight=1.5),
        almost_mastered=Keep(best=1, weight=0.5),
    ),
}


@dataclass(frozen=True)
class Selection:
    """What the filter came to.

    `candidates`: every candidate with `k_right`, `n`, `zone`, `kept`, `reason` (empty if kept), `weight` and
    `rank` (both 0 if not kept). `problems`: every problem with `n` answered, `k` right, `errors`, `zone`,
    `counts` and `guess_zone_share` (by guessing alone, in its own zone). `words` is a sentence.
    """

    candidates: pd.DataFrame
    problems: pd.DataFrame
    words: str
    summary: dict[str, Any]


def filter_config(preset: str, changes: Mapping[str, Any] | None = None) -> FilterConfig:
    """A preset with changes; `zones` may name a preset of edges.

    Raises:
        RestError: if there is no such preset, or a change is wrong.
    """
    if preset not in PRESETS:
        close = get_close_matches(preset, PRESETS, n=1)
        raise RestError(
            f"There is no filter {preset}.",
            f"Did you mean {close[0]}?" if close else f"There are: {', '.join(PRESETS)}.",
        )
    given = dict(changes or {})
    if isinstance(given.get("zones"), str) and given["zones"] in EDGES:
        given["zones"] = EDGES[given["zones"]].model_dump()
    try:
        return FilterConfig.model_validate({**PRESETS[preset].model_dump(), **given})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the filter"
        raise RestError(
            f"The filter's settings cannot be used: {where}: {first['msg'].removeprefix('Value error, ')}.",
            f"It has: {', '.join(FilterConfig.model_fields)}.",
        ) from error


def select(
    candidates: pd.DataFrame,
    problems: pd.DataFrame,
    config: FilterConfig,
    *,
    rehearsal: float = 0.0,
    silent: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Selection:
    """Decide about every candidate.

    Args:
        candidates: `item_id`, `sample`, `strict` (boolean, NA after a server error), `outcome`, `choice`,
            `tokens` (may be NA), `chars`, `text`; with `cues` also `mentions` (boolean).
        problems: `item_id`, `subcategory`, `layer`, `family`, `n_choices`, in the order wanted.
        config: the rules.
        rehearsal: mastered problems added as a share of what is kept otherwise, one candidate each.
        silent: share of right answers by item in a silent control; None: nothing is known, every problem
            with four choices counts and the summary says so.
        seed: draws the problems of a zone's share and those that are rehearsed.

    Raises:
        RestError: if the cue gate is on and nobody looked for cues, or a candidate answers no problem.
    """
    if config.cues and "mentions" not in candidates:
        raise RestError("The cue gate needs a dataset that knows its cues.", "Leave `cues` out.")
    made = candidates.copy()
    answered = made["strict"].notna().to_numpy()
    right = made["strict"].fillna(False).to_numpy(dtype=bool)
    if strangers := set(made["item_id"]) - set(problems["item_id"]):
        raise RestError(f"The candidates answer {min(strangers)}, which is none of the problems.")
    made["reason"] = _gates(made, answered, right, config)
    passing = (made["reason"] == "").to_numpy()
    table = _problems(made, problems, answered, right, config, silent)
    known = table.set_index("item_id")
    for column, source in (("k_right", "k"), ("n", "n"), ("zone", "zone")):
        made[column] = made["item_id"].map(known[source])
    chosen = _chosen(made, config, seed)
    _rehearse(made, chosen, passing, rehearsal, seed)
    kept = np.zeros(len(made), dtype=bool)
    weight, rank = np.zeros(len(made)), np.zeros(len(made), dtype=int)
    for place, (rule_weight, rule_rank) in chosen.items():
        kept[place], weight[place], rank[place] = True, rule_weight, rule_rank
    made["kept"], made["weight"], made["rank"] = kept, weight, rank
    made.loc[made["kept"], "reason"] = ""
    columns = [
        "item_id", "sample", "strict", "outcome", "choice", "tokens", "chars", "k_right", "n", "zone",
        "kept", "reason", "weight", "rank",
    ]  # fmt: skip
    columns += [name for name in ("tokens_estimated",) if name in made]
    summary = _summary(made, table, right, config, silent is not None)
    return Selection(made[columns], table, _words(made, table), summary)


def _gates(
    made: pd.DataFrame, answered: np.ndarray[Any, Any], right: np.ndarray[Any, Any], config: FilterConfig
) -> np.ndarray[Any, Any]:
    """Why a candidate cannot be learned from whatever its zone; empty if it can."""
    reasons = made["outcome"].map(_GATES).fillna("").to_numpy(dtype=object, copy=True)
    reasons[answered & ~right & (reasons == "")] = _GATES["wrong"]
    reasons[~answered] = _GATES["server_error"]
    if config.cues:
        silent = ~made["mentions"].fillna(False).to_numpy(dtype=bool)
        reasons[(reasons == "") & silent] = "does not name what can be heard"
    return reasons


def _problems(
    made: pd.DataFrame,
    problems: pd.DataFrame,
    answered: np.ndarray[Any, Any],
    right: np.ndarray[Any, Any],
    config: FilterConfig,
    silent: Mapping[str, float] | None,
) -> pd.DataFrame:
    """Each problem with its counts and zone."""
    ids = made["item_id"].to_numpy()
    whole, at = np.unique(ids, return_inverse=True)
    count = dict(zip(whole, np.bincount(at, minlength=len(whole)), strict=True))
    n = dict(zip(whole, np.bincount(at, answered, len(whole)).astype(int), strict=True))
    k = dict(zip(whole, np.bincount(at, right, len(whole)).astype(int), strict=True))
    table = problems.copy()
    table["n"] = [int(n.get(item, 0)) for item in table["item_id"]]
    table["k"] = [int(k.get(item, 0)) for item in table["item_id"]]
    table["errors"] = [
        int(count.get(item, 0)) - answers for item, answers in zip(table["item_id"], table["n"], strict=True)
    ]
    table["zone"] = [
        config.zones.of(good, of) if of else "unsolved"
        for good, of in zip(table["k"], table["n"], strict=True)
    ]
    table["counts"] = np.array(_counts(table, silent), dtype=bool)
    guessed: dict[tuple[int, int], dict[Name, float]] = {}
    shares = []
    for choices, of, zone in zip(table["n_choices"], table["n"], table["zone"], strict=True):
        key = (max(int(choices), 1), int(of))
        if of and key not in guessed:
            guessed[key] = config.zones.guessed(*key)
        shares.append(guessed[key][zone] if of else float("nan"))
    table["guess_zone_share"] = shares
    return table.reset_index(drop=True)


def _counts(table: pd.DataFrame, silent: Mapping[str, float] | None) -> list[bool]:
    """Whether each problem may carry a claim: four choices, and a group where hearing beats silence."""
    enough = [int(choices) >= FEWEST_CHOICES for choices in table["n_choices"]]
    if silent is None:
        return enough
    groups = [
        family or sub
        for family, sub in zip(_texts(table, "family"), _texts(table, "subcategory"), strict=True)
    ]
    heard = [good / of if of else float("nan") for good, of in zip(table["k"], table["n"], strict=True)]
    beats = heard_groups(heard, [silent.get(item) for item in table["item_id"]], groups)
    return [many and beats[group or "none"] for many, group in zip(enough, groups, strict=True)]


def _texts(table: pd.DataFrame, column: str) -> list[str | None]:
    if column not in table:
        return [None] * len(table)
    return [value if isinstance(value, str) else None for value in table[column]]


def _chosen(made: pd.DataFrame, config: FilterConfig, seed: int) -> dict[int, tuple[float, int]]:
    """Position -> (weight, rank) of what the rules keep; the others get their reason."""
    reasons = made["reason"].to_numpy(dtype=object, copy=True)
    zones = made["zone"].to_numpy(dtype=object)
    passing = reasons == ""
    rules = {zone: config.rule(zone) for zone in NAMES}
    for zone, rule in rules.items():
        if rule.best == 0 or rule.share == 0:
            reasons[passing & (zones == zone)] = f"the zone {zone.replace('_', ' ')} is not learned from"
    passing = reasons == ""
    chosen: dict[int, tuple[float, int]] = {}
    ids = made["item_id"].to_numpy(dtype=object)
    texts = made["text"].to_numpy(dtype=object)
    for places in by_problem(made, passing):
        item_id, zone = ids[places[0]], zones[places[0]]
        rule = rules[zone]
        if rule.share < 1 and random.Random(f"{seed}/{item_id}").random() >= rule.share:
            reasons[places] = f"not in the share of {zone.replace('_', ' ')} that is kept"
            continue
        for rank, place in enumerate(ranked(texts, places, rule.best, config.near_duplicate, reasons), 1):
            chosen[place] = (rule.weight, rank)
    made["reason"] = reasons
    return chosen


def _rehearse(
    made: pd.DataFrame,
    chosen: dict[int, tuple[float, int]],
    passing: np.ndarray[Any, Any],
    share: float,
    seed: int,
) -> None:
    """Add the shortest candidate that passes the gates of some mastered problems, against forgetting."""
    wanted = round(share * len(chosen))
    if not wanted:
        return
    taken = set(made["item_id"].iloc[list(chosen)])
    able = passing & (made["zone"] == "mastered").to_numpy() & ~made["item_id"].isin(taken).to_numpy()
    first = [int(places[0]) for places in by_problem(made, able)]
    for place in sorted(random.Random(f"{seed}/rehearsal").sample(first, min(wanted, len(first)))):
        chosen[place] = (1.0, 1)


def _summary(
    made: pd.DataFrame, table: pd.DataFrame, right: np.ndarray[Any, Any], config: FilterConfig, control: bool
) -> dict[str, Any]:
    kept = made["kept"].to_numpy(dtype=bool)
    rejected = made.loc[~made["kept"], "reason"].value_counts()
    tried = table[table["n"] > 0]
    counted = tried[tried["counts"]]
    learning = counted[counted["zone"] == "learning"]
    guess = [
        config.zones.guessed(int(m), int(n))["learning"]
        for m, n in zip(counted["n_choices"], counted["n"], strict=True)
    ]
    return {
        "candidates": len(made),
        "errors": int(table["errors"].sum()),
        "right": int(right.sum()),
        "problems": len(tried),
        "solved": int((tried["k"] > 0).sum()),
        "zones": {zone: int((tried["zone"] == zone).sum()) for zone in NAMES},
        "counted": len(counted),
        "control": "silent control" if control else "none: every problem with four choices counts",
        "learning": len(learning),
        "guessed_learning": float(np.mean(guess)) if guess else None,
        "kept": int(kept.sum()),
        "kept_problems": int(made.loc[kept, "item_id"].nunique()),
        "kept_by_zone": {zone: int((kept & (made["zone"] == zone).to_numpy()).sum()) for zone in NAMES},
        "reasons": {str(name): int(count) for name, count in rejected.items()},
        "median_kept": _median(made, kept),
        "median_right": _median(made, right),
        "extra_supervision": "cues" if config.cues else "",
    }


def _median(made: pd.DataFrame, mask: np.ndarray[Any, Any]) -> float | None:
    """Median length of some candidates, in tokens, or in characters where nobody counted tokens."""
    lengths = made["tokens"][mask].dropna() if made["tokens"].notna().any() else made["chars"][mask]
    return float(lengths.astype(float).median()) if len(lengths) else None


def _words(made: pd.DataFrame, table: pd.DataFrame) -> str:
    kept = made[made["kept"]]
    zones = ", ".join(
        f"{count:,} {zone.replace('_', ' ')}"
        for zone in NAMES
        if (count := int((kept["zone"] == zone).sum()))
    )
    of = f"{len(kept):,} of {len(made):,} candidates for {counted(len(table), 'problem')} are kept"
    return f"{of} ({zones})." if zones else f"{of}."
