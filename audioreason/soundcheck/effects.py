"""What rooms, lines and recorders do to a sound. Every function returns as many samples as it was given."""

from __future__ import annotations

import numpy as np

from audioreason.soundcheck.synth import SR, Random, Samples, as_samples, noise, quick, total


def gain(db: float) -> float:
    """The factor of so many decibels."""
    return float(10 ** (db / 20))


def band(sound: Samples, low: float, high: float) -> Samples:
    """Keep what lies between two frequencies (Hz), with soft edges of a quarter octave."""
    whole = quick(len(sound))
    spectrum = np.fft.rfft(sound, whole)
    f = np.maximum(np.fft.rfftfreq(whole, 1 / SR), 1.0)
    keep = 1 / (1 + (low / f) ** 12) if low > 0 else np.ones_like(f)
    keep = keep / (1 + (f / high) ** 12) if high < SR / 2 else keep
    return np.fft.irfft(spectrum * keep.astype(np.float32), whole)[: len(sound)].astype(np.float32)


def reverb(rng: Random, sound: Samples, decay: float, wet: float) -> Samples:
    """A room: noise that dies by 60 dB in `decay` seconds, `wet` parts of it to one part of the sound."""
    n = max(1, int(min(decay, 2.5) * SR))
    t = np.arange(n) / SR
    tail = rng.standard_normal(n) * np.exp(-6.9 * t / decay) * (t > 0.012)
    tail /= np.sqrt((tail**2).sum()) + 1e-9
    size = quick(len(sound) + n)
    wash = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail.astype(np.float32), size), size)[
        : len(sound)
    ]
    return as_samples(sound + wet * wash)


def echo(sound: Samples, delay: float, repeats: int, factor: float) -> Samples:
    """The sound again after each `delay` seconds, `factor` times weaker every time."""
    out = sound.copy()
    step = int(delay * SR)
    for k in range(1, repeats + 1):
        if k * step < len(sound):
            out[k * step :] += factor**k * sound[: len(sound) - k * step]
    return out


def clip(sound: Samples, drive: float) -> Samples:
    """Hard clipping: amplified `drive` times into a ceiling of the former peak."""
    peak = float(np.abs(sound).max()) or 1.0
    return as_samples(np.clip(sound * drive, -peak, peak))


def quantise(sound: Samples, bits: int) -> Samples:
    """Few bits with mu-law companding (ITU-T G.711's curve), as old telephone codecs do."""
    mu = 255.0
    peak = float(np.abs(sound).max()) or 1.0
    x = sound / peak
    pressed = np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)
    steps = 2 ** (bits - 1)
    pressed = np.round(pressed * steps) / steps
    return as_samples(peak * np.sign(pressed) * np.expm1(np.abs(pressed) * np.log1p(mu)) / mu)


def hum(rng: Random, n: int) -> Samples:
    """Mains hum: 50 or 60 Hz with harmonics, unit variance."""
    t = np.arange(n) / SR
    f = rng.choice([50.0, 60.0])
    sound = total(np.sin(2 * np.pi * f * k * t + rng.uniform(0, 6)) / k**0.5 for k in (1, 2, 3, 5))
    return as_samples(sound / sound.std())


def hiss(rng: Random, n: int) -> Samples:
    """Tape hiss, unit variance."""
    return noise(rng, n, 2000, 8000).astype(np.float32)


def crackle(rng: Random, n: int) -> Samples:
    """Sparse clicks as of a scratched record, unit variance."""
    clicks = (rng.random(n) < 0.0012) * rng.choice([-1.0, 1.0], n) * rng.uniform(0.5, 1, n)
    sound = np.convolve(clicks, np.exp(-np.arange(24) / 5))[:n]
    return as_samples(sound / (sound.std() + 1e-9))


def distant(rng: Random, sound: Samples, metres: float) -> Samples:
    """A source this far away in the open: quieter, duller, more of the surroundings."""
    near = gain(-20 * np.log10(max(metres, 1.0)))
    dull = band(sound, 0, float(np.clip(9000 / metres**0.6, 700, 7900)))
    return reverb(rng, (dull * near).astype(np.float32), 0.5 + 0.02 * metres, min(0.9, 0.05 + 0.03 * metres))
