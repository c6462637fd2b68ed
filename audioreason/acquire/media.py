"""Clips by address and timestamp: yt-dlp fetches a recording's sound once, and the parts are cut out of it.

yt-dlp runs as a process of its own with `--ignore-config`, takes http(s) only, and is never sent to an
address of this network (`downloader`). A clip appears under its name when it is whole; recordings are not
kept. Knows nothing about which dataset it works for.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from audioreason.acquire.downloader import is_public
from audioreason.errors import ItemError
from audioreason.items import SAMPLE_RATE, Item, wav_bytes
from audioreason.items.decode import open_sound
from audioreason.items.sources import cluster_of
from audioreason.progress import Progress, Quiet
from audioreason.workspace import write_atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAUSE = 1.0  # seconds between two recordings: their host is somebody's
_PATIENCE = 900.0  # seconds for one recording
_LARGEST = "2G"
_OPTIONS = (
    "--ignore-config", "--no-plugin-dirs", "--no-exec", "--no-cache-dir", "--no-playlist", "--no-progress",
    "--format", "bestaudio[abr<=192]/bestaudio/best", "--max-filesize", _LARGEST, "--socket-timeout", "30",
    "--retries", "5", "--retry-sleep", "http:exp=1:30", "--continue", "--no-part",
    "--print-json", "--no-simulate",
)  # fmt: skip
_ATTEMPTS = 4
_BUSY_WAIT = 1.0  # seconds before the second attempt, doubled before each further one
_PASSING = re.compile(
    r"HTTP Error (429|5\d\d)|timed out|reset|only in part|IncompleteRead|bytes read", re.IGNORECASE
)
_PART = re.compile(r"\s*([0-9:.]+)\s*,\s*([0-9:.]+)\s*")
_LONGEST = 3600.0  # seconds of one clip
_LONGEST_RECORDING = 12 * 3600.0
_LARGEST_RECORDING = 2 << 30
_SHARE = 0.9  # of a part must be there


@dataclass
class ClipReport:
    """What became of the clips that were to be had: ids fetched, already there, and lost with the reason."""

    fetched: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    stopped: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data, for `--json`."""
        return dict(self.__dict__)


def parse_timestamp(text: str | None) -> list[tuple[float, float]]:
    """Parts of a recording as (start, end) in seconds; `1:51,2:01;3:14,3:24` has two. Empty means all of it.

    Raises:
        ItemError: if it is no such text.
    """
    if not text or not text.strip():
        return []
    parts = []
    for piece in re.split(r"[;\n]", text):
        match = _PART.fullmatch(piece)
        if match is None:
            raise ItemError(f"The timestamp {text!r} is not START,END.", "Write it as 0:05,0:12.")
        start, end = (_seconds(text, one) for one in match.groups())
        if not 0 <= start < end <= start + _LONGEST:
            raise ItemError(
                f"The timestamp {text!r} has a part that ends before it starts, or lasts an hour."
            )
        parts.append((start, end))
    return parts


def fetch_clips(
    items: Iterable[Item],
    folder: Path,
    *,
    workers: int = 1,
    pause: float = PAUSE,
    allow_private: bool = False,
    progress: Progress | None = None,
) -> ClipReport:
    """Fetch the missing clips of `items` into `folder`/`audio_path`, each recording once.

    What cannot be had is reported item by item and keeps nothing else out. `allow_private` lets addresses of
    this machine and its network through, for mirrors of one's own. Phase of `progress`: clips, in items.
    """
    progress = progress or Quiet()
    report = ClipReport()
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        target = _target(folder, item)
        if target is None:
            report.lost[item.id] = "It names no clip, or one outside its folder."
        elif target.is_file():
            report.there.append(item.id)
        elif not item.url:
            report.lost[item.id] = "No address is known."
        else:
            groups[cluster_of(item) + " " + item.url].append(item)
    progress.phase("clips", sum(len(group) for group in groups.values()))
    lock = threading.Lock()
    count = 0

    def work(group: Sequence[Item]) -> None:
        nonlocal count
        if progress.should_stop():
            report.stopped = True
            return
        try:
            results: dict[str, str] = _recording(group, folder, allow_private, progress)
        except ItemError as error:
            results = {item.id: str(error) for item in group}
        with lock:
            for item in group:
                if problem := results.get(item.id, ""):
                    report.lost[item.id] = problem
                else:
                    report.fetched.append(item.id)
            count += len(group)
            progress.done(count, f"{len(report.lost)} not to be had" if report.lost else "")
        _wait(pause, progress)

    with ThreadPoolExecutor(workers, thread_name_prefix="clips") as pool:
        list(pool.map(work, groups.values()))
    return report


