"""The same recording is known again; another one of the same kind is not."""

from __future__ import annotations

import functools
import io

import av
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from audioreason.items.fingerprint import FingerprintIndex, fingerprint
from audioreason.soundcheck import families, make_item

SR = 16_000


@functools.cache
def names() -> list[str]:
    """The families of Soundcheck items."""
    return sorted(families())


def sound(family: str, seed: int) -> np.ndarray:
    """A Soundcheck clip of the training namespace, float32 (samples,)."""
    return make_item(family, difficulty=1 + seed % 5, seed=seed, namespace="train")[1].astype(np.float32)


def through(samples: np.ndarray, codec: str, container: str, rate: int, bit_rate: int) -> np.ndarray:
    """The samples after an encoder and its decoder, at 16 kHz again."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
        frame.rate = SR
        size = stream.codec_context.frame_size or 0
        fit = av.AudioResampler(format=stream.format, layout="mono", rate=rate, frame_size=size)
        for part in [*fit.resample(frame), *fit.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as file:
        back = av.AudioResampler(format="fltp", layout="mono", rate=SR)
        parts = [part for frame in [*file.decode(audio=0), None] for part in back.resample(frame)]
    return np.concatenate([part.to_ndarray()[0] for part in parts])


def as_ogg(samples: np.ndarray) -> np.ndarray:
    """The samples after Ogg Vorbis at libsndfile's own quality."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SR, format="OGG", subtype="VORBIS")
    buffer.seek(0)
    return soundfile.read(buffer, dtype="float32")[0]


CHANGES = {
    "nothing": lambda x: x,
    "mp3 at 64 kbit/s": lambda x: through(x, "libmp3lame", "mp3", 44_100, 64_000),
    "mp3 at 32 kbit/s": lambda x: through(x, "libmp3lame", "mp3", 22_050, 32_000),
    "ogg": as_ogg,
    "a fifth of the level": lambda x: x * 0.2,
    "less at both ends": lambda x: x[2_345:-3_210],
    "an odd offset": lambda x: x[137:],
    "silence before it": lambda x: np.concatenate([np.zeros(6_789, np.float32), x]),
    "8 kHz and back": lambda x: soxr.resample(soxr.resample(x, SR, 8_000), 8_000, SR),
    "trimmed, quieter, mp3": lambda x: through(x[3_000:] * 0.5, "libmp3lame", "mp3", 44_100, 64_000),
}


@pytest.fixture(scope="module")
def known() -> tuple[list[np.ndarray], FingerprintIndex]:
    """One clip of every family, and the index over them."""
    clips = [sound(name, 0) for name in names()]
    return clips, FingerprintIndex([fingerprint(clip, SR) for clip in clips])


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_known_again(known: tuple[list[np.ndarray], FingerprintIndex], change: str) -> None:
    clips, index = known
    missed = []
    for number, clip in enumerate(clips):
        match = index.match(fingerprint(CHANGES[change](clip).astype(np.float32), SR))
        if match is None or match.clip != number:
            missed.append(names()[number])
    assert len(missed) <= len(clips) // 20, missed


def test_other_seeds_of_the_same_family_are_other_recordings(
    known: tuple[list[np.ndarray], FingerprintIndex],
) -> None:
    _, index = known
    collisions = [
        name
        for name in names()
        for seed in (1, 2, 3)
        if (match := index.match(fingerprint(sound(name, seed), SR))) and names()[match.clip] == name
    ]
    assert len(collisions) <= 0.05 * 3 * len(names()), collisions


def test_a_part_is_known_and_placed() -> None:
    random = np.random.default_rng(0)
    whole = noise_scene(random, 20)
    index = FingerprintIndex(
        [fingerprint(noise_scene(np.random.default_rng(5), 20), SR), fingerprint(whole, SR)]
    )
    match = index.match(fingerprint(whole[5 * SR : 11 * SR], SR))
    assert match is not None
    assert match.clip == 1
    assert match.offset == pytest.approx(5.0, abs=0.05)
    around = np.concatenate([noise_scene(random, 6), whole, noise_scene(random, 6)])
    assert (found := index.match(fingerprint(around, SR))) is not None
    assert found.offset == pytest.approx(-6.0, abs=0.05)


def noise_scene(random: np.random.Generator, seconds: int) -> np.ndarray:
    """Bursts of coloured noise and tones at random times, float32 (samples,)."""
    samples = random.normal(0, 0.01, seconds * SR)
    for _ in range(3 * seconds):
        length = int(random.uniform(0.1, 0.6) * SR)
        start = int(random.uniform(0, len(samples) - length))
        time = np.arange(length) / SR
        tone = np.sin(2 * np.pi * random.uniform(100, 3000) * time)
        samples[start : start + length] += 0.2 * tone * np.exp(-5 * time)
    return samples.astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.02, 1.0), st.integers(0, 6_000))
def test_level_and_offset_never_hide_a_copy(seed: int, gain: float, cut: int) -> None:
    clip = noise_scene(np.random.default_rng(seed), 4)
    index = FingerprintIndex([fingerprint(clip, SR)])
    assert index.match(fingerprint((clip[cut:] * gain).astype(np.float32), SR)) is not None


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_independent_scenes_never_match(first: int, second: int) -> None:
    index = FingerprintIndex([fingerprint(noise_scene(np.random.default_rng(first), 4), SR)])
    if first != second:
        assert index.match(fingerprint(noise_scene(np.random.default_rng(second), 4), SR)) is None


@pytest.mark.parametrize("count", [1, 100, 1_024, 2_048, 5_000, 20_000])
def test_silence_is_like_nothing_and_short_clips_are_no_error(count: int) -> None:
    silent = fingerprint(np.zeros(count, np.float32), SR)
    click = fingerprint(np.eye(1, count, count // 2, dtype=np.float32)[0], SR)
    index = FingerprintIndex([silent, click])
    assert index.match(silent) is None
    assert len(FingerprintIndex([])) == 0
    assert FingerprintIndex([]).match(click) is None
