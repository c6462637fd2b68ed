"""The leakage guard: benchmark items never train a model.

An item is refused if its id, the recording it was cut from, or the sound of its clip belongs to a benchmark:
one in the workspace, one that came with the lab, or MMAR, whose ids and recordings are known by their hashes
before anybody downloads it. Knows nothing about training; whoever trains calls `check_training` and keeps its
report.
"""

from __future__ import annotations

import functools
import hashlib
import io
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from audioreason.errors import GuardError, ItemError
from audioreason.items.clips import read_clip
from audioreason.items.dataset import Dataset, list_datasets, load_dataset
from audioreason.items.fingerprint import VERSION, FingerprintIndex, fingerprint
from audioreason.items.hashes import clip_hashes, file_hash
from audioreason.items.memory import memory
from audioreason.items.schema import Item
from audioreason.items.sources import sources
from audioreason.progress import Progress, Quiet
from audioreason.workspace import Workspace, shipped, write_atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

Reason = Literal["id", "source", "audio"]
_SR = 8000  # Hz, what fingerprints are made of
_BATCH = 64  # clips between two looks at `should_stop`
_NAMED = 3  # items that an error names
# numpy reads a header with `ast`, which CPython 3.11 may break when two threads do so at once
_loading = threading.Lock()


@dataclass(frozen=True)
class Hit:
    """An item that belongs to a benchmark, and how that was seen."""

    item_id: str
    reason: Reason
    benchmark: str
    detail: str  # the benchmark's item or recording; empty if known by its hash only

    def __str__(self) -> str:
        what = {"id": "same id", "source": "same recording", "audio": "same sound"}[self.reason]
        return f"{self.item_id} ({what} as {f'{self.detail} in ' if self.detail else ''}{self.benchmark})"


@dataclass(frozen=True)
class GuardReport:
    """What was compared with what, and what was found: part of the record of whatever is trained."""

    checked: int  # items
    heard: int  # of them, with a clip whose sound was compared
    hits: tuple[Hit, ...]
    benchmarks: tuple[dict[str, Any], ...]  # name, hash, items, clips (whose sound is known)
    override: str | None  # why training on the hits was allowed

    @property
    def leaks(self) -> bool:
        """Whether benchmark items train a model, by an override."""
        return bool(self.hits)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, to be written into an adapter's record."""
        return asdict(self)


class Guard:
    """All that is known of benchmarks, ready to be compared with items; may be asked from any thread."""

    def __init__(self, benchmarks: Sequence[Dataset], progress: Progress | None = None) -> None:
        """Learn the ids, recordings and clips of benchmarks; fingerprints are kept in each one's cache."""
        self._ids: dict[str, tuple[str, str]] = {}  # name -> (benchmark, what it is there)
        self._sources: dict[str, tuple[str, str]] = {}
        self._clips: list[tuple[str, str]] = []
        self.benchmarks: list[dict[str, Any]] = []
        frames, digests = [], []
        for data in benchmarks:
            for item in data.items:
                self._ids.setdefault(item.id, (data.info.name, item.id))
                for source in sources(item):
                    self._sources.setdefault(source, (data.info.name, source))
            known = _fingerprints(data, progress or Quiet())
            self._clips += [(data.info.name, item_id) for item_id, _, _ in known]
            digests += [digest for _, digest, _ in known]
            frames += [clip for _, _, clip in known]
            info = data.info
            self.benchmarks.append(
                {"name": info.name, "hash": info.hash, "items": len(data.items), "clips": len(known)}
            )
        self._index = FingerprintIndex(frames)
        self.digest = hashlib.sha256("\n".join([VERSION, *digests]).encode()).hexdigest()[:16]

    def by_name(self, item: Item) -> Hit | None:
        """The benchmark item with this item's id, else a benchmark recording that this item was cut from."""
        if found := self._ids.get(item.id):
            return Hit(item.id, "id", *found)
        for source in sorted(sources(item)):
            if found := self._sources.get(source):
                return Hit(item.id, "source", *found)
        if benchmark := _hashed_names().get(name_hash("id", item.id)):
            return Hit(item.id, "id", benchmark, "")
        for source in sorted(sources(item)):
            if benchmark := _hashed_names().get(name_hash("source", source)):
                return Hit(item.id, "source", benchmark, source)
        return None

    def by_sound(self, item_id: str, samples: NDArray[np.float32], sr: int) -> Hit | None:
        """The benchmark clip that these samples (one channel, at `sr` Hz) are a copy of, or a part of."""
        match = self._index.match(fingerprint(samples, sr)) if len(self._index) else None
        return None if match is None else Hit(item_id, "audio", *self._clips[match.clip])

    def key(self, digest: str) -> str:
        """What the verdict about a clip's content is remembered by: it holds for these benchmarks only."""
        return f"{digest}|{self.digest}"


