"""Clips: every common format in, one form out, and broken files named for what they are."""

from __future__ import annotations

import subprocess
import sys
import wave
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audioreason.errors import ItemError
from audioreason.items import clip_info, decode, prepare_clip, read_clip, wav_bytes

SR = 44_100


def tone(seconds: float = 1.0, sr: int = SR, hertz: float = 440.0) -> np.ndarray:
    """A sine that rises for 0.2 s and then fades, float32 (samples,)."""
    time = np.arange(int(seconds * sr)) / sr
    return (0.5 * np.minimum(5 * time, 1) * np.sin(2 * np.pi * hertz * time) * np.exp(-time)).astype(
        np.float32
    )


def encode(
    path: Path, samples: np.ndarray, sr: int, codec: str, rate: int, bit_rate: int | None = None
) -> Path:
    """Write mono samples through FFmpeg's encoder `codec` at `rate` Hz."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        if bit_rate:
            stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
        frame.rate = sr
        size = stream.codec_context.frame_size or 0
        fit = av.AudioResampler(format=stream.format, layout="mono", rate=rate, frame_size=size)
        for part in [*fit.resample(frame), *fit.resample(None)]:
            for packet in stream.encode(part):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def pitch(samples: np.ndarray, sr: int) -> float:
    """The loudest frequency in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * sr / len(samples))


@pytest.mark.parametrize(
    "suffix", ["wav", "flac", "ogg", "mp3", "aiff", "m4a", "webm", "aac", "opus.ogg", "alaw.wav"]
)
def test_every_common_format_is_read(tmp_path: Path, suffix: str) -> None:
    path, samples = tmp_path / f"clip.{suffix}", tone(2.0)
    match suffix:
        case "m4a" | "aac":
            encode(path, samples, SR, "aac", SR, 96_000)
        case "webm":
            encode(path, samples, SR, "libopus", 48_000)
        case "opus.ogg":
            soundfile.write(path, tone(2.0, 48_000), 48_000, format="OGG", subtype="OPUS")
        case "alaw.wav":
            encode(path, samples, SR, "pcm_alaw", 8_000)
        case _:
            soundfile.write(path, np.stack([samples, samples], 1), SR)
    heard = read_clip(path)
    assert heard.dtype == np.float32
    assert len(heard) == pytest.approx(32_000, abs=1_200)  # a codec may add a frame of padding
    assert pitch(heard, 16_000) == pytest.approx(440, abs=2)
    info = clip_info(path)
    assert info.seconds == pytest.approx(2.0, abs=0.08)
    assert 0.3 < info.peak < 0.65
    assert not info.silent
    assert info.complete


def test_the_format_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    wav = tmp_path / "really-wav.mp3"
    wav.write_bytes(wav_bytes(tone(sr=16_000)))
    assert clip_info(wav).sr == 16_000
    raw = tmp_path / "really-wav.raw"
    raw.write_bytes(wav.read_bytes())
    assert clip_info(raw).sr == 16_000


def test_resampling_keeps_the_band_and_removes_what_is_above_it(tmp_path: Path) -> None:
    path = tmp_path / "two.wav"
    time = np.arange(SR * 2) / SR
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 7000 * time) + 0.3 * np.sin(2 * np.pi * 9500 * time), SR)
    heard = read_clip(path)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard)))) / len(heard) * 4
    decibels = 20 * np.log10(np.maximum(spectrum, 1e-12))
    hertz = np.fft.rfftfreq(len(heard), 1 / 16_000)
    assert decibels[np.abs(hertz - 7000) < 5].max() == pytest.approx(20 * np.log10(0.3), abs=0.2)
    assert decibels[np.abs(hertz - 6500) < 5].max() < -80  # where 9,500 Hz would fold to
    assert len(heard) == 32_000


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([np.full(800, 0.5), np.full(800, -0.1)], 1), 16_000, subtype="FLOAT")
    assert read_clip(path) == pytest.approx(0.2, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(arrays(np.int16, st.integers(1, 2_000)))
def test_a_clip_in_the_prepared_form_keeps_every_sample(
    tmp_path_factory: pytest.TempPathFactory, pcm: np.ndarray
) -> None:
    folder = tmp_path_factory.mktemp("clip")
    soundfile.write(folder / "a.wav", pcm, 16_000, subtype="PCM_16")
    prepared = prepare_clip(folder / "a.wav", folder / "cache")
    with wave.open(str(prepared)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        assert np.array_equal(np.frombuffer(file.readframes(len(pcm)), "<i2"), pcm)


def test_a_clip_is_prepared_once_per_content(tmp_path: Path) -> None:
    first, second, cache = tmp_path / "a.flac", tmp_path / "b.flac", tmp_path / "cache"
    soundfile.write(first, tone(), SR)
    second.write_bytes(first.read_bytes())
    prepared = prepare_clip(first, cache)
    written = prepared.stat().st_mtime_ns
    assert prepare_clip(second, cache) == prepared
    assert prepared.stat().st_mtime_ns == written
    assert prepared.parent == cache / "clips"
    soundfile.write(second, tone(hertz=500), SR)
    assert prepare_clip(second, cache) != prepared


def test_a_clip_above_full_scale_is_scaled_not_clipped(tmp_path: Path) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, tone(sr=16_000) * 6, 16_000, subtype="FLOAT")
    heard = read_clip(prepare_clip(path, tmp_path))
    assert np.corrcoef(heard, tone(sr=16_000))[0, 1] > 0.9999
    assert np.mean(np.abs(heard) > 0.999) < 0.001


def test_two_processes_prepare_the_same_clip_at_once(tmp_path: Path) -> None:
    source, cache = tmp_path / "a.flac", tmp_path / "cache"
    soundfile.write(source, tone(30.0), SR)
    script = (
        "import sys; from pathlib import Path; from audioreason.items import prepare_clip, read_clip\n"
        "print(len(read_clip(prepare_clip(Path(sys.argv[1]), Path(sys.argv[2])))))"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", script, str(source), str(cache)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [worker.communicate(timeout=60)[0] for worker in workers] == [b"480000\n"] * 2
    assert [path.suffix for path in (cache / "clips").iterdir()] == [".wav"]


def test_silence_and_a_constant_offset_are_silent_and_a_whisper_is_not(tmp_path: Path) -> None:
    for name, samples, silent in (
        ("zeros", np.zeros(8000), True),
        ("offset", np.full(8000, 0.5), True),
        ("hiss", np.random.default_rng(0).normal(0, 1e-4, 8000), True),
        ("whisper", tone(0.5, 16_000) * 0.01, False),
    ):
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000)
        assert clip_info(tmp_path / f"{name}.wav").silent is silent, name


def broken_clips() -> dict[str, tuple[bytes, str]]:
    """Broken files by name, each with words that its error must contain."""
    noise = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    return {
        "nothing.wav": (b"", "is an empty file"),
        "text.mp3": (b"this is not sound, it is text", "is not wav, flac"),
        "playlist.m4a": (b"#EXTM3U\n#EXTINF:10,\nfile:///etc/hostname\n", "is not wav, flac"),
        "header-only.wav": (wav_bytes(np.zeros(0, np.float32)), "has no samples"),
        "one-sample.wav": (wav_bytes(np.zeros(1, np.float32), 44_100), "too short"),
        "noise.mp3": (b"\xff\xfb" + noise, "is broken"),
        "noise.wav": (b"RIFF\0\0\0\0WAVE" + noise, "is broken"),
        "noise.flac": (b"fLaC" + noise, "is broken"),
        "noise.ogg": (b"OggS" + noise, "is broken"),
        "noise.m4a": (b"\0\0\0\x20ftypM4A " + noise, "is broken"),
        "noise.webm": (b"\x1a\x45\xdf\xa3" + noise, "is broken"),
    }


@pytest.mark.parametrize("name", broken_clips())
def test_a_broken_clip_is_one_clear_error(tmp_path: Path, name: str) -> None:
    data, words = broken_clips()[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ItemError, match=words) as caught:
        prepare_clip(tmp_path / name, tmp_path / "cache")
    assert name in caught.value.message
    assert caught.value.hint
    assert not (tmp_path / "cache" / "clips").exists()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(broken_clips())), st.binary(max_size=400))
