"""Numbers and sentences of the Optimize page, as plain text. Knows nothing about Streamlit."""

from __future__ import annotations

from app.compare.words import bounds, percent, points
from app.words import duration
from audioreason.optimize.config import SAME, OptimizeConfig
from audioreason.optimize.record import Optimization, SearchPlan, Spent
from audioreason.optimize.view import Luck, Share
from audioreason.wording import counted

__all__ = ["bounds", "percent", "points"]

OPTIMIZERS = {"mipro": "MIPROv2", "gepa": "GEPA"}
KINDS = {
    "minibatch": "dev minibatch",
    "reflection": "train items it was written from",
    "full": "all of dev",
}
SOURCES = {
    "seed": "the seed",
    "proposed": "proposed",
    "demos": "with text demos",
    "reflected": "written after reading answers",
    "merged": "merged from two",
}
PURPOSES = {
    "propose": "an instruction",
    "reflect": "a better prompt, given answers",
    "merge": "one prompt from two",
    "summarise": "a summary of the items",
    "other": "something else",
}
_PHASES = {
    "prepare": "preparing clips and items",
    "propose": "the proposer writes candidates",
    "search": "trying candidates",
    "save": "saving the best prompt",
    "test": "the final test against the seed",
    "done": "done",
}
_STANDINGS = {
    "finished": "finished",
    "stopped": "stopped; the best so far was kept",
    "budget": "ended when its budget was spent; the best so far was kept",
    "failed": "failed",
    "interrupted": "interrupted: its process ended without a word; resuming repeats no request",
}


def share(found: Share) -> str:
    """Such as 56.0% (52.9 to 59.1)."""
    return f"{percent(found.value)} ({span(found)})"


def span(found: Share) -> str:
    """An interval of percentages, such as 52.9 to 59.1."""
    return f"{100 * found.low:.1f} to {100 * found.high:.1f}"


def state(search: Optimization) -> str:
    """What goes on, or how it ended."""
    if search.running:
        return f"running: {_PHASES.get(search.state.phase, search.state.phase)}"
    return _STANDINGS.get(search.standing, search.standing)


def colour(standing: str) -> str:
    """The dot of a state; the words say the same."""
    return {"running": "blue", "finished": "green", "failed": "red"}.get(standing, "orange")


def models(config: OptimizeConfig) -> tuple[str, str]:
    """The task model and the proposer."""
    task = _model(config.endpoint, config.model)
    if config.proposer == SAME and not config.proposer_model:
        return task, "the task model itself"
    return task, _model(config.proposer, config.proposer_model)


def _model(endpoint: str, model: str) -> str:
    name = model.rstrip("/").rpartition("/")[2]
    return f"{name} at {endpoint}" if name else endpoint


def parts(search: Optimization) -> str:
    """Dataset and sizes of the parts."""
    sizes = " + ".join(
        f"{len(search.splits[name]):,} {name}" for name in ("train", "dev", "test") if name in search.splits
    )
    return f"{search.config.dataset}: {sizes} items" if sizes else search.config.dataset


def spent(config: OptimizeConfig, used: Spent) -> str:
    """What was used, of what was allowed."""
    sent = used.requests + used.proposer_requests
    minutes = "" if config.budget_minutes is None else f" of {config.budget_minutes:g} m"
    return " · ".join(
        (
            f"{_of(sent, config.budget_requests)} requests ({used.proposer_requests:,} to the proposer)",
            f"{_of(used.tokens, config.budget_tokens)} tokens",
            duration(used.seconds) + minutes,
        )
    )


def _of(used: int, allowed: int | None) -> str:
    return f"{used:,}" if allowed is None else f"{used:,} of {allowed:,}"


def budget(config: OptimizeConfig) -> str:
    """Whether anything ends the search before the optimiser does."""
    limits = (config.budget_requests, config.budget_tokens, config.budget_minutes)
    return "" if any(limit is not None for limit in limits) else "no budget was set"


def progress(search: Optimization, plan: SearchPlan | None) -> str:
    """How far a search that runs is."""
    done = len(search.trials)
    if plan is None or not plan.trials:
        return counted(done, "trial")
    return (
        f"{done:,} of about {counted(plan.trials, 'trial')}"
        if done <= plan.trials
        else counted(done, "trial")
    )


def curse(luck: Luck | None, tested: bool) -> str:
    """What stands between the winner's dev score and what it is worth."""
    if luck is None:
        return "The train items were read by the proposer. Only test items say what a prompt is worth."
    sentence = (
        f"Winner's curse: {luck.candidates:,} candidates were scored on the same "
        f"{counted(luck.items, 'dev item')} and the best was kept, so its dev score is biased upward. Had "
        "all been equally good, the best would still look up to about "
        f"{points(luck.points, sign=False)} points better than it is."
    )
    end = (
        "The test items were looked at once, at the end."
        if tested
        else "The test has not been made; until then nothing here says how good it is on new items."
    )
    return f"{sentence} {end}"


def stayed(luck: Luck | None, tested: bool) -> str:
    """What may be said when the search kept its seed."""
    end = (
        "The seed alone was measured on test, for the record."
        if tested
        else "There was nothing to measure on test."
    )
    if luck is None:
        return f"No other candidate was tried on all of dev. {end}"
    return (
        f"{luck.candidates:,} candidates, the seed among them, were scored on the same "
        f"{counted(luck.items, 'dev item')}; a small gain can go unseen on these. {end}"
    )


def shrank(dev: Share | None, seed_dev: Share | None, test: Share | None, seed_test: Share | None) -> str:
    """How much of the gain on dev was there again on test."""
    if dev is None or seed_dev is None or test is None or seed_test is None:
        return ""
    return (
        f"Gain over the seed: {points(dev.value - seed_dev.value)} points on dev, "
        f"{points(test.value - seed_test.value)} on test."
    )


def label(config: OptimizeConfig, kind: str | None) -> str:
    """What must be seen before any figure: where the dev items come from; empty if they are the lab's own."""
    if config.dealing == "paper":
        return (
            "Paper's split: 100 train and 100 dev items are taken from the benchmark itself and the final "
            "figure is on all of it. It is not a held-out figure."
        )
    if kind == "benchmark":
        return (
            "Optimised on a benchmark: train and dev are its explore half, the final figure is on sealed "
            "items. Don't report this prompt's score on the explore half or the full set."
        )
    return ""
