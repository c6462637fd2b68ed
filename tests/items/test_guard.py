"""The guard: no benchmark item trains a model unseen, whatever its name or encoding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioreason.errors import GuardError, ItemError
from audioreason.items import (
    Dataset,
    DatasetInfo,
    Item,
    check_training,
    hashed_names,
    load_dataset,
    load_guard,
    read_clip,
    save_dataset,
)
from audioreason.items.guard import name_hash
from audioreason.progress import Quiet
from audioreason.workspace import Workspace, shipped


@pytest.fixture(autouse=True)
def no_shipped_datasets(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each test has a fresh cache, and would fingerprint every shipped clip again."""
    if "shipped" not in request.node.name:
        monkeypatch.setattr(
            "audioreason.items.dataset.shipped", lambda *parts: tmp_path.joinpath("none", *parts)
        )


def training(workspace: Workspace, *items: Item, name: str = "train") -> Dataset:
    return save_dataset(workspace.datasets / name, DatasetInfo(name=name), items, workspace.cache)


def item(name: str, **fields: str | None) -> Item:
    return Item.model_validate({"id": name, "question": "q", "choices": ("a", "b"), "answer": "a", **fields})


def test_other_items_pass_and_the_report_says_what_was_compared(workspace: Workspace, tiny_dataset) -> None:
    benchmark = tiny_dataset("bench", n=4, kind="benchmark")
    mine = tiny_dataset("mine", n=5, seed=1)
    report = check_training(mine, workspace)
    assert (report.checked, report.heard, report.hits, report.leaks) == (5, 5, (), False)
    rows = {row["name"]: row for row in report.benchmarks}
    assert rows["bench"] == {"name": "bench", "hash": benchmark.info.hash, "items": 4, "clips": 4}
    assert "mine" not in rows


def test_a_benchmark_items_id_is_refused(workspace: Workspace, tiny_dataset) -> None:
    tiny_dataset("bench", n=4, kind="benchmark")
    data = training(workspace, item("fresh"), item("bench-002"))
    with pytest.raises(
        GuardError, match=r"1 of 2 items.*bench-002 \(same id as bench-002 in bench\)"
    ) as caught:
        check_training(data, workspace)
    assert caught.value.hint


def test_a_benchmark_recording_is_refused_at_any_timestamp(workspace: Workspace) -> None:
    bench = [item("b1", url="https://www.youtube.com/watch?v=abcdefghijk&t=10")]
    save_dataset(workspace.datasets / "bench", DatasetInfo(name="bench", kind="benchmark"), bench)
    data = training(workspace, item("elsewhere", url="https://youtu.be/abcdefghijk?t=999"))
    with pytest.raises(GuardError, match="same recording as youtube:abcdefghijk in bench"):
        check_training(data, workspace)
    renamed = item("x", audio_path="audio/abcdefghijk_00-05-00_00-05-30.wav")
    with pytest.raises(GuardError, match="same recording"):
        check_training(training(workspace, renamed, name="renamed"), workspace)


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "flac"])
def test_a_re_encoded_benchmark_clip_is_refused_under_any_name(
    workspace: Workspace, tiny_dataset, suffix: str
) -> None:
    benchmark = tiny_dataset("bench", n=4, kind="benchmark")
    mine = tiny_dataset("mine", n=4, seed=1)
    clip = benchmark.clip(benchmark.items[2])
    assert clip is not None
    copied = f"audio/song.{suffix}"
    soundfile.write(mine.root / copied, read_clip(clip, 44_100)[900:] * 0.4, 44_100)
    items = [*mine.items[:3], mine.items[3].model_copy(update={"audio_path": copied})]
    data = save_dataset(mine.root, mine.info, items, workspace.cache)
    with pytest.raises(GuardError, match=r"mine-003 \(same sound as bench-002 in bench\)"):
        check_training(data, workspace)
    assert check_training(data, workspace, items=data.items[:3]).heard == 3


def test_mmar_is_refused_before_anybody_downloads_it(workspace: Workspace) -> None:
    by_id = item("qx8hrhBZJ98_00-01-32_00-02-02")
    by_video = item("z", url="https://youtu.be/qx8hrhBZJ98?t=500")
    by_short_link = item("y", url="https://b23.tv/KPi36Ce")
    other = item("w", url="https://youtu.be/aaaaaaaaaaa")
    data = training(workspace, by_id, by_video, by_short_link, other)
    report = check_training(data, workspace, override_reason="to see what is found")
    assert [(hit.item_id, hit.reason, hit.benchmark) for hit in report.hits] == [
        (by_id.id, "id", "mmar"),
        ("z", "source", "mmar"),
        ("y", "source", "mmar"),
    ]


