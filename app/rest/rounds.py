"""Rounds side by side: figures with intervals, zones beside guessing, accuracy by prompt, lineage."""

from __future__ import annotations

import math

import streamlit as st

from app.errors.grid import Row, grid
from app.rest import address, look
from app.rest.forgetting import ledger_lines, trend
from app.rest.ledger import Figure, Group, Head, Line, ledger
from app.rest.look import Experiment, Round
from app.rest.strips import Strip, strips
from app.rest.words import bounds, percent, points, round_name, span, thousands, zone_words
from app.session import plain
from app.words import duration
from audioreason.rest.published import PAPER
from audioreason.rest.view import Figures, Score, Share, share
from audioreason.stats import wilson

_NOTHING = Figure()
_PHASES = ("generate", "filter", "train", "evaluate")


def rounds(found: Experiment, shown: Round) -> None:
    """Draw the view."""
    left, right = st.columns([1.22, 1], gap="large")
    with left:
        _ledger(found, shown)
        st.markdown(
            ":small[:gray[95% intervals, Wilson's; differences are paired by item, against the base with the "
            "same prompt, green or red only where p is below 0.05. Paper: as published, of another model on "
            "other data; not measured here. Neither published rule explains its 4,361 training samples.]]"
        )
    with right:
        zone_strips(found, shown, "rest_strips")
        _accuracy(found)
        trend(found)
        lineage(found)


def _ledger(found: Experiment, shown: Round) -> None:
    heads = [
        Head(one.name, look.state_words(found, one), current=one.number == shown.number)
        for one in found.rounds
    ]
    heads.append(Head("Paper", "published", quiet=True))
    figures = [look.figures(found, one) for one in found.rounds]
    groups = [
        Group("Candidates", _candidate_lines(found, figures)),
        Group("Accuracy, strict", _accuracy_lines(found)),
        Group("Against the base, item by item", ledger_lines(found)),
        Group("Cost", _cost_lines(found)),
    ]
    clicked = ledger(heads, groups, key="rest_ledger")
    if clicked is not None and clicked < len(found.rounds):
        address.go(round=str(found.rounds[clicked].number))
        st.rerun()


def _candidate_lines(found: Experiment, figures: list[Figures | None]) -> list[Line]:
    accent = found.accent

    def line(label: str, make: object, paper: Figure, about: str = "") -> Line:
        cells = [_NOTHING if one is None else make(one) for one in figures]  # type: ignore[operator]
        return Line(label, [*cells, paper], about)

    name = zone_words(found.zones[accent])
    lines = [
        line("Problems", lambda f: Figure(thousands(f.problems)), Figure(thousands(PAPER.problems))),
        line("Candidates", _candidates, Figure(thousands(PAPER.candidates))),
        line("Right, of those answered", lambda f: _share(f.right), Figure(percent(PAPER.right_share))),
        line(
            "Solved at least once",
            lambda f: _share(f.solved),
            Figure(percent(PAPER.solved_share), f"{PAPER.solved:,}"),
        ),
        line(
            f"In the zone “{name}”",
            lambda f: _zone(f, accent),
            Figure(percent(PAPER.learning_share), f"{PAPER.learning:,}"),
            "Of the problems that count: four choices or more, where hearing beats silence.",
        ),
        line(
            "… by guessing alone",
            lambda f: Figure(percent(f.guess[accent]) if f.guess else ""),
            Figure("", "not said"),
            "The share that a model which hears nothing would put into this zone.",
        ),
    ]
    training = [Figure() if one.training is None else Figure(thousands(one.training)) for one in found.rounds]
    lines.append(Line("Training samples", [*training, Figure(thousands(PAPER.training), "unexplained")]))
    return lines


def _candidates(one: Figures) -> Figure:
    return Figure(thousands(one.candidates), f"{one.errors:,} unanswered" if one.errors else "")


def _share(one: Share) -> Figure:
    return Figure(percent(one.value), span(one.low, one.high) if one.n else "")


def _zone(one: Figures, accent: int) -> Figure:
    counted = share(one.zones[accent], sum(one.zones))
    below = bool(one.guess) and counted.n > 0 and counted.low <= one.guess[accent]
    return Figure(
        percent(counted.value), span(counted.low, counted.high) if counted.n else "", "warn" if below else ""
    )


