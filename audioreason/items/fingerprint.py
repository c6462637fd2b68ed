"""Audio fingerprints: a recording is known again after re-encoding, trimming, a change of level or rate.

A fingerprint is the clip's loudness in 48 bands from 80 to 3,600 Hz every 16 ms, relative to its own level.
Comparing two is done in two steps. An inverted index of keys (signs of random projections of half-second
patches: locality-sensitive hashing, Charikar 2002) proposes where a clip may lie in another; then the two are
laid over each other and compared in decibels. Numpy only. Knows nothing about items, files or benchmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Frames = NDArray[np.int8]  # (frames, 48), steps of half a decibel

VERSION = "1"  # raise it when a fingerprint or a verdict would differ: caches carry it
STEP = 0.016  # seconds between frames
_SR = 8000  # Hz: codecs keep what lies below 4 kHz
_WINDOW, _HOP = 1024, 128  # samples: 128 ms, 16 ms
_BANDS = 48
_FLOOR = 34.0  # dB below the clip's level: what is quieter says more about a codec than about the clip
_COARSE = 2  # indexed clips keep every second frame; queries keep all, so both phases are tried
_PATCH = 16  # coarse frames (0.5 s) under one key
_TABLES, _BITS = 3, 18  # three independent keys of 18 signs per patch
_LASTING = 4  # coarse frames: a key that lasts counts once in so many
_CLIPS, _LAGS = 8, 5  # clips laid over the query, those with most keys in a line, and places to lay each
_PLACES = 10_000  # looked up for one query and phase, rarest keys first: what is everywhere tells little
_OVERLAP = 0.7  # of the shorter of two clips
# Verdict limits. Measured on 47 families of Soundcheck items, each changed in fourteen ways (mp3 at 64 and 32
# kbit/s, ogg, opus at 24, aac at 48, 8 bits, added noise, trimming, padding, resampling, level): of 1,316
# copies 5 are missed, all of them opus, aac or noise; of 235 other seeds of the same family 2 are taken for
# copies, both the same sentence with other faint noise.
_MOST_DB, _LEAST_CORRELATION = 2.4, 0.85
_STEADY_DB = 0.9  # steady sounds have nothing to correlate: their spectra must agree this well
_ZERO = 1 << 31  # added to a lag so that it fits below a clip's number in one integer
_QUIET = -44  # half dB: a frame whose loudest band lies 22 dB below the clip's level is not used


@dataclass(frozen=True)
class Match:
    """Two clips are the same recording."""

    clip: int  # position in the index
    offset: float  # seconds from the indexed clip's beginning to the query's
    decibels: float  # RMS difference over bands and time
    correlation: float  # of their changes in time, -1 to 1; 0 for steady sounds


def fingerprint(samples: NDArray[np.float32], sr: int) -> Frames:
    """The fingerprint of one channel (samples,) at `sr` Hz: (frames, 48) in half decibels, -68 to 40."""
    if sr != _SR:
        import soxr

        samples = soxr.resample(samples, sr, _SR)
    least = _WINDOW + (_COARSE - 1) * _HOP  # one frame for each phase
    samples = np.pad(samples, (0, max(0, least - len(samples))))
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP]
    blocks = [windows[start : start + 1024] for start in range(0, len(windows), 1024)]
    energy = np.concatenate([np.abs(np.fft.rfft(block * _HANN)) ** 2 @ _BANK for block in blocks])
    level = np.percentile(energy.max(axis=1), 95) + 1e-12
    decibels = 10 * np.log10(energy / level + 10 ** (-_FLOOR / 10))
    frames: Frames = np.clip(np.rint(2 * decibels), -68, 40).astype(np.int8)
    return frames


class FingerprintIndex:
    """Clips to be known again. Immutable; may be asked from any thread."""

    def __init__(self, clips: Sequence[Frames]) -> None:
        """Index whole fingerprints; a clip's position in `clips` is its number."""
        self._clips = [frames[::_COARSE] for frames in clips]
        keyed = [_keys(frames) for frames in self._clips]
        keys = np.concatenate([key for key, _ in keyed] or [np.zeros(0, np.int32)])
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._times = np.concatenate([time for _, time in keyed] or [np.zeros(0, np.int64)])[order]
        self._owners = np.repeat(np.arange(len(keyed)), [len(key) for key, _ in keyed])[order]

    def __len__(self) -> int:
        return len(self._clips)

    def match(self, query: Frames) -> Match | None:
        """The indexed clip that is the same recording as `query`, or most like it if several are; else None.

        One may be a part of the other: at least 70% of the shorter must lie in the longer.
        """
        best: Match | None = None
        phases = [query[phase::_COARSE] for phase in range(_COARSE)]
        for clip, lag in self._candidates(phases):
            for phase, frames in enumerate(phases):
                for shift in (0, -1, 1):
                    decibels, correlation = _compare(self._clips[clip], frames, lag + shift)
                    if decibels > 2 * _MOST_DB:
                        break  # a step aside will not mend it
                    moving = decibels <= _MOST_DB and correlation >= _LEAST_CORRELATION
                    if (moving or decibels <= _STEADY_DB) and (best is None or decibels < best.decibels):
                        seconds = ((lag + shift) * _COARSE - phase) * STEP
                        best = Match(clip, round(seconds, 3), round(decibels, 2), round(correlation, 2))
        return best

    def _candidates(self, phases: Sequence[Frames]) -> list[tuple[int, int]]:
        """(clip, lag in coarse frames) where most keys agree: a few clips, and a few lags of each."""
        found = []
        for frames in phases:
            keys, times = _keys(frames)
            low = np.searchsorted(self._keys, keys)
            count = np.searchsorted(self._keys, keys, side="right") - low
            rare = np.argsort(count, kind="stable")
            rare = rare[: np.searchsorted(np.cumsum(count[rare]), _PLACES, side="right")]
            low, count, times = low[rare], count[rare], times[rare]
            # every place in the index with such a key: low, low + 1 ... for each, in a row
            places = np.arange(count.sum()) + np.repeat(low - np.cumsum(count) + count, count)
            lags = self._times[places] - np.repeat(times, count)
            found.append(self._owners[places] << 32 | (lags + _ZERO))
        pairs, votes = np.unique(np.concatenate(found), return_counts=True)
        chosen: dict[int, list[int]] = {}
        for index in np.argsort(-votes, kind="stable")[: 8 * _CLIPS * _LAGS]:
            clip, lag = int(pairs[index] >> 32), int(pairs[index] & 0xFFFF_FFFF) - _ZERO
            if clip not in chosen and len(chosen) == _CLIPS:
                continue
            lags = chosen.setdefault(clip, [])
            if len(lags) < _LAGS and all(abs(lag - other) > 1 for other in lags):
                lags.append(lag)
        return [(clip, lag) for clip, lags in chosen.items() for lag in lags]


