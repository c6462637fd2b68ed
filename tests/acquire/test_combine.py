"""One training set of several: shares by recording, nothing twice, nothing of a benchmark."""

from __future__ import annotations

import pytest

from audioreason.acquire import Part, combine, parse_part
from audioreason.errors import ItemError
from audioreason.items import cluster_of, load_dataset, load_splits
from audioreason.progress import Quiet
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset


def test_two_datasets_become_one_with_every_clip(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    tiny_dataset("first", n=6, seed=1)
    tiny_dataset("second", n=4, seed=2)
    made = combine(workspace, [Part("first"), Part("second")], "both")
    assert made.taken == {"first": 6, "second": 4}
    dataset = load_dataset(workspace, "both")
    assert dataset.info.kind == "training" and all(dataset.clip(item) for item in dataset.items)
    assert sum(map(len, load_splits(dataset).values())) == 10
    assert not [path for path in workspace.datasets.iterdir() if path.name.startswith(".")]


def test_a_share_takes_whole_recordings_and_the_same_for_the_same_seed(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset("first", n=40, clips=False)
    ids = []
    for number, seed in enumerate((0, 0, 1)):
        made = combine(workspace, [Part("first", 0.25)], f"share{number}", seed=seed)
        assert len(made.dataset.items) == 10 and made.left_out["not in the share"] == 30
        ids.append([item.id for item in made.dataset.items])
    assert ids[0] == ids[1] != ids[2]
    assert len({cluster_of(item) for item in data.items}) == 40


def test_what_is_there_already_and_what_a_benchmark_has_is_left_out(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    tiny_dataset("first", n=6, seed=1)
    tiny_dataset("copy", n=8, seed=1)  # the same questions and clips under other ids, and two more
    tiny_dataset("bench", n=3, kind="benchmark", seed=1)  # the same clips again
    made = combine(workspace, [Part("first"), Part("copy")], "both")
    assert made.left_out["there already"] == 6 and made.left_out["a benchmark has it"] == 3
    assert made.taken == {"first": 3, "copy": 2}


def test_ids_that_two_datasets_share_stay_apart(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    first, second = tiny_dataset("first", n=4, seed=1), tiny_dataset("second", n=4, seed=2)
    lines = (second.root / "items.jsonl").read_text().replace("second-", "first-")
    (second.root / "items.jsonl").write_text(lines)
    made = combine(workspace, [Part("first"), Part("second")], "both")
    assert len({item.id for item in made.dataset.items}) == 8
    assert f"second-{first.items[0].id}" in made.dataset


def test_bad_wishes_are_one_sentence_and_make_nothing(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    tiny_dataset("first", n=4)
    tiny_dataset("bench", n=3, kind="benchmark", seed=5)
    for parts, sentence in (
        ([Part("bench")], "is a benchmark"),
        ([Part("nothing")], "no dataset 'nothing'"),
        ([], "No dataset is named"),
    ):
        with pytest.raises(ItemError, match=sentence):
            combine(workspace, parts, "both")
    with pytest.raises(ItemError, match="already"):
        combine(workspace, [Part("first")], "first")
    stopped = Quiet()
    stopped.stop()
    with pytest.raises(ItemError, match="stopped"):
        combine(workspace, [Part("first")], "both", progress=stopped)
    assert not (workspace.datasets / "both").exists()


@pytest.mark.parametrize("text", ["a:0", "a:2", "a:much", "a:nan"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ItemError, match="NAME:SHARE"):
        parse_part(text)
    assert parse_part("a:0.2") == Part("a", 0.2) and parse_part("a") == Part("a")