def _accuracy_lines(found: Experiment) -> list[Line]:
    scores = look.scores(found)
    lines = []
    for prompt in found.prompts:
        of = {one.round: one for one in scores if one.prompt == prompt}
        if not of:
            continue
        cells = [_score(of.get(one.number)) for one in found.rounds]
        lines.append(Line(prompt, [*cells, _NOTHING]))
        if any(one.change is not None for one in of.values()):
            changes = [_change(of.get(one.number)) for one in found.rounds]
            lines.append(Line("… points against base", [*changes, _NOTHING]))
    # on rows of its own: another benchmark, another model and another prompt than any row above
    low, high = wilson(round(PAPER.after * PAPER.benchmark), PAPER.benchmark)
    empty = [_NOTHING] * len(found.rounds)
    lines.append(Line("MMAR, three rounds", [*empty, Figure(percent(PAPER.after), span(low, high))]))
    change = Figure(points(PAPER.after - PAPER.before), f"before {percent(PAPER.before)}")
    lines.append(Line("… points against base", [*empty, change]))
    return lines


def _score(one: Score | None) -> Figure:
    if one is None:
        return _NOTHING
    text = percent(one.accuracy)
    return Figure(text if one.finished else f"{text} so far", f"{span(one.low, one.high)}, {one.n:,}")


def _change(one: Score | None) -> Figure:
    if one is None or one.change is None or one.change.n == 0:
        return _NOTHING
    here = one.change
    tone = "" if not here.significant else "right" if here.mean > 0 else "wrong"
    return Figure(points(here.mean), bounds(here.low, here.high), tone)  # type: ignore[arg-type]


def _cost_lines(found: Experiment) -> list[Line]:
    names = list(dict.fromkeys([*_PHASES, *(name for one in found.rounds for name in one.seconds)]))
    lines = []
    for name in names:
        cells = []
        for one in found.rounds:
            seconds, tokens = one.seconds.get(name), one.tokens.get(name)
            more = f"{thousands(tokens)} tokens" if tokens else ""
            known = seconds is not None and math.isfinite(seconds)
            cells.append(Figure(duration(seconds) if known and seconds is not None else "", more))
        if any(cell.text or cell.more for cell in cells):
            lines.append(Line(name.replace("_", " ").capitalize(), [*cells, _NOTHING]))
    return lines


def zone_strips(found: Experiment, shown: Round, key: str) -> None:
    """Zones of every round that has candidates, each beside what guessing alone would give."""
    bars: list[Strip] = []
    numbers: list[int] = []
    noted = ""
    for one in found.rounds:
        figures = look.figures(found, one)
        if figures is None or not sum(figures.zones):
            continue
        bars.append(
            Strip(
                one.name,
                figures.zones,
                figures.guess or None,
                current=one.number == shown.number,
                note="" if (note := _counted(figures)) == noted else note,
            )
        )
        noted = note
        numbers.append(one.number)
    if not bars:
        st.markdown(":small[:gray[Problems by zone]]  \nNo round has candidates that count yet.")
        return
    st.markdown(
        ":small[:gray[Problems by zone: how often the model was right. Thin bar: if every answer were a "
        "guess. A segment leads to its candidates.]]"
    )
    picked = strips(bars, [zone_words(zone) for zone in found.zones], key=key, accent=found.accent)
    if picked is not None:
        row, zone = picked
        address.go(
            round=str(numbers[row]),
            view="Candidates",
            **(address.no_filters() | {"zone": (found.zones[zone],)}),
        )
        st.rerun()


def _counted(figures: Figures) -> str:
    if figures.counted == figures.problems:
        return ""
    return (
        f"{figures.counted:,} of {figures.problems:,} problems count: the others have fewer than four "
        "choices, got no answer, or, by a silent control, need no hearing."
    )


def _accuracy(found: Experiment) -> None:
    scores = look.scores(found)
    if not scores:
        st.markdown(":small[:gray[Accuracy]]  \nNo evaluation has answers yet.")
        return
    base = {one.prompt: one.accuracy for one in scores if one.round == 0}
    rows = [
        Row(
            round_name(one.round),
            one.n,
            one.accuracy,
            one.low,
            one.high,
            layer=one.prompt,
            mark=base.get(one.prompt) if one.round else None,
        )
        for one in sorted(scores, key=lambda one: (found.prompts.index(one.prompt), one.round))
    ]
    title = "Accuracy after each round, strict, 95% interval and items; stroke: base"
    grid(rows, key="rest_accuracy", title=title, clickable=False, label=164)


def lineage(found: Experiment) -> None:
    """What each round's model came from."""
    st.markdown(":small[:gray[Lineage]]")
    lines = []
    for one in found.rounds:
        if one.number == 0:
            lines.append(f"**Base** {plain(one.model)}" if one.model else "**Base** :gray[not evaluated yet]")
            continue
        made = plain(one.adapter) if one.adapter else f":gray[{look.untrained(one)}]"
        origin = f" :gray[from {plain(one.origin)}]" if one.adapter and one.origin else ""
        lines.append(f":gray[→] **{plain(one.name)}** {made}{origin}")
        if one.override:
            lines.append(
                f":orange[benchmark items were let into training of {plain(one.name)}: {plain(one.override)}]"
            )
    st.markdown("  \n".join(lines))
