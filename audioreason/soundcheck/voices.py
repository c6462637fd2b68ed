"""Speech by eSpeak NG, carried in a wheel: several speakers, languages, speeds and melodies.

eSpeak NG carries noise and phase from one utterance to the next, so the library is loaded anew for each of
them (a few milliseconds): the same words said the same way are the same samples, whatever was said before.
Knows nothing about questions.
"""

from __future__ import annotations

import _ctypes
import ctypes
import functools
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audioreason.errors import ItemError
from audioreason.soundcheck.synth import SR, Samples, shaped

_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_SYNCHRONOUS, _UTF8 = 2, 1
_NATIVE_SR = 22_050
_Native = np.ndarray[Any, np.dtype[np.int16]]
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

# eSpeak's variants: +m are low voices, +f high ones. The last of each list is never trained on.
LOW = ("en+m1", "en+m3", "en+m7", "en+m5")
HIGH = ("en+f1", "en+f2", "en+f3", "en+f4")
HELD_OUT_VOICES = frozenset({"en+m5", "en+f4"})

LANGUAGES = {
    "English": "en",
    "German": "de",
    "French": "fr",
    "Spanish": "es",
    "Italian": "it",
    "Russian": "ru",
    "Mandarin Chinese": "cmn",
    "Turkish": "tr",
}
ACCENTS = {"British": "en", "American": "en-us", "Scottish": "en-gb-scotland", "Caribbean": "en-029"}


@dataclass(frozen=True)
class Style:
    """How something is said: words a minute, pitch and its range, both 0 to 100."""

    rate: int = 165
    pitch: int = 50
    range: int = 50


class _Speaker:
    """Where the synthesiser lies, and how to make it say something from a fresh start."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise ItemError(
                f"The speech synthesiser cannot be loaded ({error}).", "Install the package espeakng-loader."
            ) from error
        self._path: str = espeakng_loader.get_library_path()
        self._data = str(Path(espeakng_loader.get_data_path()).parent).encode()

    def say(self, text: str, voice: str, style: Style) -> Samples:
        """The utterance at 16 kHz, peak 1, without the silence around it."""
        try:
            library = ctypes.CDLL(self._path)
        except OSError as error:
            raise ItemError(
                f"The speech synthesiser cannot be loaded ({error}).", "Install espeakng-loader again."
            ) from error
        try:
            parts = self._speak(library, text, voice, style)
            library.espeak_Terminate()
        finally:
            _ctypes.dlclose(library._handle)  # ends its noise and phase: the next utterance starts afresh
        if not parts:
            raise ItemError(f"The voice {voice} said nothing for “{text}”.")
        sound = np.concatenate(parts).astype(np.float64)
        loud = np.flatnonzero(np.abs(sound) > 0.01 * np.abs(sound).max())
        sound = sound[max(0, loud[0] - 200) : loud[-1] + 400]
        return shaped(_to_16k(sound), 0.004, 0.01)

    def _speak(self, library: ctypes.CDLL, text: str, voice: str, style: Style) -> list[_Native]:
        """What a fresh library says: pieces at 22,050 Hz."""
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, self._data, 0)
        if rate != _NATIVE_SR:
            raise ItemError(f"The speech synthesiser did not start (it answered {rate}).")
        library.espeak_ng_SetRandSeed(1)  # else whispers take their noise from the clock
        parts: list[_Native] = []

        def receive(wav: Any, count: int, _events: Any) -> int:
            if wav and count > 0:
                parts.append(np.ctypeslib.as_array(wav, shape=(count,)).copy())
            return 0

        callback = _CALLBACK(receive)  # kept until the end: the library holds only its address
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ItemError(f"The speech synthesiser has no voice {voice}.")
        for parameter, value in ((_RATE, style.rate), (_PITCH, style.pitch), (_RANGE, style.range)):
            library.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 0, 0, _UTF8, None, None)
        return parts


_LOCK = threading.Lock()


@functools.cache
def _speaker() -> _Speaker:
    return _Speaker()


@functools.lru_cache(maxsize=512)
def _cached(text: str, voice: str, style: Style) -> Samples:
    with _LOCK:  # a library loaded twice at once is one library
        sound = _speaker().say(text, voice, style)
    sound.flags.writeable = False
    return sound


def say(text: str, voice: str = "en", style: Style | None = None) -> Samples:
    """Speech at 16 kHz, peak 1: (samples,). Words already said the same way come from a cache.

    Raises:
        ItemError: if the synthesiser is missing or lacks the voice.
    """
    return _cached(text, voice, style or Style())


def _to_16k(sound: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Resample from 22,050 Hz by cutting the spectrum: 441 samples become 320."""
    padded = np.pad(sound, (0, -len(sound) % 441))
    n = len(padded) // 441 * 320
    return np.fft.irfft(np.fft.rfft(padded)[: n // 2 + 1], n) * (n / len(padded))


assert SR * 441 == _NATIVE_SR * 320