def load_guard(workspace: Workspace, progress: Progress | None = None) -> Guard:
    """The guard over every benchmark of the workspace and those that came with the lab.

    Clips of benchmarks that were not seen before are decoded (about 30 ms each), then remembered.

    Raises:
        ItemError: if a benchmark's files are broken: a guard that cannot see one guards nothing.
    """
    benchmarks = []
    for row in list_datasets(workspace):
        if row.problem:
            raise ItemError(
                f"The guard cannot read the dataset {row.name}: {row.problem}",
                "Repair it or delete its folder.",
            )
        if row.kind == "benchmark":
            benchmarks.append(load_dataset(workspace, row.name))
    return Guard(benchmarks, progress)


def check_training(
    dataset: Dataset,
    workspace: Workspace,
    items: Iterable[Item] | None = None,
    override_reason: str | None = None,
    progress: Progress | None = None,
) -> GuardReport:
    """Compare items that are about to train a model with every benchmark.

    Args:
        dataset: where the items are from, for their clips.
        workspace: whose benchmarks to guard, beside the shipped ones and MMAR.
        items: those that train; None for all of the dataset.
        override_reason: why training on benchmark items is right this time. The caller writes the report
            into what it trains, so that every chart can say so.
        progress: told of the clips compared.

    Raises:
        GuardError: if an item belongs to a benchmark and no reason is given; it names the first few.
        ItemError: if the check was stopped, or a benchmark cannot be read.
    """
    progress = progress or Quiet()
    guard = load_guard(workspace, progress)
    wanted = tuple(dataset.items if items is None else items)
    named = {item.id: hit for item in wanted if (hit := guard.by_name(item))}
    clips = [(item, path) for item in wanted if item.id not in named and (path := dataset.clip(item))]
    heard = _compare_clips(guard, clips, workspace.cache, progress)
    hits = tuple(hit for item in wanted if (hit := named.get(item.id) or heard.get(item.id)))
    reason = (override_reason or "").strip()
    if hits and not reason:
        raise _refusal(hits, len(wanted))
    return GuardReport(len(wanted), len(clips), hits, tuple(guard.benchmarks), reason or None)


def clear_of_benchmarks(
    workspace: Workspace, progress: Progress | None = None
) -> Callable[[Item, Path], bool]:
    """A test for items as they are made: whether an item and its clip belong to no benchmark.

    What it finds of a clip is remembered, so `check_training` does not compare that clip again.

    Raises:
        ItemError: as `load_guard`.
    """
    guard = load_guard(workspace, progress)
    verdicts = memory(workspace.cache / "guard.jsonl")

    def clear(item: Item, path: Path) -> bool:
        if guard.by_name(item):
            return False
        key = guard.key(file_hash(path))
        if verdicts.get(key) is None:
            verdicts.put({key: _verdict(guard, path)})
        return not verdicts.get(key)

    return clear


def benchmark_note(rows: Sequence[Mapping[str, Any]]) -> str:
    """ " 10 of its 10 rows are items of mmar (first: ID), which never train a model.", for rows of a training
    file with an `id` or a `sound`; "" if none of them is known by its hash. Asks no workspace.
    """
    guard, hits = Guard([]), []
    for row in rows:
        name = str(row.get("item_id") or row.get("id") or "")
        sound = row.get("sound") or row.get("audio_path") or row.get("audio")
        item = Item(
            id=name, question="", choices=(), answer="", audio_path=sound if isinstance(sound, str) else None
        )
        if hit := guard.by_name(item):
            hits.append(hit)
    if not hits:
        return ""
    return (
        f" {len(hits)} of its {len(rows)} rows are items of {hits[0].benchmark} (first: {hits[0].item_id}),"
        " which never train a model."
    )


def name_hash(reason: Reason, name: str) -> str:
    """16 hex digits that stand for an id or a recording where the name itself is not ours to ship."""
    return hashlib.sha256(f"{reason}:{name}".encode()).hexdigest()[:16]


