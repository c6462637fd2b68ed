"""Soundcheck on disk: a set appears whole or not at all; the shipped set is what the code says it is."""

from __future__ import annotations

import hashlib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
import soundfile
from drawn import SHIPPED

from audioreason.errors import ItemError
from audioreason.items import Dataset, DatasetInfo, Item, read_dataset, save_dataset, validate
from audioreason.progress import Quiet
from audioreason.soundcheck import SUBCATEGORIES, families, generate_dataset, write_gallery
from audioreason.soundcheck.dataset import PER_SUBCATEGORY, evaluation_items
from audioreason.soundcheck.registry import DIFFICULTIES


class Stopping(Quiet):
    """Asks to stop, or fails, once three items are done."""

    def __init__(self, failure: BaseException | None = None) -> None:
        super().__init__()
        self._failure = failure

    def done(self, count: int, note: str = "") -> None:
        if count == 3:
            if self._failure is not None:
                raise self._failure
            self.stop()


def test_a_generated_set_is_read_back_as_it_was_asked_for(tmp_path: Path) -> None:
    folder = generate_dataset(tmp_path / "mine", 5, ["order", "dialled"], difficulty=2, seed=3)
    dataset = read_dataset(folder)
    assert (dataset.info.name, dataset.info.kind, dataset.info.cue_kind) == ("mine", "training", "events")
    assert [item.family for item in dataset.items] == ["order", "dialled", "order", "dialled", "order"]
    assert {item.difficulty for item in dataset.items} == {2}
    for item in dataset.items:
        clip = dataset.clip(item)
        assert clip is not None and item.events
        assert soundfile.info(clip).samplerate == 16_000
    assert [finding for finding in validate(dataset) if finding.severity == "error"] == []


def test_the_same_seed_writes_the_same_clips_and_another_seed_others(tmp_path: Path) -> None:
    def clips(name: str, seed: int) -> list[str]:
        folder = generate_dataset(tmp_path / name, 3, ["order"], seed=seed)
        return sorted(hashlib.sha256(clip.read_bytes()).hexdigest() for clip in folder.glob("audio/*"))

    first = clips("first", 1)
    assert first == clips("again", 1)
    assert not set(first) & set(clips("other", 2))


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (Stopping(), ItemError),
        (Stopping(RuntimeError("disk full")), RuntimeError),
        (Stopping(KeyboardInterrupt()), KeyboardInterrupt),
    ],
    ids=["stop", "crash", "interrupt"],
)
def test_an_end_in_the_middle_leaves_nothing(
    tmp_path: Path, progress: Stopping, expected: type[BaseException]
) -> None:
    with pytest.raises(expected):
        generate_dataset(tmp_path / "half", 6, ["dialled"], progress=progress)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "mine" / "notes.txt"
    kept.parent.mkdir()
    kept.write_text("kept")
    with pytest.raises(ItemError, match="exists already"):
        generate_dataset(kept.parent, 1, ["dialled"])
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "notes.txt"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"families": ["no_such_family"]},
        {"difficulty": 9},
        {"namespace": "elsewhere"},
        {"namespace": "evaluation"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_an_unknown_value_is_refused_and_leaves_nothing(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ItemError) as caught:
        generate_dataset(tmp_path / "mine", 2, **wrong)  # type: ignore[arg-type]
    assert caught.value.message.count(".") == 1 and caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n", [0, -3])
def test_a_number_of_items_below_one_is_refused(tmp_path: Path, n: int) -> None:
    with pytest.raises(ItemError):
        generate_dataset(tmp_path / "mine", n)


def test_the_shipped_set_is_whole_balanced_and_small(shipped: Dataset) -> None:
    assert len(shipped.items) == 320
    assert Counter(item.subcategory for item in shipped.items) == dict.fromkeys(
        SUBCATEGORIES, PER_SUBCATEGORY
    )
    assert PER_SUBCATEGORY == 20
    levels = Counter((item.subcategory, item.difficulty) for item in shipped.items)
    assert levels == {(name, level): PER_SUBCATEGORY // 5 for name in SUBCATEGORIES for level in DIFFICULTIES}
    by_family = Counter(item.family for item in shipped.items)
    assert set(by_family) == set(families()) and min(by_family.values()) >= 4
    assert shipped.info.kind == "benchmark"
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    assert size <= 20_000_000


def test_every_shipped_clip_can_be_read_and_holds_its_events(shipped: Dataset) -> None:
    for item in shipped.items:
        clip = shipped.clip(item)
        assert clip is not None, item.id
        samples, rate = soundfile.read(clip, dtype="float32")
        assert rate == 16_000 and samples.ndim == 1 and abs(samples).max() > 0.02, item.id
        assert 3 <= len(samples) / rate <= 10.01, item.id
        assert all(event.end <= len(samples) / rate + 0.02 for event in item.events), item.id


def test_the_shipped_set_has_no_errors(shipped: Dataset) -> None:
    assert [finding for finding in validate(shipped) if finding.severity == "error"] == []


def test_the_shipped_items_are_the_evaluation_items(shipped: Dataset) -> None:
    for kept, (item, _) in zip(shipped.items, evaluation_items(), strict=True):
        assert _without(kept, {"audio_path"}) == _without(item, {"audio_path"})


class Page(HTMLParser):
    """Headings, sources of players and the names of all tags on a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.sources: list[str] = []
        self.headings: list[str] = []
        self._heading = False
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self._heading = tag == "h2"
        if tag == "audio":
            self.sources.append(dict(attrs).get("src") or "")

    def handle_data(self, data: str) -> None:
        if self._heading:
            self.headings.append(data)
            self._heading = False


def test_the_gallery_plays_a_clip_of_every_family(tmp_path: Path, shipped: Dataset) -> None:
    path = tmp_path / "deep" / "gallery.html"
    write_gallery(SHIPPED, path)
    page = Page(path)
    assert page.headings == [name.replace("_", " ") for name in families()]
    assert len(page.sources) == len(page.headings)
    assert all((path.parent / source).is_file() for source in page.sources)


def test_the_gallery_shows_hostile_text_as_text(tmp_path: Path) -> None:
    root = tmp_path / "hostile"
    (root / "audio").mkdir(parents=True)
    soundfile.write(root / "audio" / "a'\"<b>.wav", [0.0] * 800, 16_000)
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    item = Item(
        id="hostile",
        question=attack,
        choices=(attack, "</ol><iframe>"),
        answer=attack,
        audio_path="audio/a'\"<b>.wav",
        family="order",
    )
    save_dataset(root, DatasetInfo(name="hostile", kind="own"), [item])
    write_gallery(root, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert page.headings == ["order"]
    assert not {"script", "img", "iframe"} & set(page.tags)
    assert page.tags["li"] == 2
    assert page.sources == ["hostile/audio/a'\"<b>.wav"]


def _without(item: Item, keys: set[str]) -> dict[str, object]:
    return {key: value for key, value in item.to_json().items() if key not in keys}
