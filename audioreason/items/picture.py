"""What a clip looks like: peaks for its waveform and a mel spectrogram, made once and cached by content.

Both are made from the prepared clip (16 kHz mono), so the picture shows what the model hears.
Knows nothing about colours: the spectrogram is grey, and whoever shows it colours it.
"""

from __future__ import annotations

import functools
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from audioreason.errors import ItemError
from audioreason.workspace import write_atomic

COLUMNS = 900  # pairs of peaks, and columns of the spectrogram
MELS = 80  # rows of the spectrogram
VERSION = "1"  # part of every cached file's name: raise it when a picture would look different
_RANGE_DB = 72.0  # what lies further below the loudest bin is background
_QUIET = 1.0  # the loudest bin of a tone at about -40 dB: a clip below it is drawn faint, silence stays black


@dataclass(frozen=True)
class Picture:
    """A clip's waveform in numbers small enough to travel with a page."""

    seconds: float
    peak: float  # largest absolute sample, 0 to 1
    peaks: bytes  # COLUMNS pairs of int8: lowest and highest sample of the column, scaled to the peak


def picture(prepared: Path, cache: Path) -> Picture:
    """The waveform of a prepared clip, from the cache or computed and cached.

    Args:
        prepared: a 16 kHz mono WAV as `prepare_clip` makes it; its name is its content hash.
        cache: the workspace's cache folder.

    Raises:
        ItemError: if the file cannot be read as sound.
    """
    stored = cache / "pictures" / f"{prepared.stem}.{VERSION}.peaks"
    head = struct.Struct("<dd")
    if stored.is_file():
        data = stored.read_bytes()
        if len(data) == head.size + 2 * COLUMNS:
            seconds, peak = head.unpack_from(data)
            return Picture(seconds, peak, data[head.size :])
    samples, sr = _read(prepared)
    made = Picture(len(samples) / sr, float(np.abs(samples).max(initial=0.0)), peaks(samples))
    write_atomic(stored, head.pack(made.seconds, made.peak) + made.peaks)
    return made


def spectrogram(prepared: Path, cache: Path) -> Path:
    """An 8-bit grey PNG (COLUMNS x MELS, low notes at the bottom) of a prepared clip, made once.

    Raises:
        ItemError: if the file cannot be read as sound.
    """
    stored = cache / "pictures" / f"{prepared.stem}.{VERSION}.png"
    if not stored.is_file():
        write_atomic(stored, png(mel_image(*_read(prepared))))
    return stored


def peaks(samples: np.ndarray) -> bytes:
    """Lowest and highest sample in each of COLUMNS equal slices, scaled to the loudest, as int8 pairs."""
    pairs = np.zeros((COLUMNS, 2))
    if len(samples):
        edges = np.linspace(0, len(samples), COLUMNS + 1)
        starts = np.minimum(edges[:-1].astype(np.int64), len(samples) - 1)
        loudest = max(float(np.abs(samples).max()), 1e-6)
        pairs[:, 0] = np.minimum.reduceat(samples, starts) / loudest
        pairs[:, 1] = np.maximum.reduceat(samples, starts) / loudest
    return bytes(np.clip(np.round(pairs * 127), -127, 127).astype(np.int8).tobytes())


def mel_image(samples: np.ndarray, sr: int) -> np.ndarray:
    """Log-mel energies as grey levels, uint8 (MELS, COLUMNS), row 0 the highest band.

    40 ms Hann windows; each column is the loudest of the frames it covers, so that a click in a
    long clip does not vanish between columns. 72 dB below the loudest bin is black.
    """
    window = np.hanning(int(0.04 * sr)).astype(np.float32)
    size = 1 << (len(window) - 1).bit_length()
    per_column = max(1, int(np.ceil(len(samples) / COLUMNS / (len(window) * 0.75))))  # frames a column
    centres = (np.arange(COLUMNS * per_column) + 0.5) * len(samples) / (COLUMNS * per_column)
    half = len(window) // 2
    padded = np.pad(np.asarray(samples, np.float32), (half, half + len(window)))
    bank = _mel_bank(sr, size)  # (MELS, size // 2 + 1)
    columns = []
    for block in np.array_split(centres.astype(np.int64), max(1, len(centres) // 600)):
        frames = padded[block[:, None] + np.arange(len(window))] * window  # (frames, window)
        columns.append((np.abs(np.fft.rfft(frames, size)) ** 2).astype(np.float32) @ bank.T)
    power = np.concatenate(columns).reshape(COLUMNS, per_column, MELS).max(axis=1)  # (COLUMNS, MELS)
    decibels = 10 * np.log10(np.maximum(power, 1e-9) / max(float(power.max(initial=0.0)), _QUIET))
    level = np.clip(1 + decibels / _RANGE_DB, 0, 1) ** 1.6  # a soft knee: the noise floor stays faint
    return np.ascontiguousarray((level.T[::-1] * 255).round().astype(np.uint8))


def png(grey: np.ndarray) -> bytes:
    """An 8-bit greyscale PNG of a uint8 image (rows, columns), by the PNG specification (W3C, 2nd ed.)."""
    rows, columns = grey.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), grey], axis=1)  # filter type 0 before each row
    data = zlib.compress(lines.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@functools.cache
def _mel_bank(sr: int, size: int) -> np.ndarray:
    """Triangular filters (MELS, size // 2 + 1) from 40 Hz to sr / 2, equally spaced on the HTK mel scale."""

    def mel(hertz: float | np.ndarray) -> np.ndarray:
        return np.asarray(2595 * np.log10(1 + np.asarray(hertz) / 700))

    edges = 700 * (10 ** (np.linspace(mel(40.0), mel(sr / 2), MELS + 2) / 2595) - 1)  # Hz
    bins = np.arange(size // 2 + 1) * sr / size
    # a low band narrower than one bin would be empty, so no triangle is narrower than a bin and a half
    width = np.maximum(np.diff(edges), 1.5 * sr / size)
    rise = 1 - (edges[1:-1, None] - bins) / width[:-1, None]
    fall = 1 - (bins - edges[1:-1, None]) / width[1:, None]
    bank = np.clip(np.minimum(rise, fall), 0, None)
    return np.asarray(bank / np.maximum(bank.sum(axis=1, keepdims=True), 1e-9), np.float32)


def _read(path: Path) -> tuple[np.ndarray, int]:
    try:
        samples, sr = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise ItemError(
            f"The clip {path.name} cannot be drawn: it is not readable as sound.",
            "Replace the clip and reload the page.",
        ) from error
    return np.asarray(samples.mean(axis=1)), int(sr)