def test_no_bytes_make_anything_but_sound_or_an_item_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, tail: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(broken_clips()[name][0][:12] + tail)
    try:
        assert len(read_clip(path)) > 0
    except ItemError as error:
        assert error.hint


def test_a_truncated_file_is_an_error_or_called_incomplete(tmp_path: Path) -> None:
    for name in ("a.flac", "a.wav", "a.m4a"):
        path = tmp_path / name
        if name == "a.m4a":
            encode(path, tone(4.0), SR, "aac", SR)
        else:
            soundfile.write(path, tone(4.0), SR)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        if name == "a.wav":
            assert not clip_info(path).complete
        else:
            with pytest.raises(ItemError, match="is broken"):
                read_clip(path)


def test_samples_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    for value in (np.nan, np.inf):
        soundfile.write(tmp_path / "bad.wav", np.array([0.0, value, 0.1]), 16_000, subtype="FLOAT")
        with pytest.raises(ItemError, match="not numbers"):
            read_clip(tmp_path / "bad.wav")


def test_limits_on_duration_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(601 * 4000, np.float32), 4000)
    with pytest.raises(ItemError, match="longer than 10 minutes"):
        read_clip(path)
    monkeypatch.setattr(decode, "MAX_BYTES", 1000)
    with pytest.raises(ItemError, match="the limit is"):
        read_clip(path)


def test_a_missing_file_and_a_folder_are_item_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(ItemError, match="cannot be read"):
            read_clip(path)


def test_a_film_without_sound_says_so(tmp_path: Path) -> None:
    path = tmp_path / "mute.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for packet in [*stream.encode(av.VideoFrame(32, 32, "yuv420p")), *stream.encode(None)]:
            container.mux(packet)
    with pytest.raises(ItemError, match="has no sound in it"):
        read_clip(path)


def test_importing_items_loads_no_decoder() -> None:
    heavy = {"librosa", "av", "soundfile", "soxr", "scipy"}
    script = f"import sys, audioreason.items; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", script]) == b"[]\n"


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "opus.ogg", "a.aiff"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_clip_that_was_cut_short_is_never_taken_for_a_whole_one(
    tmp_path: Path, name: str, share: float
) -> None:
    samples = np.random.default_rng(0).normal(0, 0.2, 16_000 * 6).astype(np.float32)
    subtype = "OPUS" if name.startswith("opus") else None
    soundfile.write(tmp_path / name, samples, 16_000, subtype=subtype)
    assert clip_info(tmp_path / name).complete
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    try:
        assert not clip_info(tmp_path / name).complete
    except ItemError as error:
        assert "broken" in error.message and "cut short" in error.hint


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer"),
        (b"\r\n<!DOCTYPE html><html></html>", "web page"),
        (b'{"error": "rate limit"}', "JSON text"),
        (b"", "empty file"),
        (b"nothing known, but long enough", "is not wav"),
    ],
)
def test_what_stands_in_a_clips_place_is_named(tmp_path: Path, raw: bytes, words: str) -> None:
    (tmp_path / "a.wav").write_bytes(raw)
    with pytest.raises(ItemError, match=words):
        clip_info(tmp_path / "a.wav")
