"""Decoders: an audio file to mono float32 blocks, within limits on size, duration and what FFmpeg may open.

libsndfile reads wav, flac, mp3, ogg and aiff; PyAV (FFmpeg) reads m4a, webm, aac and what libsndfile refuses.
The format is decided by the first bytes, never by the name, so that a playlist called `.m4a` cannot make
FFmpeg open other files. Knows nothing about resampling, caches or datasets.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audioreason.errors import ItemError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SECONDS = 600.0  # of decoded audio
MAX_BYTES = 256 * 1024 * 1024  # ten minutes of 24-bit stereo at 48 kHz are 173 MB
_RATES = range(2_000, 768_001)  # Hz
_MAX_CHANNELS = 64
_SHORTER = 0.02  # of its declared length that a whole clip may lack: headers round, encoders pad
_BLOCK = 1 << 16  # frames read at a time: many channels at a high rate stay far from memory limits
_LIBSNDFILE = ("wav", "flac", "mp3", "ogg", "aiff")
_FORMATS = "wav, flac, mp3, ogg, m4a, webm or aiff"
_CONVERT = f"Save it again as {_FORMATS}."


@dataclass
class Sound:
    """A decoder at work. `blocks` gives mono float32 (samples,) at the file's own rate, once."""

    sr: int  # Hz
    channels: int
    complete: bool  # False if the file is known to end before its header says; certain once it is decoded
    blocks: Iterator[NDArray[np.float32]]
    declared: float = 0.0  # seconds that the header says; 0 if it does not


@contextlib.contextmanager
def open_sound(path: Path, longest: float | None = None, largest: int | None = None) -> Iterator[Sound]:
    """Open an audio file of at most `longest` seconds (default: ten minutes) and `largest` bytes (256 MiB).

    Channels are averaged.

    Raises (here or while `blocks` is read):
        ItemError: if the file is missing, empty, too large, too long, not audio the lab reads, broken, or
            holds samples that are not numbers.
    """
    longest = MAX_SECONDS if longest is None else longest
    largest = MAX_BYTES if largest is None else largest
    try:
        file = path.open("rb", buffering=0)  # libsndfile moves the descriptor itself
    except OSError as error:
        raise ItemError(
            f"The clip {path} cannot be read ({error.strerror or error}).",
            "Check the file and its permissions.",
        ) from error
    with file, contextlib.ExitStack() as stack:
        size = file.seek(0, 2)
        file.seek(0)
        if size == 0:
            raise ItemError(f"The clip {path.name} is an empty file.", "Copy it again from where it came.")
        if size > largest:
            raise ItemError(
                f"The clip {path.name} has {size >> 20} MB; the limit is {largest >> 20} MB.",
                "Cut it to the part that the question is about.",
            )
        head = file.read(16)
        kind = _kind(head)
        if kind is None:
            raise _no_sound(path, head + file.read(512))
        complete = _is_complete(kind, file, head, size)
        sound = stack.enter_context(_libsndfile(path, file)) if kind in _LIBSNDFILE else None
        if sound is None:
            sound = stack.enter_context(_ffmpeg(path, file, kind))
        sound.complete = complete
        sound.blocks = _checked(path, sound, sound.blocks, longest)
        yield sound


def _kind(head: bytes) -> str | None:
    """FFmpeg's name of the container, from the first 16 bytes; None if it is none that the lab reads."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[4:8] == b"ftyp":
        return "mp4"
    for magic, kind in (
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
        (b"ID3", "mp3"),
        (b"\x1a\x45\xdf\xa3", "matroska"),
    ):
        if head.startswith(magic):
            return kind
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # MPEG frame sync
        return "aac" if head[1] & 0x06 == 0 else "mp3"  # layer bits are zero in ADTS alone
    return None


def _no_sound(path: Path, head: bytes) -> ItemError:
    """What a file is that is no sound, as far as its beginning tells."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(b"version https://git-lfs"):
        return ItemError(
            f"The clip {path.name} is a Git LFS pointer, not the sound itself.", "Fetch it with: git lfs pull"
        )
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return ItemError(
            f"The clip {path.name} is a web page, most likely an error that was saved in its place.",
            "Download it again.",
        )
    if text.startswith((b"{", b"[")):
        return ItemError(
            f"The clip {path.name} is JSON text, most likely a server's error in its place.",
            "Download it again.",
        )
    return ItemError(f"The clip {path.name} is not {_FORMATS}.", "Convert it to one of these.")