def check_address(url: str, allow_private: bool = False) -> None:
    """See that an address is http(s) and leads out of this network.

    Raises:
        ItemError: if it does not.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ItemError(
            f"{url[:100]!r} is not an address of the web.", "It must begin with http:// or https://."
        )
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError) as error:
        raise ItemError(f"The host {parts.hostname} cannot be found.") from error
    for *_, address in found:
        if not allow_private and not is_public(str(address[0])):
            raise ItemError(f"{parts.hostname} is an address of this network, which no dataset may ask for.")


def _recording(
    group: Sequence[Item], folder: Path, allow_private: bool, progress: Progress
) -> dict[str, str]:
    """Fetch one recording and cut its clips; returns what went wrong by item id.

    Raises:
        ItemError: if the recording cannot be had.
    """
    url = group[0].url or ""
    check_address(url, allow_private)
    problems: dict[str, str] = {}
    wanted: list[tuple[Item, list[tuple[float, float]]]] = []
    for item in group:
        try:
            wanted.append((item, parse_timestamp(item.timestamp)))
        except ItemError as error:
            problems[item.id] = str(error)
    if not wanted:
        return problems
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as scratch:
        sound = _patiently(url, Path(scratch), allow_private, progress)
        clips = _cut(sound, [parts for _, parts in wanted])
    for (item, _), clip in zip(wanted, clips, strict=True):
        target = _target(folder, item)
        if isinstance(clip, ItemError) or target is None:
            problems[item.id] = str(clip)
        else:
            write_atomic(target, wav_bytes(clip))
    return problems


def _patiently(url: str, scratch: Path, allow_private: bool, progress: Progress) -> Path:
    """Download, and again after a while if the host was only busy or the connection broke."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _download(url, scratch, allow_private, progress)
        except ItemError as error:
            if attempt == _ATTEMPTS or not _PASSING.search(str(error)):
                raise
        for left in scratch.iterdir():
            left.unlink()
        _wait(_BUSY_WAIT * 2 ** (attempt - 1), progress)
    raise AssertionError("unreachable")


def _download(url: str, scratch: Path, allow_private: bool, progress: Progress) -> Path:
    command = [sys.executable, "-P", "-m", "audioreason.acquire.downloader"]
    command += ["--allow-private"] if allow_private else []
    command += [*_OPTIONS, "--output", str(scratch / "sound.%(ext)s"), "--", url]
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=complained, cwd=scratch
        )
        try:
            deadline = time.monotonic() + _PATIENCE
            while process.poll() is None:
                if progress.should_stop() or time.monotonic() > deadline:
                    raise ItemError("It took longer than 15 minutes, or was stopped.")
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        complained.seek(0)
        words = complained.read()[-4000:].decode(errors="replace")
        said.seek(0)
        known = said.read()[-200_000:].decode(errors="replace").strip().splitlines()
    files = [path for path in scratch.iterdir() if path.name.startswith("sound.")]
    if process.returncode or len(files) != 1:
        raise ItemError(f"The recording cannot be had: {_reason(words)}")
    size = files[0].stat().st_size
    promised = _promised(known)
    if promised is not None and size < promised:
        raise ItemError(f"The recording came only in part ({size:,} of {promised:,} bytes).")
    return files[0]


def _promised(lines: Sequence[str]) -> int | None:
    """Bytes that the host named, if it did."""
    if not lines:
        return None
    try:
        size = json.loads(lines[-1]).get("filesize")
    except (ValueError, AttributeError):
        return None
    return size if isinstance(size, int) else None


def _cut(
    sound: Path, wanted: Sequence[Sequence[tuple[float, float]]]
) -> list[NDArray[np.float32] | ItemError]:
    """For each clip its parts of a recording, one behind the other, at 16 kHz mono, float32 (samples,).

    The recording is decoded once and never held as a whole. A clip that it is too short for is an error.
    """
    import soxr

    kept: list[list[list[NDArray[np.float32]]]] = [[[] for _ in parts or [(0.0, 0.0)]] for parts in wanted]
    with open_sound(sound, _LONGEST_RECORDING, _LARGEST_RECORDING) as opened:
        sr = opened.sr
        first = 0  # index of the block's first sample
        for block in opened.blocks:
            for parts, pieces in zip(wanted, kept, strict=True):
                for (start, end), piece in zip(parts or [(0.0, _LONGEST)], pieces, strict=True):
                    low, high = max(round(start * sr) - first, 0), round(end * sr) - first
                    if low < len(block) and high > 0:
                        piece.append(block[low:high])
            first += len(block)
    cut: list[NDArray[np.float32] | ItemError] = []
    for parts, pieces in zip(wanted, kept, strict=True):
        joined = [np.concatenate(piece) if piece else np.zeros(0, np.float32) for piece in pieces]
        short = [
            (start, end)
            for (start, end), piece in zip(parts, joined, strict=bool(parts))
            if len(piece) < _SHARE * (end - start) * sr
        ]
        if short or not sum(map(len, joined)):
            end = short[0][1] if short else 0.0
            cut.append(ItemError(f"The recording ends after {first / sr:.0f} s, its clip after {end:.0f} s."))
        else:
            cut.append(soxr.resample(np.concatenate(joined), sr, SAMPLE_RATE).astype(np.float32))
    return cut


def _target(folder: Path, item: Item) -> Path | None:
    if item.audio_path is None:
        return None
    target = folder / item.audio_path.removeprefix("./")
    return target if target.resolve().is_relative_to(folder.resolve()) else None


def _seconds(text: str, clock: str) -> float:
    try:
        numbers = [float(part) for part in clock.split(":")]
    except ValueError as error:
        raise ItemError(f"The timestamp {text!r} is not START,END.", "Write it as 0:05,0:12.") from error
    return float(sum(number * 60**place for place, number in enumerate(reversed(numbers))))


def _reason(words: str) -> str:
    errors = [line for line in words.splitlines() if line.startswith("ERROR")]
    line = (errors or words.strip().splitlines() or ["yt-dlp said nothing."])[-1]
    return re.sub(r"^ERROR:\s*(\[[^\]]*\]\s*)?", "", line)[:300]


def _wait(seconds: float, progress: Progress) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not progress.should_stop():
        time.sleep(min(0.1, seconds))
