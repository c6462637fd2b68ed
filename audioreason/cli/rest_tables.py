"""What `rest` prints of an experiment: the page's ledger, a row a figure and a column a round."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from audioreason.cli.output import emit_table, interval, percent, remark
from audioreason.rest import outline, record, view
from audioreason.rest.published import PAPER
from audioreason.runs import Catalog
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from audioreason.rest.forgetting import Change
    from audioreason.rest.outline import Experiment, Round
    from audioreason.rest.view import Figures, Score, Share


def ledger(workspace: Workspace, name: str) -> dict[str, Any]:
    """An experiment as the loop wrote it, with what it came to, for programs; fractions of 1.

    Raises:
        RestError: if there is none, or a file of it cannot be read.
    """
    written = record.read_experiment(workspace, name)
    found, figures, scores, said = _read(workspace, name)
    rounds = []
    for one in written.rounds:
        here = figures.get(one.number)
        rounds.append(
            one.model_dump(mode="json")
            | {
                "figures": None if here is None else asdict(here),
                "accuracy": [asdict(score) for score in scores if score.round == one.number],
            }
        )
    return {
        "id": written.id,
        "state": written.state,
        "stop": written.stop,
        "config": written.config.model_dump(mode="json"),
        "zones": found.zones,
        "rounds": rounds,
        "warnings": said,
    }


def print_ledger(workspace: Workspace, name: str) -> None:
    """Rounds side by side beside the published figures; what to know before concluding as remarks.

    Raises:
        RestError: if there is none, or a file of it cannot be read.
    """
    found, figures, scores, said = _read(workspace, name)
    rows = [
        ("", *(_state(one) for one in found.rounds), "published"),
        *_candidates(found, figures),
        *_accuracy(found, scores),
        *_sides(found),
        *_made(found),
    ]
    columns = ("", *(one.name for one in found.rounds), "Paper")
    emit_table(columns, [row for row in rows if any(row[1:])], right=columns[1:])
    for sentence in said:
        remark(sentence)


def _read(workspace: Workspace, name: str) -> tuple[Experiment, dict[int, Figures], list[Score], list[str]]:
    found = outline.read(workspace, name)
    figures = {}
    for one in found.rounds:
        problems = record.read_problems(workspace, found.id, one.number)
        candidates = record.read_candidates(workspace, found.id, one.number)
        if problems is not None and candidates is not None:
            figures[one.number] = outline.figures(found, problems, candidates)
    scores = view.scores(Catalog(workspace), [(one.number, dict(one.evaluations)) for one in found.rounds])
    return found, figures, scores, outline.warnings(found, figures, scores)


def _state(one: Round) -> str:
    return "done" if one.over else f"at {one.phase}"


def _candidates(found: Experiment, figures: dict[int, Figures]) -> list[tuple[str, ...]]:
    def line(title: str, say: Callable[[Figures], str], paper: str) -> tuple[str, ...]:
        cells = (figures.get(one.number) for one in found.rounds)
        return (title, *("" if here is None else say(here) for here in cells), paper)

    place = found.accent
    return [
        line("problems", lambda here: f"{here.problems:,}", f"{PAPER.problems:,}"),
        line("candidates", lambda here: f"{here.candidates:,}", f"{PAPER.candidates:,}"),
        line("unanswered", lambda here: f"{here.errors:,}" if here.errors else "", ""),
        line("right", lambda here: _share(here.right), percent(PAPER.right_share)),
        line("solved at least once", lambda here: _share(here.solved), percent(PAPER.solved_share)),
        line("problems that count", lambda here: f"{here.counted:,}", ""),
        line(
            f"in the zone {found.zones[place]}",
            lambda here: _share(view.share(here.zones[place], sum(here.zones))),
            percent(PAPER.learning_share),
        ),
        line("by guessing alone", lambda here: percent(here.guess[place]) if here.guess else "", ""),
        ("training samples", *(_number(one.training) for one in found.rounds), f"{PAPER.training:,}"),
    ]


def _accuracy(found: Experiment, scores: Sequence[Score]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for prompt in found.prompts:
        of = {one.round: one for one in scores if one.prompt == prompt}
        rows.append((f"accuracy, {prompt}", *(_score(of.get(one.number)) for one in found.rounds), ""))
        rows.append(("  points against the base", *(_change(of.get(one.number)) for one in found.rounds), ""))
    empty = [""] * len(found.rounds)
    rows.append(("accuracy, MMAR", *empty, f"{percent(PAPER.after)}, before {percent(PAPER.before)}"))
    return rows


def _sides(found: Experiment) -> list[tuple[str, ...]]:
    known = [one.forgetting for one in found.rounds]
    lost = (_changed(None if here is None else here.lost) for here in known)
    learned = (_changed(None if here is None else here.learned) for here in known)
    return [("lost, of what the base knows", *lost, ""), ("newly learned, of the others", *learned, "")]


def _made(found: Experiment) -> list[tuple[str, ...]]:
    return [
        ("adapter", *(one.adapter for one in found.rounds), ""),
        ("candidates' run", *(one.generate for one in found.rounds), ""),
        *(
            (f"run, {prompt}", *(one.evaluations.get(prompt, "") for one in found.rounds), "")
            for prompt in found.prompts
        ),
    ]


def _share(one: Share) -> str:
    return f"{percent(one.value)} ({interval((one.low, one.high))})" if one.n else ""


def _number(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _score(one: Score | None) -> str:
    if one is None:
        return ""
    so_far = "" if one.finished else " so far"
    return f"{percent(one.accuracy)} ({interval((one.low, one.high))}) of {one.n:,}{so_far}"


def _change(one: Score | None) -> str:
    if one is None or one.change is None or not one.change.n:
        return ""
    here = one.change
    return f"{100 * here.mean:+.1f} ({100 * here.low:+.1f} to {100 * here.high:+.1f}), p {here.p:.3f}"


def _changed(change: Change | None) -> str:
    if change is None:
        return ""
    own = "" if change.own is None else f", the base itself {change.own}"
    return f"{change.k} of {change.of}{own}"
