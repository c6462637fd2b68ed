"""Notes, chords and instruments made from arithmetic. Pitches are MIDI numbers (69 is A4, 440 Hz)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from audioreason.soundcheck.synth import (
    SR,
    Random,
    Samples,
    harmonics,
    noise,
    partials,
    seconds,
    shaped,
    sweep,
)

INTERVALS = {
    "a minor second": 1,
    "a major third": 4,
    "a perfect fourth": 5,
    "a perfect fifth": 7,
    "a major seventh": 11,
    "an octave": 12,
}
CHORDS = {"major": (0, 4, 7), "minor": (0, 3, 7), "diminished": (0, 3, 6), "augmented": (0, 4, 8)}


def hertz(midi: float) -> float:
    """Frequency of a MIDI pitch in equal temperament."""
    return float(440.0 * 2 ** ((midi - 69) / 12))


def plucked(rng: Random, f: float, duration: float) -> Samples:
    """A plucked string: harmonics that die the faster the higher they are."""
    numbers = [k for k in range(1, 13) if k * f < SR / 2]
    bite = rng.uniform(0.8, 1.2)
    levels = [1 / k**bite for k in numbers]
    return shaped(
        partials(int(duration * SR), [f * k for k in numbers], levels, [2 + 0.9 * k for k in numbers]), 0.002
    )


def organ(rng: Random, f: float, duration: float) -> Samples:
    levels = (1.0, 0.7, 0.35, 0.4, 0.2)
    return shaped(
        partials(int(duration * SR), [f * k for k in (1, 2, 3, 4, 6)], levels, [0.0] * 5), 0.02, 0.04
    )


def flute(rng: Random, f: float, duration: float) -> Samples:
    t = seconds(duration)
    vibrato = f * (1 + 0.006 * np.sin(2 * np.pi * rng.uniform(4.5, 6) * t))
    breath = 0.06 * noise(rng, len(t), f, min(f * 4, 7000))
    return shaped(sweep(t, vibrato) + 0.18 * sweep(t, 2 * vibrato) + breath, 0.06, 0.06)


def chime(rng: Random, f: float, duration: float) -> Samples:
    """A bell by frequency modulation (Chowning 1973): inharmonic sidebands that fade first."""
    t = seconds(duration)
    index = 4.0 * np.exp(-t * 4)
    return shaped(np.exp(-t * 3) * np.sin(2 * np.pi * f * t + index * np.sin(2 * np.pi * f * 1.4 * t)), 0.002)


def marimba(rng: Random, f: float, duration: float) -> Samples:
    t = seconds(duration)
    return shaped(np.exp(-t * 9) * sweep(t, f) + 0.5 * np.exp(-t * 22) * sweep(t, min(f * 3.9, 7500)), 0.001)


def reed(rng: Random, f: float, duration: float) -> Samples:
    """A reed such as a clarinet's: odd harmonics only."""
    numbers = [k for k in (1, 3, 5, 7, 9) if k * f < SR / 2]
    levels = [1 / k for k in numbers]
    return shaped(
        partials(int(duration * SR), [f * k for k in numbers], levels, [0.0] * len(numbers)), 0.03, 0.04
    )


def brass(rng: Random, f: float, duration: float) -> Samples:
    """A brass tone: brighter as it swells."""
    t = seconds(duration)
    count = min(10, int((SR / 2 - 1) / f))
    swell = 1 - np.exp(-t * 12)
    level, levels = np.ones_like(t), []
    for k in range(1, count + 1):
        level = level * swell
        levels.append(level / k**0.4)
    return shaped(harmonics(np.full_like(t, f), levels), 0.02, 0.05)


INSTRUMENTS: dict[str, Callable[[Random, float, float], Samples]] = {
    "a plucked string": plucked,
    "an organ": organ,
    "a flute": flute,
    "a bell chime": chime,
    "a marimba": marimba,
    "a clarinet": reed,
    "a brass horn": brass,
}


def chord(rng: Random, instrument: str, root: float, steps: Sequence[int], duration: float) -> Samples:
    """Several notes at once, peak 1."""
    play = INSTRUMENTS[instrument]
    notes = [play(rng, hertz(root + step), duration).astype(float) for step in steps]
    return shaped(np.sum(notes, axis=0), 0.002)


def metronome(accent: bool, contrast: float = 1.0) -> Samples:
    """One tick; an accented one is higher and louder, less so with a `contrast` below 1."""
    t, f = seconds(0.08), 1700 if accent else 1700 - 600 * contrast
    level = 1.0 if accent else 1 - 0.5 * contrast
    return (shaped(np.exp(-t * 60) * sweep(t, f), 0.001) * level).astype(np.float32)


def dtmf(key: str, duration: float) -> Samples:
    """A telephone key's two tones. Source: ITU-T Q.23."""
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477)
    at = "123456789*0#".index(key)
    t = seconds(duration)
    return shaped(sweep(t, rows[at // 3]) + sweep(t, columns[at % 3]))


MORSE = {
    "A": ".-",
    "D": "-..",
    "E": ".",
    "G": "--.",
    "I": "..",
    "K": "-.-",
    "M": "--",
    "N": "-.",
    "O": "---",
    "R": ".-.",
    "S": "...",
    "T": "-",
    "U": "..-",
    "V": "...-",
}


def morse(text: str, unit: float, f: float) -> tuple[Samples, list[tuple[float, float, str]]]:
    """A word in Morse code and its marks (start, end, "short tone" or "long tone").

    Source: ITU-R M.1677-1.
    """
    marks: list[tuple[float, float, str]] = []
    at = 0.0
    for character in text:
        for mark in MORSE[character]:
            length = unit * (1 if mark == "." else 3)
            marks.append((at, at + length, "short tone" if mark == "." else "long tone"))
            at += length + unit
        at += 2 * unit
    sound = np.zeros(int((at + unit) * SR), dtype=np.float32)
    for start, end, _ in marks:
        tone = shaped(sweep(seconds(end - start), f), 0.005, 0.005)
        sound[int(start * SR) : int(start * SR) + len(tone)] = tone
    return sound, marks