def hashed_names(items: Iterable[Item]) -> list[str]:
    """The lines of a `data/guard/NAME-sources.txt`: hashes of ids and recordings of a benchmark, sorted."""
    names = set()
    for item in items:
        names.add(name_hash("id", item.id))
        names |= {name_hash("source", source) for source in sources(item)}
    return sorted(names)


def _refusal(hits: Sequence[Hit], checked: int) -> GuardError:
    named = ", ".join(map(str, hits[:_NAMED])) + (" and others" if len(hits) > _NAMED else "")
    return GuardError(
        f"{len(hits)} of {checked} items belong to a benchmark and were about to train a model: {named}.",
        "Take them out, or give a reason to train on them: it will be written into what is trained.",
    )


def _compare_clips(
    guard: Guard, clips: Sequence[tuple[Item, Path]], cache: Path, progress: Progress
) -> dict[str, Hit]:
    """Hits by item id; verdicts are remembered by the clip's content and all that it was compared with."""
    verdicts = memory(cache / "guard.jsonl")
    keys = [guard.key(digest) for digest in clip_hashes([path for _, path in clips], cache)]
    progress.phase("guard", len(clips))
    hits: dict[str, Hit] = {}
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(clips), _BATCH):
            if progress.should_stop():
                raise ItemError(
                    "The comparison with the benchmarks was stopped.", "Nothing was trained; start again."
                )
            batch = list(zip(keys, clips, strict=True))[start : start + _BATCH]
            new = {key: path for key, (_, path) in batch if verdicts.get(key) is None}
            found = pool.map(functools.partial(_verdict, guard), new.values())
            verdicts.put(dict(zip(new, found, strict=True)))
            for key, (item, _) in batch:
                if verdict := verdicts.get(key):
                    hits[item.id] = Hit(item.id, "audio", *verdict)
            progress.done(min(start + _BATCH, len(clips)))
    return hits


def _verdict(guard: Guard, path: Path) -> list[str]:
    """[benchmark, item] that a clip is a copy of, else []."""
    hit = guard.by_sound("", read_clip(path, _SR), _SR)
    return [] if hit is None else [hit.benchmark, hit.detail]


def _fingerprints(data: Dataset, progress: Progress) -> list[tuple[str, str, NDArray[np.int8]]]:
    """(item id, clip hash, fingerprint) for each clip of a benchmark that can be decoded."""
    present = [(item, path) for item in data.items if (path := _safe_clip(data, item))]
    hashes = clip_hashes([path for _, path in present], data.cache)
    progress.phase(f"fingerprints of {data.info.name}", len(present))
    made = []
    with ThreadPoolExecutor(2) as pool:
        work = pool.map(functools.partial(_fingerprint, data.cache), hashes, [path for _, path in present])
        for done, ((item, _), digest, frames) in enumerate(zip(present, hashes, work, strict=True), 1):
            if frames is not None:
                made.append((item.id, digest, frames))
            progress.done(done)
    return made


def _fingerprint(cache: Path | None, digest: str, path: Path) -> NDArray[np.int8] | None:
    """A benchmark clip's fingerprint, from the cache or made; None if the clip cannot be decoded."""
    stored = cache / "fingerprints" / f"{digest}.{VERSION}.npy" if cache else None
    if stored is not None and stored.is_file():
        with _loading:
            frames: NDArray[np.int8] = np.load(stored, allow_pickle=False)
        return frames
    try:
        frames = fingerprint(read_clip(path, _SR), _SR)
    except ItemError:  # `data check` names it; a clip nobody can decode cannot be trained on either
        return None
    if stored is not None:
        buffer = io.BytesIO()
        np.save(buffer, frames)
        write_atomic(stored, buffer.getvalue())
    return frames


def _safe_clip(data: Dataset, item: Item) -> Path | None:
    try:
        return data.clip(item)
    except ItemError:  # a path out of the folder: `data check` names it, and nothing opens it
        return None


@functools.cache
def _hashed_names() -> dict[str, str]:
    """Benchmark by hashed name, from the shipped lists `data/guard/NAME-sources.txt`."""
    known = {}
    for file in sorted(shipped("guard").glob("*-sources.txt")):
        for line in file.read_text().splitlines():
            if line and not line.startswith("#"):
                known[line] = file.name.removesuffix("-sources.txt")
    return known
