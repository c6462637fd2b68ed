"""The pure parts of a search: how items are dealt, plans, templates, records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioreason.errors import OptimizeError
from audioreason.items import Dataset, load_dataset
from audioreason.items.sources import cluster_of
from audioreason.items.splits import split_of
from audioreason.optimize.config import OptimizeConfig, make_config
from audioreason.optimize.judge import feedback, judge
from audioreason.optimize.parts import deal
from audioreason.optimize.plan import gepa_rollouts, make_plan, mipro_sizes
from audioreason.optimize.record import Recorder, read_lines, spent_at_least
from audioreason.optimize.shapes import AnswerRecord, Candidate, Spent, State
from audioreason.optimize.texts import Texts, escape
from audioreason.prompts import Prompt, dump_prompt, parse_prompt, render
from audioreason.workspace import Workspace
from tests.optimize.conftest import SEED


def test_a_benchmark_gives_its_explore_half_to_the_search_and_sealed_items_to_the_test(
    workspace: Workspace,
) -> None:
    data = load_dataset(workspace, "soundcheck")
    parts = deal(data, OptimizeConfig(train_items=60, dev_items=80, test_items=120))

    where = split_of(data)
    assert [len(part) for part in (parts.train, parts.dev, parts.test)] == [60, 80, 120]
    assert {where[item_id] for item_id in parts.seen} == {"explore"}
    assert {where[item_id] for item_id in parts.test} == {"sealed"}
    clusters = [{cluster_of(data[i]) for i in part} for part in (parts.train, parts.dev, parts.test)]
    assert not clusters[0] & clusters[1] and not (clusters[0] | clusters[1]) & clusters[2]
    for part, share in ((parts.train, 60 / 160), (parts.dev, 80 / 160), (parts.test, 120 / 160)):
        pool = Counter(
            data[i].layer for i in where if where[i] == ("sealed" if part is parts.test else "explore")
        )
        found = Counter(data[item_id].layer for item_id in part)
        for layer, count in pool.items():
            assert abs(found[layer] - share * count) <= 3
    assert deal(data, OptimizeConfig(train_items=60, dev_items=80, test_items=120)) == parts


def test_the_papers_split_says_that_it_is_not_held_out(workspace: Workspace) -> None:
    data = load_dataset(workspace, "soundcheck")
    parts = deal(data, OptimizeConfig(dealing="paper"))

    assert (len(parts.train), len(parts.dev), len(parts.test)) == (100, 100, 320)
    assert parts.seen < set(parts.test)
    assert "not a held-out figure" in " ".join(make_plan(OptimizeConfig(dealing="paper"), parts).notes)


def test_too_few_items_are_a_sentence(tiny_dataset: Callable[..., Dataset]) -> None:
    with pytest.raises(OptimizeError, match="leaves 1 items for train"):
        deal(tiny_dataset(n=3), OptimizeConfig())


@pytest.mark.parametrize("level", ["light", "medium", "heavy"])
@pytest.mark.parametrize("part", ["system", "both"])
def test_plans_are_the_optimisers_own_arithmetic(level: str, part: str) -> None:
    dspy = pytest.importorskip("dspy")
    from audioreason.optimize.seam import ListenAndAnswer

    config = OptimizeConfig(level=level, part=part)  # type: ignore[arg-type]
    program = ListenAndAnswer("a", "b" if part == "both" else None)
    model = dspy.utils.DummyLM([])
    mipro = dspy.MIPROv2(metric=lambda *_: 1.0, prompt_model=model, task_model=model, auto=level)
    mipro._set_random_seeds(9)
    trials, valset, minibatch, instructions, _ = mipro._set_hyperparams_from_run_mode(
        program, None, True, True, list(range(80)), None, None
    )
    sizes = mipro_sizes(config, 80)
    assert (sizes.trials, sizes.candidates) == (trials, instructions)
    assert minibatch and len(valset) == 80 and sizes.minibatch == config.minibatch
    gepa = dspy.GEPA(metric=lambda *_: 1.0, auto=level, reflection_lm=model)
    budget = gepa.auto_budget(1 + (part == "both"), {"light": 6, "medium": 12, "heavy": 18}[level], 80)
    assert gepa_rollouts(config, 80) == budget


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r"), max_size=200))
def test_any_text_escapes_to_a_template_of_itself(text: str) -> None:
    prompt = SEED.model_copy(update={"system": escape(text)})
    assert render(prompt, question="q", choices=("a", "b")).system == text


@given(st.text(alphabet=st.sampled_from("ab {}%#\n'\"choices"), max_size=60))
def test_whatever_is_proposed_renders_and_survives_its_file(workspace_free: None, text: str) -> None:
    made = Texts(SEED, True, ()).make(text, text).prompt
    rendered = render(made, question="what?", choices=("left", "right"))
    assert "what?" in rendered.user and "right" in rendered.user
    saved = parse_prompt(dump_prompt(made), made.name)
    assert saved.version == made.version


@pytest.fixture(scope="module")
def workspace_free() -> None:
    """Marks that hypothesis may share it."""


def test_the_seeds_own_instructions_are_the_seed() -> None:
    for system in ("", "You listen."):
        seed = SEED.model_copy(update={"system": system})
        texts = Texts(seed, True, ())
        assert texts.make(texts.system, texts.user).prompt == seed


def test_gold_is_told_about_train_items_alone_and_length_costs_a_little(
    tiny_dataset: Callable[..., Dataset],
) -> None:
    item = tiny_dataset(n=4)[f"tiny-{2:03d}"]
    config = make_config({"metric": "weighted", "length_tokens": 100})

    def said(content: str, tokens: int) -> AnswerRecord:
        return AnswerRecord("h", item.id, content, None, "stop", 5, tokens, 0.1, "")

    wrong = judge(item, said("HEARD: a bell\nANSWER: one", 10), (), config)
    assert wrong.value == 0.0
    assert '"three"' in feedback(wrong, tell_gold=True) and "a bell" in feedback(wrong, tell_gold=True)
    assert "three" not in feedback(wrong, tell_gold=False)
    short = judge(item, said("ANSWER: three", 10), (), config)
    long = judge(item, said("ANSWER: three", 500), (), config)
    broken = judge(item, said("ANSWER: three", 10), ("HEARD", "ANSWER"), config)
    assert (short.value, long.value) == (pytest.approx(0.99), pytest.approx(0.9))
    assert broken.value == pytest.approx(0.89) and broken.score.outcome == "format_broken"


def test_torn_lines_are_skipped_and_cut_before_the_next(tmp_path: Path) -> None:
    first = Candidate("a" * 12, None, "s", "u", "seed")
    with Recorder(tmp_path) as recorder:
        recorder.append(first)
        with pytest.raises(OptimizeError, match="another process"):
            Recorder(tmp_path)
    with (tmp_path / "candidates.jsonl").open("ab") as file:
        file.write(b'{"id": "bbb')
    assert list(read_lines(tmp_path, Candidate)) == [first]
    second = Candidate("c" * 12, "a" * 12, "s2", "u", "proposed", step=1)
    with Recorder(tmp_path) as recorder:
        recorder.append(second)
    assert list(read_lines(tmp_path, Candidate)) == [first, second]


def test_a_prompt_that_is_no_template_keeps_its_words() -> None:
    made = Texts(SEED, False, ()).make("Count {{ sounds }} in {% every %} clip")
    assert (
        render(made.prompt, question="q", choices=("a",)).system == "Count {{ sounds }} in {% every %} clip"
    )
    assert made.note
    assert isinstance(made.prompt, Prompt)


def test_what_a_killed_search_spent_is_told_by_its_records(tmp_path: Path) -> None:
    """Its state was last written before two answers came; one of them stands twice, and one line is torn."""
    answers = [
        AnswerRecord("a", "one", "x", None, "stop", 9, 5, 1.0, "2026-11-23T10:00:10.000+00:00"),
        AnswerRecord("b", "two", "y", None, "stop", 9, 7, 1.0, "2026-11-23T10:00:30.500+00:00"),
    ]
    with Recorder(tmp_path) as recorder:
        for one in (*answers, answers[0]):
            recorder.append(one)
    with (tmp_path / "answers.jsonl").open("a") as file:
        file.write('{"request_hash": "c", "item')
    said = Spent(requests=1, proposer_requests=4, tokens=5, seconds=60.0)
    killed = State(updated="2026-11-23T10:00:20.000+00:00", spent=said)
    # 10.5 s from the state's last word to the last answer; binary fractions, so the sum is exact
    told = Spent(requests=2, proposer_requests=4, tokens=12, seconds=70.5)
    assert spent_at_least(tmp_path, killed) == told
    stopped = State(updated="2026-11-23T10:00:31.000+00:00", spent=Spent(requests=3, tokens=20, seconds=71.0))
    assert spent_at_least(tmp_path, stopped) == stopped.spent
