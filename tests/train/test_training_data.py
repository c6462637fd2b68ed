"""Training data: the prompt is what the engine reads, thoughts survive, order is a function of the step."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from training_examples import examples

from audioreason.engines.features import audio_token_count, frame_count
from audioreason.engines.tokens import ChatTokenizer, Turn
from audioreason.errors import GuardError, ItemError
from audioreason.items import load_dataset
from audioreason.train.data import (
    Example,
    Order,
    Row,
    encode,
    micro_batches,
    prepare,
    read_examples,
    write_examples,
)
from audioreason.workspace import Workspace


def rows(*lengths: int) -> list[Row]:
    return [Row(tuple(range(n)), 1, None, "", 1.0, f"item-{i}") for i, n in enumerate(lengths)]


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> ChatTokenizer:
    return ChatTokenizer.load(tiny)


def test_the_prompt_is_what_the_engine_reads_and_thoughts_are_learned(tokenizer: ChatTokenizer) -> None:
    example = examples()[3]
    row = encode(tokenizer, example, Path("clip.wav"), "hash", samples=16_000)
    counts = [audio_token_count(frame_count(16_000))]
    turns = [Turn("system", (example.system,)), Turn("user", (None, example.user))]
    prompt = tokenizer.conversation(turns, counts)
    assert list(row.ids[: row.prefix]) == prompt
    assert tokenizer.decode(row.ids[row.prefix :]) == example.answer
    assert tokenizer.id_of("<think>") in row.ids[row.prefix :]
    assert row.ids[-1] == tokenizer.im_end


def test_structure_written_in_a_question_stays_text(tokenizer: ChatTokenizer) -> None:
    example = examples()[0].model_copy(update={"user": "one<|im_end|><|audio_pad|>"})
    row = encode(tokenizer, example, None, "", 0)
    assert tokenizer.audio_pad not in row.ids
    assert row.ids.count(tokenizer.im_end) == 3  # the ends of system, user and assistant


def test_a_file_comes_back_and_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    assert write_examples(path, examples(3)) == 3
    assert read_examples(path) == examples(3)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], json.dumps({**json.loads(lines[1]), "weight": -1})]))
    with pytest.raises(ItemError, match=r"Line 2 of train.jsonl .* weight"):
        read_examples(path)


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("\n")
    with pytest.raises(ItemError, match="has no examples"):
        read_examples(tmp_path / "train.jsonl")


def test_benchmark_items_do_not_train(lab: Workspace, tokenizer: ChatTokenizer) -> None:
    item = load_dataset(lab, "soundcheck").items[0]
    example = Example(dataset="soundcheck", item_id=item.id, user="one", answer="two")
    with pytest.raises(GuardError, match="belong to a benchmark"):
        prepare([example], lab, tokenizer, longest=500)
    allowed = prepare([example], lab, tokenizer, longest=500, override_reason="a test of the override")
    assert allowed.guard[0].leaks


def test_a_missing_clip_is_named(lab: Workspace, tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    other = Workspace.open(tmp_path / "other")
    shutil.copytree(lab.datasets, other.datasets)
    shutil.copytree(lab.cache, other.cache)
    (other.datasets / "tones" / "audio" / "4.wav").unlink()
    with pytest.raises(ItemError, match=r"clip of tones-4 is missing: .*4\.wav"):
        prepare(examples(), other, tokenizer, longest=500)


def test_long_examples_are_left_out_whole_and_held_out_items_stay_together(
    lab: Workspace, tokenizer: ChatTokenizer
) -> None:
    twice = [*examples(), *[e.model_copy(update={"answer": "two"}) for e in examples()]]
    prepared = prepare(twice, lab, tokenizer, longest=500, held_out=0.4, seed=1)
    assert prepared.held_out
    assert not {r.item_id for r in prepared.rows} & {r.item_id for r in prepared.held_out}
    limit = max(len(row.ids) for row in prepared.rows) - 1
    fewer = prepare(twice, lab, tokenizer, longest=limit)
    assert fewer.too_long
    assert len(fewer.rows) + len(fewer.too_long) == len(twice)


def test_an_unknown_item_is_named(lab: Workspace, tokenizer: ChatTokenizer) -> None:
    example = examples()[0].model_copy(update={"item_id": "gone"})
    with pytest.raises(ItemError, match="has no item gone"):
        prepare([example], lab, tokenizer, longest=500)


def test_order_is_a_function_of_the_step_and_every_epoch_sees_every_row() -> None:
    data = rows(*[5 + (i * 7) % 40 for i in range(103)])
    one, other = Order(data, 8, seed=1), Order(data, 8, seed=1)
    assert one.steps == 13
    other[30]  # another way to the same step
    for step in (12, 0, 25, 7):
        assert one[step] == other[step]
    for epoch in range(2):
        seen = [index for step in range(13) for index in one[epoch * 13 + step]]
        assert sorted(seen) == list(range(103))
    assert [one[step] for step in range(13)] != [one[13 + step] for step in range(13)]
    assert Order(data, 8, seed=2)[0] != one[0]


def test_batches_hold_rows_of_similar_length() -> None:
    data = rows(*[10 + (i * 37) % 500 for i in range(320)])
    order = Order(data, 16, seed=0)
    padded = sum(max(len(data[i].ids) for i in order[s]) * len(order[s]) for s in range(order.steps))
    assert padded < 1.1 * sum(len(row.ids) for row in data)


def test_parts_of_a_step_stay_within_their_tokens() -> None:
    data = rows(10, 30, 20, 100, 25, 5)
    parts = micro_batches(data, [0, 1, 2, 3, 4, 5], tokens=60)
    assert sorted(index for part in parts for index in part) == [0, 1, 2, 3, 4, 5]
    for part in parts:
        longest = max(len(data[index].ids) for index in part)
        assert len(part) == 1 or longest * len(part) <= 60


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_inside_a_text_do_not_end_a_line(tmp_path: Path, mark: str) -> None:
    example = examples()[0].model_copy(update={"user": "One\u2028two\x85three\x0bfour?"})
    assert write_examples(tmp_path / "t.jsonl", [example, example]) == 2
    (tmp_path / "t.jsonl").write_text(mark + (tmp_path / "t.jsonl").read_text())
    assert read_examples(tmp_path / "t.jsonl") == [example, example]


def test_a_training_set_of_another_form_is_named_and_its_benchmark_items_too(tmp_path: Path) -> None:
    row = {"id": "q", "sound": "q.wav", "question": "<sound>Who?", "answer": "a", "response": "a"}
    (tmp_path / "t.json").write_text(json.dumps([row], indent=2))
    with pytest.raises(ItemError, match="table with id, sound, question, answer, response, not a training"):
        read_examples(tmp_path / "t.json")
    meta = Path("../shared/mmar/MMAR-meta.jsonl")
    if not meta.is_file():
        pytest.skip("MMAR's metadata are not beside the project (../shared/mmar)")
    known = [json.loads(line)["id"] for line in meta.read_text().splitlines()[:10]]
    rows = [{**row, "id": name, "sound": f"{name}.wav"} for name in known] + [row]
    (tmp_path / "t.json").write_text(json.dumps(rows, indent=2))
    with pytest.raises(GuardError, match=r"10 of its 11 rows are items of mmar .*never train a model"):
        read_examples(tmp_path / "t.json")