def _keys(frames: Frames) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Keys of a clip's patches and when they begin (coarse frames), few repeats of one that lasts."""
    if len(frames) < _PATCH:
        frames = np.pad(frames, ((0, _PATCH - len(frames)), (0, 0)), mode="edge")
    patches = np.lib.stride_tricks.sliding_window_view(frames, (_PATCH, _BANDS))[:, 0]  # (n, patch, bands)
    keys, times = [], []
    for start in range(0, len(patches), 2048):
        block = patches[start : start + 2048].reshape(-1, _PATCH * _BANDS).astype(np.float32)
        signs = (block @ _PLANES > 0).reshape(-1, _TABLES, _BITS)
        table_keys = (signs << np.arange(_BITS)).sum(axis=2) + (np.arange(_TABLES) << _BITS)  # (n, tables)
        wanted = np.ones(table_keys.shape, bool)
        wanted[1:] = table_keys[1:] != table_keys[:-1]
        wanted[::_LASTING] = True
        wanted &= (block.max(axis=1) > _QUIET)[:, None]
        keys.append(table_keys[wanted])
        times.append(np.nonzero(wanted)[0] + start)
    return np.concatenate(keys).astype(np.int32), np.concatenate(times)


def _compare(indexed: Frames, query: Frames, lag: int) -> tuple[float, float]:
    """(decibels, correlation) of two coarse fingerprints laid over each other; inf where too little is."""
    here, there = max(0, lag), max(0, -lag)
    count = min(len(indexed) - here, len(query) - there)
    if count < max(1.0, _OVERLAP * min(len(indexed), len(query))):
        return np.inf, 0.0
    first, second = indexed[here : here + count], query[there : there + count]
    loud = np.maximum(first.max(axis=1), second.max(axis=1)) > _QUIET
    if loud.sum() < 0.25 * _PATCH:
        return np.inf, 0.0
    first, second = first[loud].astype(np.float32) / 2, second[loud].astype(np.float32) / 2  # dB
    gain = float(np.median(second - first))  # a change of level is no difference, but it moves the floors
    first, second = np.maximum(first, -_FLOOR - gain), np.maximum(second, -_FLOOR + gain)
    decibels = float((second - first).std())
    if decibels > _MOST_DB:
        return decibels, 0.0
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)  # changes in time, band by band
    spread = float(first.std() * second.std())
    return decibels, float((first * second).mean()) / spread if spread > 0 else 0.0


def _bank() -> Any:
    """(bins, bands): the mean energy of each band, 80 to 3,600 Hz in equal ratios."""
    edges = np.geomspace(80, 3600, _BANDS + 1)
    hertz = np.arange(_WINDOW // 2 + 1) * _SR / _WINDOW
    upper = np.maximum(edges[1:], edges[:-1] + 1.5 * _SR / _WINDOW)  # a band holds at least one bin
    inside = (hertz >= edges[:-1, None]) & (hertz < upper[:, None])
    return (inside / inside.sum(axis=1, keepdims=True)).T.astype(np.float32)


def _planes() -> Any:
    """(patch x bands, signs): random directions that sum to zero, so that level does not matter."""
    planes = np.random.default_rng(20250513).standard_normal((_PATCH * _BANDS, _TABLES * _BITS))
    return (planes - planes.mean(axis=0)).astype(np.float32)


_HANN = np.hanning(_WINDOW).astype(np.float32)
_BANK = _bank()
_PLANES = _planes()