def test_the_shipped_list_is_mmars_and_holds_nothing_readable(mmar_meta: Path) -> None:
    items = [Item.model_validate_json(line) for line in mmar_meta.read_bytes().splitlines()]
    text = (shipped("guard") / "mmar-sources.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == hashed_names(items)
    assert all(len(line) == 16 and set(line) <= set("0123456789abcdef") for line in lines)


def test_hashed_names_are_fixed() -> None:
    assert name_hash("id", "a") == "85a0aaf389421026"
    assert name_hash("source", "youtube:qx8hrhBZJ98") != name_hash("id", "youtube:qx8hrhBZJ98")


def test_shipped_benchmarks_are_guarded_in_an_empty_workspace(workspace: Workspace) -> None:
    if not (shipped("soundcheck") / "dataset.json").is_file():
        pytest.skip("the shipped Soundcheck clips are not built here")
    soundcheck = load_dataset(workspace, "soundcheck")
    original = soundcheck.items[0]
    source = soundcheck.clip(original)
    assert source is not None
    root = workspace.datasets / "mine"
    (root / "audio").mkdir(parents=True)
    soundfile.write(root / "audio" / "x.ogg", read_clip(source), 16_000)
    data = save_dataset(
        root, DatasetInfo(name="mine"), [item("x", audio_path="audio/x.ogg")], workspace.cache
    )
    with pytest.raises(GuardError, match=f"same sound as {original.id} in soundcheck"):
        check_training(data, workspace)


def test_an_override_is_possible_and_is_in_the_report(workspace: Workspace, tiny_dataset) -> None:
    tiny_dataset("bench", n=4, kind="benchmark")
    data = training(workspace, item("bench-001"), item("fresh"))
    with pytest.raises(GuardError):
        check_training(data, workspace, override_reason="  ")
    report = check_training(data, workspace, override_reason="measuring how much leakage lifts the score")
    assert report.leaks
    plain = report.to_dict()
    assert plain["override"] == "measuring how much leakage lifts the score"
    assert plain["hits"] == (
        {"item_id": "bench-001", "reason": "id", "benchmark": "bench", "detail": "bench-001"},
    )


def test_an_error_names_the_first_few_and_counts_the_rest(workspace: Workspace, tiny_dataset) -> None:
    bench = tiny_dataset("bench", n=8, kind="benchmark")
    with pytest.raises(GuardError, match="8 of 8 items") as caught:
        check_training(bench, workspace)
    assert caught.value.message.count("bench-00") == 6  # three items, each with its twin
    assert caught.value.message.endswith("and others.")


def test_a_second_check_decodes_nothing(
    workspace: Workspace, tiny_dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_dataset("bench", n=3, kind="benchmark")
    mine = tiny_dataset("mine", n=3, seed=1)
    first = check_training(mine, workspace)

    def refuse(*_: object) -> None:
        pytest.fail("a clip was decoded again")

    monkeypatch.setattr("audioreason.items.guard.read_clip", refuse)
    assert check_training(mine, workspace) == first


def test_a_new_benchmark_is_compared_with_clips_checked_before(workspace: Workspace, tiny_dataset) -> None:
    mine = tiny_dataset("mine", n=3, seed=1)
    assert not check_training(mine, workspace).hits
    late = tiny_dataset("late", n=2, kind="benchmark", seed=7)
    clip, twin = mine.clip(mine.items[1]), late.clip(late.items[0])
    assert clip is not None
    assert twin is not None
    twin.write_bytes(clip.read_bytes())
    with pytest.raises(GuardError, match=r"mine-001 \(same sound as late-000 in late\)"):
        check_training(mine, workspace)


def test_a_benchmark_that_cannot_be_read_stops_training(workspace: Workspace, tiny_dataset) -> None:
    tiny_dataset("bench", n=2, kind="benchmark")
    mine = tiny_dataset("mine", n=2, seed=1)
    (workspace.datasets / "bench" / "dataset.json").write_text("{")
    with pytest.raises(ItemError, match="guard cannot read the dataset bench"):
        check_training(mine, workspace)


def test_a_benchmark_clip_that_cannot_be_decoded_is_not_counted(workspace: Workspace, tiny_dataset) -> None:
    bench = tiny_dataset("bench", n=3, kind="benchmark")
    (bench.root / "audio" / "001.wav").write_bytes(b"broken")
    (row,) = [row for row in load_guard(workspace).benchmarks if row["name"] == "bench"]
    assert (row["items"], row["clips"]) == (3, 2)


def test_a_stopped_check_is_no_pass(workspace: Workspace, tiny_dataset) -> None:
    mine = tiny_dataset("mine", n=2)
    progress = Quiet()
    progress.stop()
    with pytest.raises(ItemError, match="was stopped"):
        check_training(mine, workspace, progress=progress)


def test_generated_samples_can_be_asked_about_directly(workspace: Workspace, tiny_dataset) -> None:
    bench = tiny_dataset("bench", n=3, kind="benchmark")
    guard = load_guard(workspace)
    clip = bench.clip(bench.items[0])
    assert clip is not None
    hit = guard.by_sound("new", read_clip(clip), 16_000)
    assert hit is not None
    assert (hit.benchmark, hit.detail) == ("bench", "bench-000")
    fresh = np.random.default_rng(3).normal(0, 0.1, 16_000).astype(np.float32)
    assert guard.by_sound("new", fresh, 16_000) is None
