"""The explorer's figures and lists, held against counting by hand over a random run."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from audioreason.errors import RunError
from audioreason.inference.endpoint import Sampling
from audioreason.items import Dataset
from audioreason.items.splits import split_of
from audioreason.review import Annotations, explorer
from audioreason.runs import Catalog, Filter, Prediction, RunRecord, RunWriter, dataset_ref, score_run
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset

SAMPLES = 4
Given = dict[tuple[str, int], int | None]  # (item id, sample) -> index of the choice; None is a server error


def write_run(workspace: Workspace, data: Dataset, run_id: str, given: Given, samples: int = SAMPLES) -> None:
    """A finished run in which the model said exactly this; longer for later samples."""
    record = RunRecord(
        run_id=run_id,
        created=datetime(2026, 11, 23, tzinfo=UTC),
        kind="eval",
        dataset=dataset_ref(data),
        sampling=Sampling(samples=samples),
        n_items=len(data.items),
    )
    with RunWriter.create(workspace, record, data.items, split_of(data)) as writer:
        for (item_id, sample), choice in given.items():
            if choice is None:
                writer.append(Prediction(item_id, sample, error="gone", error_kind="http_500"))
            else:
                text = f"<think>{'so ' * 20 * sample}</think>ANSWER: {data[item_id].choices[choice]}"
                writer.append(Prediction(item_id, sample, content=text, finish_reason="stop"))
        writer.finish()
    score_run(workspace, run_id)


@pytest.fixture
def data(tiny_dataset: TinyDataset) -> Dataset:
    return tiny_dataset(n=24, kind="benchmark", clips=False)


@pytest.fixture
def given(data: Dataset) -> Given:
    dice = random.Random(7)
    return {
        (item.id, sample): dice.choice([None, item.gold, item.gold, 0, 1, 2, 3])
        for item in data.items
        for sample in range(SAMPLES)
    }


@pytest.fixture
def catalog(workspace: Workspace, data: Dataset, given: Given) -> Catalog:
    write_run(workspace, data, "a", given)
    return Catalog(workspace)


def item_means(data: Dataset, given: Given, without: frozenset[str] = frozenset()) -> dict[str, float]:
    """Share of right samples of each item that was answered at all."""
    means = {}
    for item in data.items:
        answered = [given[item.id, s] for s in range(SAMPLES) if given[item.id, s] is not None]
        if answered and item.id not in without:
            means[item.id] = sum(choice == item.gold for choice in answered) / len(answered)
    return means


@pytest.mark.parametrize("errata", [0, 5])
def test_figures_are_means_over_items_with_and_without_errata(
    catalog: Catalog, data: Dataset, given: Given, errata: int
) -> None:
    without = frozenset(item.id for item in data.items[:errata])
    means = item_means(data, given, without)
    found = explorer.overview(catalog, "a", without=without)
    assert found.strict.n == len(means)
    assert found.strict.value == pytest.approx(sum(means.values()) / len(means))
    for group in found.groups:
        inside = [mean for item_id, mean in means.items() if data[item_id].subcategory == group.name]
        assert group.strict.n == len(inside)
        assert group.strict.value == pytest.approx(sum(inside) / len(inside))
        outcomes: Counter[str] = Counter()
        for (item_id, _), choice in given.items():
            if data[item_id].subcategory == group.name and item_id not in without:
                right = choice == data[item_id].gold
                outcomes["server_error" if choice is None else "correct" if right else "wrong"] += 1
        assert dict(group.outcomes) == dict(outcomes)


def test_a_split_has_figures_of_its_own_and_the_halves_make_the_whole(catalog: Catalog) -> None:
    whole = explorer.overview(catalog, "a")
    halves = [explorer.overview(catalog, "a", part) for part in ("explore", "sealed")]
    assert all(half.strict.n for half in halves)
    assert sum(half.strict.n for half in halves) == whole.strict.n
    total = sum(half.strict.n * (half.strict.value or 0) for half in halves)
    assert total == pytest.approx(whole.strict.n * (whole.strict.value or 0))


def found_places(catalog: Catalog, where: Filter) -> set[tuple[str, int]]:
    """What a filter lets through, read page by page."""
    places: list[tuple[str, int]] = []
    while True:
        page = explorer.find(catalog, where, limit=7, offset=len(places))
        if page.rows.empty:
            assert page.total == len(places)
            return set(places)
        places += list(zip(page.rows["item_id"], page.rows["sample"], strict=True))


def test_filters_let_through_what_counting_by_hand_does(
    catalog: Catalog, data: Dataset, given: Given
) -> None:
    names = ("one", "two", "three", "four")

    def agreement(item_id: str) -> float:
        answered = [given[item_id, s] for s in range(SAMPLES) if given[item_id, s] is not None]
        return max(Counter(answered).values()) / len(answered) if answered else -1

    confused = {
        place
        for place, choice in given.items()
        if data[place[0]].answer == "two" and choice is not None and names[choice] == "three"
    }
    assert confused  # else the test says nothing
    assert found_places(catalog, Filter(runs=("a",), gold_text="two", given_text="three")) == confused
    for bounds in ((1.0, None), (0.5, 1.0), (None, 0.5)):
        low, high = bounds[0] or 0, bounds[1] or 2
        expected = {place for place in given if low <= agreement(place[0]) < high}
        assert expected
        assert found_places(catalog, Filter(runs=("a",), agreement=bounds)) == expected
    long = {place for place, choice in given.items() if choice is not None and place[1] == 3}
    assert found_places(catalog, Filter(runs=("a",), chars=(170, None))) == long
    some = tuple(sorted(given))[:5]
    assert found_places(catalog, Filter(runs=("a",), only=some)) == set(some)
    assert found_places(catalog, Filter(runs=("a",), only=())) == set()
    left = frozenset(item.id for item in data.items[3:])
    assert found_places(catalog, Filter(runs=("a",), without=left)) == {p for p in given if p[0] not in left}


def test_the_list_says_how_far_samples_agree(catalog: Catalog, given: Given) -> None:
    rows = explorer.find(catalog, Filter(runs=("a",)), limit=1000).rows
    for row in rows.itertuples(index=False):
        answered = [given[row.item_id, s] for s in range(SAMPLES) if given[row.item_id, s] is not None]
        if answered:
            assert row.agreement == pytest.approx(max(Counter(answered).values()) / len(answered))
        else:
            assert row.agreement != row.agreement


def test_confusions_count_every_wrong_choice_once(catalog: Catalog, data: Dataset, given: Given) -> None:
    expected = Counter(
        (data[item_id].answer, data[item_id].choices[choice])
        for (item_id, _), choice in given.items()
        if choice is not None and choice != data[item_id].gold
    )
    found = explorer.confusions(catalog, "a")
    assert {(one.gold, one.given): one.n for one in found} == expected
    assert [one.n for one in found] == sorted(expected.values(), reverse=True)
    for one in found:
        assert len(one.examples) == min(one.items, 5)
        assert all(data[item_id].answer == one.gold for item_id in one.examples)


def test_positions_and_lengths_cover_every_answer(catalog: Catalog, data: Dataset, given: Given) -> None:
    answers = {place: choice for place, choice in given.items() if choice is not None}
    found = explorer.biases(catalog, "a")
    for position in found.positions:
        share = sum(choice == position.index for choice in answers.values()) / len(answers)
        gold = sum(data[item_id].gold == position.index for item_id, _ in answers) / len(answers)
        assert (position.chosen.value, position.gold) == (pytest.approx(share), pytest.approx(gold))
    assert sum(position.chosen.value or 0 for position in found.positions) == pytest.approx(1)
    assert [band.low for band in found.lengths] == sorted(band.low for band in found.lengths)
    assert len(found.lengths) == 4


def test_agreement_with_another_run_counts_first_samples_of_the_same_questions(
    workspace: Workspace, catalog: Catalog, data: Dataset, given: Given
) -> None:
    other: Given = {(item.id, 0): (0 if k % 2 else item.gold) for k, item in enumerate(data.items)}
    write_run(workspace, data, "b", other, samples=1)
    (found,) = explorer.agreement(catalog, "a")
    common = [item for item in data.items if given[item.id, 0] is not None]
    same = [item for item in common if given[item.id, 0] == other[item.id, 0]]
    both = [i for i in common if given[i.id, 0] != i.gold and other[i.id, 0] != i.gold]
    assert both
    assert (found.run_id, found.n) == ("b", len(common))
    assert found.same == pytest.approx(len(same) / len(common))
    assert found.same_wrong == pytest.approx(sum(i in same for i in both) / len(both))
    assert found.kappa is not None and -1 <= found.kappa <= 1


def test_tags_are_counted_by_subcategory(workspace: Workspace, catalog: Catalog, data: Dataset) -> None:
    book = Annotations(workspace)
    book.set_tag("a", data.items[0].id, 0, "wrong count", True)
    book.set_tag("a", data.items[3].id, 1, "wrong count", True)  # the same subcategory
    book.set_tag("a", data.items[3].id, 1, "guessed", True)
    book.set_tag("another run", data.items[0].id, 0, "guessed", True)
    table = explorer.tag_table(catalog, book, "a")
    assert table.tags == ("wrong count", "guessed")
    assert table.groups == (data.items[0].subcategory,)
    assert table.counts == ((2, 1),)
    assert table.tagged == 2
    assert explorer.tagged(book, "a", "guessed") == ((data.items[3].id, 1),)
    assert len(explorer.tagged(book, "a")) == 2


def test_an_unknown_run_is_one_sentence(catalog: Catalog) -> None:
    for question in (explorer.overview, explorer.confusions, explorer.biases, explorer.agreement):
        with pytest.raises(RunError, match="There is no run 'z'"):
            question(catalog, "z")


def test_filters_together_let_through_what_each_does(
    workspace: Workspace, catalog: Catalog, data: Dataset, given: Given
) -> None:
    write_run(workspace, data, "b", {place: choice for place, choice in given.items() if place[1] == 0}, 1)
    catalog.refresh()
    parts = split_of(data)
    dice = random.Random(11)
    found_some = 0
    for _ in range(40):
        layers = tuple({item.layer or "" for item in data.items if dice.random() < 0.1})
        subcategories = tuple({item.subcategory or "" for item in data.items if dice.random() < 0.06})
        part = dice.choice([(), ("explore",), ("sealed",)])
        outcome = dice.choice([(), ("correct",), ("wrong", "server_error")])
        choice, gold = dice.choice([None, 0, 2]), dice.choice([None, None, 1])
        gold_text = dice.choice(["", "", "two"])
        without = frozenset(item.id for item in data.items if dice.random() < dice.choice([0, 0.2, 0.8]))
        only = dice.choice([None, tuple(place for place in sorted(given) if dice.random() < 0.5)])

        def lets_through(place: tuple[str, int]) -> bool:
            item, made = data[place[0]], given[place]
            became = "server_error" if made is None else "correct" if made == item.gold else "wrong"
            return (
                (not layers or item.layer in layers)  # noqa: B023 - called in the same round
                and (not subcategories or item.subcategory in subcategories)  # noqa: B023
                and (not part or parts[item.id] in part)  # noqa: B023
                and (not outcome or became in outcome)  # noqa: B023
                and (choice is None or made == choice)  # noqa: B023
                and (gold is None or item.gold == gold)  # noqa: B023
                and (not gold_text or item.answer == gold_text)  # noqa: B023
                and item.id not in without  # noqa: B023
                and (only is None or place in only)  # noqa: B023
            )

        where = Filter(
            runs=("a",),
            layer=layers,
            subcategory=subcategories,
            part=part,
            outcome=outcome,
            choice=choice,
            gold=gold,
            gold_text=gold_text,
            without=without,
            only=only,
        )
        expected = {place for place in given if lets_through(place)}
        found_some += bool(expected)
        assert found_places(catalog, where) == expected
        both = explorer.find(catalog, replace(where, runs=("a", "b")), limit=1).total
        assert both == len(expected) + sum(sample == 0 for _, sample in expected)
    assert found_some > 10  # else the test says nothing


def test_what_somebody_tagged_leaves_the_list_sample_by_sample(catalog: Catalog, given: Given) -> None:
    tagged = tuple(sorted(given))[5:9]  # two samples of one item, two of the next
    page = explorer.find(catalog, Filter(runs=("a",), never=tagged), limit=1_000)
    listed = set(zip(page.rows["item_id"], page.rows["sample"], strict=True))
    assert listed == set(given) - set(tagged)
    assert page.total == len(given) - len(tagged)
    several = explorer.find(catalog, Filter(never=tagged), limit=1_000)
    assert several.total == page.total
