"""A round that has nothing to learn from, in words: what was found, and what to do. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from audioreason.rest.config import RestConfig
from audioreason.rest.record import generate_run
from audioreason.wording import counted

if TYPE_CHECKING:
    from audioreason.rest.filter import FilterConfig

ALL = "all that is right"


def why_nothing(
    summary: Mapping[str, Any],
    right_reasons: Mapping[str, int],
    others: Mapping[str, int],
    config: RestConfig,
    number: int,
) -> str:
    """What was found in a round that keeps nothing, and what to do.

    Args:
        summary: of the filter.
        right_reasons: why right candidates were left out, with counts.
        others: what other filters would keep of the same candidates; `strategy: all` is one of them.
        config: the experiment's.
        number: the round's.
    """
    run_id = generate_run(config.name, number)
    tried, right, asked = summary["problems"], summary["right"], summary["candidates"]
    anew = "begin another experiment with"
    if not tried:
        why = f"the server answered none of {counted(asked, 'request')}"
        do = f"look at the errors of the run {run_id}, and {anew} settings that the server takes"
    elif not right:
        why = f"none of {counted(tried, 'problem')} was ever right ({_counts(summary['reasons'])})"
        do = (
            f"no filter can change that: read the answers in the run {run_id}, and {anew} easier problems,"
            " another prompt or longer candidates"
        )
    else:
        everything = right == asked - summary["errors"] and bool(others.get(ALL))
        zones = {name.replace("_", " "): count for name, count in summary["zones"].items() if count}
        why = (
            f"every one of {counted(tried, 'problem')} is always right"
            if everything
            else f"{right:,} of {asked:,} candidates are right and none of them is kept"
            f" ({_counts(right_reasons)}; problems: {_counts(zones)})"
        )
        do = _other_filters(others, config)
        if everything:
            do = f"{anew} harder problems, or {do}"
    return f"Round {number} has nothing to learn from: {why}. Nothing was trained; {do}."


def _other_filters(others: Mapping[str, int], config: RestConfig) -> str:
    """How to go on with the preset that keeps most, or with settings of one's own."""
    presets = {name: kept for name, kept in others.items() if name != ALL and kept}
    go_on = f"audioreason rest run {config.name} --resume"
    if presets:
        best = max(presets, key=lambda name: presets[name])
        return (
            f"the filter {best} would keep {presets[best]:,} of the same candidates: {go_on} --filter {best}"
        )
    if others.get(ALL):
        return (
            f"to learn from all that is right ({others[ALL]:,} of the same candidates): copy"
            f' rest/{config.name}/config.json, put "filter_changes": {{"strategy": "all"}} into it, and'
            f" {go_on} --config FILE"
        )
    return (
        "no filter can change that, because no right candidate passes the quality gates: try another prompt"
    )


def other_rules(config: RestConfig) -> dict[str, FilterConfig]:
    """The filters that such a round's candidates are tried with: the other presets, and all that is right."""
    from audioreason.rest.filter import PRESETS, filter_config

    now = filter_config(config.filter, config.filter_changes)
    found = {name: rules for name, rules in PRESETS.items() if rules != now}
    return {**found, ALL: now.model_copy(update={"strategy": "all"})}


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(found.items(), key=lambda pair: -pair[1]))
