"""Clips: read them as samples, describe them, and prepare the one form that models are sent.

Knows nothing about containers and codecs (`decode`), items or datasets.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from audioreason.errors import ItemError
from audioreason.items.decode import open_sound
from audioreason.items.hashes import clip_hashes
from audioreason.workspace import clip_folder, write_atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz, what the models hear
SILENT_SWING = 1e-3  # half the peak-to-peak swing (-60 dBFS); a constant offset is silence too


@dataclass(frozen=True)
class ClipInfo:
    """What a clip is, once it has been decoded to its end."""

    seconds: float
    sr: int  # Hz, of the file
    channels: int
    peak: float  # largest absolute sample of the mono mix; 1.0 is full scale
    silent: bool  # nothing swings further than -60 dBFS
    complete: bool  # False if the file ends before its header says


def read_clip(path: Path, sr: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """A clip as one float32 channel (samples,) at `sr` Hz; channels are averaged, soxr HQ resamples.

    Raises:
        ItemError: if the file is missing, empty, too large, longer than ten minutes, not audio the lab
            reads, broken, or holds samples that are not numbers.
    """
    with open_sound(path) as sound:
        samples = np.concatenate(list(_resampled(sound.blocks, sound.sr, sr)))
    if len(samples) == 0:
        raise ItemError(
            f"The clip {path.name} is too short to be heard.", "Copy it again from where it came."
        )
    return samples


def clip_info(path: Path) -> ClipInfo:
    """Decode a clip to its end and say what it is.

    Raises:
        ItemError: as `read_clip`.
    """
    with open_sound(path) as sound:
        frames, low, high = 0, np.inf, -np.inf
        for block in sound.blocks:
            frames += len(block)
            low, high = min(low, float(block.min())), max(high, float(block.max()))
        return ClipInfo(
            seconds=frames / sound.sr,
            sr=sound.sr,
            channels=sound.channels,
            peak=max(abs(low), abs(high)),
            silent=(high - low) / 2 < SILENT_SWING,
            complete=sound.complete,
        )


def prepare_clip(source: Path, cache: Path) -> Path:
    """The clip as 16 kHz mono 16-bit WAV: `cache/clips/HASH.wav`, HASH the SHA-256 of the source's bytes.

    Made once; two processes may make the same clip at the same time, and both find a whole file. A clip
    that is in this form already keeps its samples bit for bit; one that exceeds full scale is scaled
    down instead of clipped.

    Args:
        source: the clip as it is in its dataset.
        cache: the workspace's cache folder.

    Raises:
        ItemError: as `read_clip`.
        WorkspaceError: if the cache cannot be written.
    """
    target = clip_folder(cache) / f"{clip_hashes([source], cache)[0]}.wav"
    if not target.is_file():
        write_atomic(target, wav_bytes(read_clip(source)))
    return target


def wav_bytes(samples: NDArray[np.float32], sr: int = SAMPLE_RATE) -> bytes:
    """Mono samples (samples,) as a 16-bit WAV file; scaled down if they exceed full scale."""
    scaled = samples / max(1.0, float(np.abs(samples).max(initial=0.0)))
    pcm = np.clip(np.rint(scaled * 32768), -32768, 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sr)
        file.writeframes(pcm.tobytes())
    return buffer.getvalue()


def _resampled(blocks: Iterator[NDArray[np.float32]], have: int, want: int) -> Iterator[NDArray[np.float32]]:
    import soxr

    if have == want:
        yield from blocks
        return
    resampler = soxr.ResampleStream(have, want, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