def _is_complete(kind: str, file: FileIO, head: bytes, size: int) -> bool:
    """Whether a file is as long as its container says, where that can be seen without decoding.

    RIFF and AIFF give their length (writers to a pipe leave it unset); Ogg marks its last page.
    """
    if kind == "ogg":
        file.seek(max(0, size - (1 << 17)))  # a page has at most 65,307 bytes
        tail = file.read()
        last = tail.rfind(b"OggS")
        page = tail[last:]
        if last < 0 or len(page) < 27 or len(page) < 27 + page[26]:  # a header of 27 bytes, then lengths
            return False
        return bool(page[5] & 0x04) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
    if head[:4] not in (b"RIFF", b"FORM"):
        return True
    said = int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big")
    return said in (0, 8) or said >= 0x7FFF_F000 or size + 1 >= said + 8


@contextlib.contextmanager
def _libsndfile(path: Path, file: FileIO) -> Iterator[Sound | None]:
    """libsndfile's decoder, or None if it refuses the file: FFmpeg may still know the codec inside."""
    import soundfile

    file.seek(0)
    try:  # by descriptor: by name, soundfile would take `.raw` to mean headerless samples
        opened = soundfile.SoundFile(file.fileno(), closefd=False)
    except soundfile.SoundFileError:
        file.seek(0)
        yield None
        return

    def blocks() -> Iterator[NDArray[np.float32]]:
        try:
            while len(block := opened.read(_BLOCK, dtype="float32", always_2d=True)):
                yield block.mean(axis=1)  # (frames, channels) -> (frames,)
        except soundfile.SoundFileError as error:
            raise _broken(path, str(error)) from error

    with opened:
        yield Sound(opened.samplerate, opened.channels, True, blocks(), opened.frames / opened.samplerate)


@contextlib.contextmanager
def _ffmpeg(path: Path, file: FileIO, kind: str) -> Iterator[Sound]:
    """FFmpeg's decoder with its container fixed to `kind`, reading from the open file only."""
    import av

    file.seek(0)
    try:
        container = av.open(file, mode="r", format=kind, metadata_errors="ignore")
    except (av.error.FFmpegError, ValueError) as error:
        raise _broken(path, getattr(error, "strerror", "") or str(error)) from error
    with container:
        if not container.streams.audio:
            raise ItemError(f"The clip {path.name} has no sound in it.", "Export its audio track.")
        stream = container.streams.audio[0]
        to_float = av.AudioResampler(format="fltp")

        def blocks() -> Iterator[NDArray[np.float32]]:
            frames: Any
            try:
                for frames in container.decode(stream):
                    for frame in to_float.resample(frames):
                        yield frame.to_ndarray().mean(axis=0)  # (channels, frames) -> (frames,)
            except (av.error.FFmpegError, ValueError) as error:
                raise _broken(path, getattr(error, "strerror", "") or str(error)) from error

        declared = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        if not declared and container.duration:
            declared = container.duration / av.time_base
        yield Sound(stream.rate or 0, stream.channels, True, blocks(), declared)


def _checked(
    path: Path, sound: Sound, blocks: Iterator[NDArray[np.float32]], longest: float
) -> Iterator[NDArray[np.float32]]:
    """The blocks, until a limit is passed or a sample is not a number."""
    if sound.sr not in _RATES or not 1 <= sound.channels <= _MAX_CHANNELS:
        raise ItemError(
            f"The clip {path.name} says {sound.sr} Hz and {sound.channels} channels, which cannot be.",
            _CONVERT,
        )
    frames = 0
    for block in blocks:
        frames += len(block)
        if frames > longest * sound.sr:
            raise ItemError(
                f"The clip {path.name} is longer than {longest / 60:.0f} minutes.",
                "Cut it to the part that the question is about.",
            )
        if not np.isfinite(block).all():
            raise ItemError(
                f"The clip {path.name} has samples that are not numbers (NaN or infinite).", _CONVERT
            )
        yield block
    if frames < (sound.declared * (1 - _SHORTER) - 0.1) * sound.sr:
        sound.complete = False
    if frames == 0:
        raise ItemError(f"The clip {path.name} has no samples.", "Copy it again from where it came.")


def _broken(path: Path, detail: str) -> ItemError:
    return ItemError(
        f"The clip {path.name} is broken and cannot be decoded ({detail.rstrip('.')}).",
        "Copy it again from where it came: it may be cut short.",
    )
