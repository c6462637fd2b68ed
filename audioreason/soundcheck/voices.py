"""Speech by eSpeak NG, carried in a wheel: several speakers, languages, speeds and melodies.

One synthesiser a process, called from one thread at a time. Words, times and voices repeat; the samples of
speech do not quite, because eSpeak NG carries noise and phase from one utterance to the next. Knows nothing
about questions.
"""

from __future__ import annotations

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
    """The synthesiser and the samples that it calls back with."""

    def __init__(self) -> None:
        try:
            import espeakng_loader

            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
            data = Path(espeakng_loader.get_data_path()).parent
        except (ImportError, OSError) as error:
            raise ItemError(
                f"The speech synthesiser cannot be loaded ({error}).", "Install the package espeakng-loader."
            ) from error
        self._parts: list[np.ndarray[Any, np.dtype[np.int16]]] = []
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), 0)
        if rate != _NATIVE_SR:
            raise ItemError(f"The speech synthesiser did not start (it answered {rate}).")
        prototype = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self._callback = prototype(self._receive)  # kept: the library holds only its address
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, wav: Any, count: int, _events: Any) -> int:
        if wav and count > 0:
            self._parts.append(np.ctypeslib.as_array(wav, shape=(count,)).copy())
        return 0

    def say(self, text: str, voice: str, style: Style) -> Samples:
        """The utterance at 16 kHz, peak 1, without the silence around it."""
        self._parts.clear()
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ItemError(f"The speech synthesiser has no voice {voice}.")
        for parameter, value in ((_RATE, style.rate), (_PITCH, style.pitch), (_RANGE, style.range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        self._library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 0, 0, _UTF8, None, None)
        if not self._parts:
            raise ItemError(f"The voice {voice} said nothing for “{text}”.")
        sound = np.concatenate(self._parts).astype(np.float64)
        loud = np.flatnonzero(np.abs(sound) > 0.01 * np.abs(sound).max())
        sound = sound[max(0, loud[0] - 200) : loud[-1] + 400]
        return shaped(_to_16k(sound), 0.004, 0.01)


_LOCK = threading.Lock()


@functools.cache
def _speaker() -> _Speaker:
    return _Speaker()


@functools.lru_cache(maxsize=512)
def _cached(text: str, voice: str, style: Style) -> Samples:
    with _LOCK:
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
