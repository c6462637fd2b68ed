"""Pictures of clips: true to the sound, made once, and never a crash on odd input."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioreason.errors import ItemError
from audioreason.items.picture import COLUMNS, MELS, mel_image, peaks, picture, spectrogram


def tone(hertz: float, seconds: float = 2.0, sr: int = 16_000) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * sr)) / sr)


def test_a_higher_tone_is_drawn_higher() -> None:
    low, high = (int(mel_image(tone(hertz), 16_000).mean(axis=1).argmax()) for hertz in (300, 3000))
    assert high < low  # row 0 is the highest band


def test_a_click_in_a_ten_minute_clip_is_still_seen() -> None:
    samples = np.zeros(600 * 16_000, np.float32)
    samples[300 * 16_000 : 300 * 16_000 + 160] = 0.9
    column = int(mel_image(samples, 16_000).max(axis=0).argmax())
    assert abs(column - COLUMNS / 2) <= 1


def test_silence_is_black_and_noise_is_not() -> None:
    assert mel_image(np.zeros(16_000), 16_000).max() == 0
    assert mel_image(np.random.default_rng(0).standard_normal(16_000) * 0.1, 16_000).mean() > 100


@pytest.mark.parametrize("count", [0, 1, 5, 899, 16_000])
def test_clips_of_any_length_have_as_many_peaks(count: int) -> None:
    assert len(peaks(np.ones(count, np.float32))) == 2 * COLUMNS
    assert mel_image(np.ones(count, np.float32), 16_000).shape == (MELS, COLUMNS)


def test_pictures_are_made_once_and_are_valid(tmp_path: Path) -> None:
    clip = tmp_path / "0123abcd.wav"
    soundfile.write(clip, tone(440), 16_000)
    first = picture(clip, tmp_path / "cache")
    data = spectrogram(clip, tmp_path / "cache").read_bytes()
    clip.unlink()  # from here on only the cache can answer
    assert picture(clip, tmp_path / "cache") == first
    assert first.seconds == 2.0
    assert first.peak == pytest.approx(0.5, abs=0.01)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    start = data.index(b"IDAT") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big")
    assert len(zlib.decompress(data[start : start + length])) == MELS * (COLUMNS + 1)


def test_a_file_that_is_not_sound_is_refused_in_one_sentence(tmp_path: Path) -> None:
    clip = tmp_path / "x.wav"
    clip.write_text("not a wave")
    with pytest.raises(ItemError, match="not readable as sound"):
        picture(clip, tmp_path / "cache")
