"""Searches for a better prompt, written by the search's own writers and scored by the lab's own scorer.

What the models say is made up here; what becomes of it is not. `write_search` serves the page's tests and
whoever wants to look at it by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from audioreason.answers import RawResponse, score
from audioreason.inference.endpoint import Sampling
from audioreason.items import Item, load_dataset
from audioreason.items.splits import split_of
from audioreason.optimize.config import OptimizeConfig
from audioreason.optimize.record import (
    AnswerRecord,
    Candidate,
    Paired,
    Proposal,
    Recorder,
    Result,
    SearchPlan,
    Spent,
    State,
    Trial,
    Verdict,
    optimization_folder,
)
from audioreason.prompts import Prompt, load_prompt
from audioreason.runs import EndpointRef, Prediction, PromptRef, RunRecord, RunWriter, dataset_ref, score_run
from audioreason.workspace import Workspace

SEARCH = "20261101-0900-bells-search"
SEED = "structured-reasoning"
NEW = "structured-reasoning-search"
_ADDED = (
    "First write down every sound with its time, then count only what was asked for.",
    "Count every strike twice, from the start and from the end, and trust the smaller number.",
    "Ignore wooden knocks. {{ question }} asks about one kind of sound alone.",
    "Answer at once.",
    "First write down every sound with its time, then count from the end.",
)
_PARENTS = (0, 0, 1, 0, 1)  # steps
RATES = (4, 7, 5, 6, 3, 8)  # of ten answers, by step, on average
_BEGAN = datetime(2026, 11, 1, 9, tzinfo=UTC)
_ENDPOINT = EndpointRef(
    name="fake", base_url="http://127.0.0.1:1/v1", model="fake-listener", transport="file"
)

Right = Callable[[int, int], bool]  # of a candidate's step and an item's place


def luck(step: int, place: int) -> bool:
    """Whether a candidate is right on an item, as if drawn once and for all."""
    return (place * 7 + step * 3 + place // 10) % 10 < RATES[step % len(RATES)]


def candidates() -> list[Candidate]:
    """The seed, three children and two grandchildren, one of them merged."""
    seed = load_prompt(SEED, [])
    made = [Candidate(seed.version, None, seed.system, seed.user, "seed", "", _BEGAN.isoformat(), 0)]
    for step, (text, parent) in enumerate(zip(_ADDED, _PARENTS, strict=True), 1):
        prompt = Prompt(name="x", system=f"{made[parent].system}\n{text}".strip(), user=seed.user)
        made.append(
            Candidate(
                prompt.version,
                made[parent].id,
                prompt.system,
                prompt.user,
                "merged" if step == 5 else "proposed",
                "",
                (_BEGAN + timedelta(minutes=step)).isoformat(),
                step,
                made[3].id if step == 5 else None,
            )
        )
    return made


def write_search(
    workspace: Workspace,
    search_id: str = SEARCH,
    *,
    dataset: str = "bells",
    sizes: tuple[int, int, int] = (4, 5, 3),
    minibatch: int = 3,
    right: Right = luck,
    ended: bool = True,
    **settings: object,
) -> Recorder:
    """Write a search, and its end if `ended`. The recorder holds the lock: close it."""
    data = load_dataset(workspace, dataset)
    usable = [item for item in data.items if item.gold is not None]
    train, dev, test = (
        [item.id for item in usable[start : start + size]]
        for start, size in zip((0, sizes[0], sizes[0] + sizes[1]), sizes, strict=True)
    )
    config = OptimizeConfig(
        prompt=SEED, dataset=dataset, endpoint="fake", proposer="writer", budget_requests=600, **settings
    )
    recorder = Recorder(optimization_folder(workspace, search_id))
    recorder.write("config.json", config)
    recorder.write("splits.json", {"train": train, "dev": dev, "test": test})
    recorder.write(
        "plan.json",
        SearchPlan(
            train=len(train), dev=len(dev), test=len(test), trials=12, full_trials=4,
            task_requests=300, proposer_requests=5, test_requests=2 * len(test),
        ),
    )  # fmt: skip
    made = candidates()
    places = {item.id: place for place, item in enumerate(data.items)}
    writer = _Writer(recorder, {item.id: item for item in data.items}, places, right)
    for one in made:
        recorder.append(one)
        if one.step:
            recorder.append(_proposal(one))
    writer.trial(made[0], "full", dev)
    for one in made[1:]:
        writer.trial(one, "minibatch", dev[one.step % 2 :][:minibatch])
        if one.step in (1, 3, 5):
            writer.trial(one, "full", dev)
    writer.judge(made[0], "train", train)
    writer.judge(made[5], "train", train)
    spent = Spent(requests=writer.requests, proposer_requests=5, tokens=writer.tokens, seconds=312.0)
    began = _BEGAN.isoformat()
    state = State(phase="search", began=began, spent=spent, best=made[5].id, best_score=writer.best)
    if ended:
        runs = [f"{search_id}-{name}" for name in ("seed", "best")]
        for run_id, one in zip(runs, (made[0], made[5]), strict=True):
            _write_run(workspace, run_id, dataset, one, test, places, right)
        of = [sum(right(one.step, places[item]) for item in test) / len(test) for one in (made[0], made[5])]
        state.phase, state.ending = "done", "finished"
        state.result = Result(
            prompt=NEW, candidate=made[5].id, dev=writer.best, test=of[1], seed_test=of[0],
            test_run=runs[1], seed_run=runs[0],
            difference=Paired(
                mean=of[1] - of[0], low=-0.4, high=0.9, p=0.5, n=len(test), verdict="As written down."
            ),
        )  # fmt: skip
    recorder.state(state)
    return recorder


class _Writer:
    """Answers, verdicts and trials, in the order in which a search writes them."""

    def __init__(
        self, recorder: Recorder, items: dict[str, Item], places: dict[str, int], right: Right
    ) -> None:
        self.recorder, self.items, self.places, self.right = recorder, items, places, right
        self.n, self.requests, self.tokens = 0, 0, 0
        self.best: float | None = None
        self.known: dict[tuple[str, str], float] = {}

    def trial(self, one: Candidate, kind: str, items: Sequence[str]) -> None:
        """Judge the items and write the trial."""
        before = self.requests, self.tokens
        scores = self.judge(one, "dev", items)
        value = sum(scores) / len(scores)
        if kind == "full":
            self.best = max(value, self.best or 0.0)
        self.n += 1
        spent = self.tokens - before[1]
        self.recorder.append(
            Trial(
                self.n, one.id, kind, "dev", tuple(items), value, self.best,  # type: ignore[arg-type]
                2.0 * len(items), spent, self.requests - before[0], _BEGAN.isoformat(),
            )
        )  # fmt: skip

    def judge(self, one: Candidate, split: str, items: Sequence[str]) -> list[float]:
        """The score of every item; an answer and a verdict for those that are new."""
        for item_id in items:
            if (one.id, item_id) in self.known:
                continue
            item, request = self.items[item_id], f"{one.id}{item_id}"
            content = said(one.step, item, self.right(one.step, self.places[item_id]))
            judged = score(
                RawResponse(content, None, "stop"),
                choices=item.choices,
                answer=item.answer,
                gold=item.gold,
                expected_sections=("HEARD", "ANALYSIS", "ANSWER"),
            )
            value = float(bool(judged.strict))
            tokens = len(content) // 4
            self.recorder.append(
                AnswerRecord(request, item_id, content, None, "stop", 200, tokens, 1.0, _BEGAN.isoformat())
            )
            self.recorder.append(
                Verdict(
                    one.id, item_id, 0, split, judged.strict, judged.official, judged.outcome,  # type: ignore[arg-type]
                    judged.resolution.index, value, request,
                )
            )  # fmt: skip
            self.known[one.id, item_id] = value
            self.requests += 1
            self.tokens += tokens
        return [self.known[one.id, item_id] for item_id in items]


def said(step: int, item: Item, right: bool) -> str:
    """What the task model answers."""
    given = item.answer if right else next(choice for choice in item.choices if choice != item.answer)
    return (
        f"HEARD: doorbell 0.50-2.00, glass struck at 2.60.\n"
        f"ANALYSIS: Prompt {step} had me listen for what follows the doorbell; the clear rings come "
        f"one by one, so {given}.\nANSWER: {given}"
    )


def _proposal(one: Candidate) -> Proposal:
    return Proposal(
        one.step,
        (
            {"role": "system", "content": "You write instructions for a model that listens to audio."},
            {
                "role": "user",
                "content": f"The instruction was:\n{one.system[:400]}\n\nWrite one that does better. "
                "<b>Plain text only.</b>",
            },
        ),
        one.system.splitlines()[-1],
        "writer-0.5b",
        180 + one.step,
        3.2,
        one.created,
        "merge" if one.source == "merged" else "propose",
        candidates=(one.id,),
    )


def _write_run(
    workspace: Workspace,
    run_id: str,
    dataset: str,
    one: Candidate,
    test: Sequence[str],
    places: dict[str, int],
    right: Right,
) -> None:
    data = load_dataset(workspace, dataset)
    items = [item for item in data.items if item.id in set(test)]
    record = RunRecord(
        run_id=run_id,
        created=_BEGAN + timedelta(hours=one.step + 1),
        kind="eval",
        dataset=dataset_ref(data),
        prompt=PromptRef(
            name=NEW if one.step else SEED,
            version=one.id,
            system=one.system,
            user=one.user,
            sections=("HEARD", "ANALYSIS", "ANSWER"),
        ),
        endpoint=_ENDPOINT,
        sampling=Sampling(temperature=0.0),
        n_items=len(items),
    )
    with RunWriter.create(workspace, record, items, split_of(data)) as writer:
        for item in items:
            text = said(one.step, item, right(one.step, places[item.id]))
            tokens = len(text) // 4
            writer.append(Prediction(item.id, content=text, finish_reason="stop", completion_tokens=tokens))
        writer.finish()
    score_run(workspace, run_id)
