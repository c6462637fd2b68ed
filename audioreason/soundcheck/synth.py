"""Everyday sounds made from arithmetic, each with several timbres. Knows nothing about questions.

Every function takes a random generator and returns float32 samples at 16 kHz, peak about 1.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

SR = 16_000  # Hz
Samples = npt.NDArray[np.float32]
Random = np.random.Generator


def seconds(duration: float) -> npt.NDArray[np.float64]:
    """Times of the samples of a sound this long, in seconds: (samples,)."""
    return np.arange(int(duration * SR)) / SR


def as_samples(sound: npt.NDArray[Any]) -> Samples:
    """A sound as float32."""
    return np.asarray(sound, dtype=np.float32)


def total(parts: Iterable[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """The sum of partials, added one after another."""
    return np.asarray(sum(parts), dtype=np.float64)


def shaped(sound: npt.NDArray[np.float64], attack: float = 0.004, release: float = 0.02) -> Samples:
    """A sound with short ramps at its ends (seconds) so that it does not click, scaled to peak 1."""
    n = len(sound)
    rise, fall = min(n, max(1, int(attack * SR))), min(n, max(1, int(release * SR)))
    sound = sound.copy()
    sound[:rise] *= np.linspace(0, 1, rise)
    sound[n - fall :] *= np.linspace(1, 0, fall)
    return as_samples(sound / (np.abs(sound).max() + 1e-9))


def quick(n: int) -> int:
    """The next length that a Fourier transform takes quickly: 256 times a number without primes above 5."""
    return _QUICK[bisect_left(_QUICK, n)] if n <= _QUICK[-1] else n + n % 2


_QUICK = sorted(
    256 * 2**a * 3**b * 5**c
    for a in range(13)
    for b in range(8)
    for c in range(6)
    if 2**a * 3**b * 5**c < 5000
)


def noise(
    rng: Random, n: int, low: float = 0.0, high: float = SR / 2, tilt: float = 0.0
) -> npt.NDArray[np.float64]:
    """Gaussian noise between two frequencies (Hz), with `tilt` dB an octave, unit variance: (n,)."""
    whole = quick(n)
    first = int(np.ceil(low * whole / SR))
    last = min(whole // 2, int(high * whole / SR))
    pairs = rng.standard_normal((last + 1 - first, 2))  # only of the bins inside: what is outside stays zero
    if tilt:
        frequency = np.arange(first, last + 1) * (SR / whole)
        pairs *= ((np.maximum(frequency, 20) / 1000) ** (tilt / 6.02))[:, None]
    spectrum = np.zeros((whole // 2 + 1, 2), dtype=np.float32)  # single precision halves the transform's time
    spectrum[first : last + 1] = pairs
    sound = np.fft.irfft(spectrum.view(np.complex64)[:, 0], whole)[:n].astype(np.float64)
    return np.asarray(sound / (sound.std() + 1e-9))


def sweep(t: npt.NDArray[np.float64], frequency: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
    """A sine whose frequency (Hz) may change over time."""
    if isinstance(frequency, np.ndarray):
        return np.sin(2 * np.pi * np.cumsum(frequency) / SR)
    return _steady(len(t), float(frequency))


def _steady(n: int, frequency: float) -> npt.NDArray[np.float64]:
    """A sine of one frequency: (n,)."""
    return partials(n, [frequency], [1.0], [0.0])


def partials(
    n: int, frequencies: Sequence[float], levels: Sequence[float], decays: Sequence[float]
) -> npt.NDArray[np.float64]:
    """The sum of sines (Hz), each times its level and fading as exp(-decay x seconds): (n,).

    A fading sine is the imaginary part of a complex power, and exp(a + b) = exp(a) exp(b): an exponential for
    every 256 samples, one for each of the 256, and a matrix product between them.
    """
    angle = 2 * np.pi * np.asarray(frequencies)
    power = (1j * angle - np.asarray(decays)) / SR  # (partials,)
    coarse = np.exp(np.outer(256 * np.arange(-(-n // 256)), power)) * np.exp(1j * angle / SR) * levels
    fine = np.exp(np.outer(power, np.arange(256)))
    sound = coarse.real @ fine.imag + coarse.imag @ fine.real  # (blocks, 256)
    return np.asarray(sound.reshape(-1)[:n])


def harmonics(
    frequency: npt.NDArray[np.float64], weights: Iterable[npt.NDArray[np.float64] | float]
) -> npt.NDArray[np.float64]:
    """Sines at 1, 2, 3 ... times a changing frequency (Hz), each times its weight: (samples,).

    By sin((k+1)x) = 2 cos x sin kx - sin((k-1)x), which costs two sines however many there are.
    """
    phase = 2 * np.pi * np.cumsum(frequency) / SR
    twice, before, now = 2 * np.cos(phase), np.zeros_like(phase), np.sin(phase)
    out = np.zeros_like(phase)
    for weight in weights:
        out += weight * now
        before, now = now, twice * now - before
    return out


def bell(rng: Random) -> Samples:
    t, f = seconds(rng.uniform(0.5, 0.8)), rng.uniform(700, 1300)
    ratios, levels = (1.0, 2.0, 2.76, 5.4), (1.0, 0.6, 0.5, 0.25)
    return shaped(partials(len(t), [f * r for r in ratios], levels, [4 * r**0.5 for r in ratios]))


def knock(rng: Random) -> Samples:
    t, f = seconds(0.16), rng.uniform(150, 260)
    thud = np.exp(-t * 45) * (sweep(t, f) + 0.5 * sweep(t, f * 1.9))
    return shaped(thud + 0.4 * np.exp(-t * 160) * noise(rng, len(t), 200, 2500), 0.001)


def glass(rng: Random) -> Samples:
    t, f = seconds(rng.uniform(0.3, 0.45)), rng.uniform(2600, 3600)
    return shaped(
        total(a * np.exp(-t * 11) * sweep(t, f * r) for r, a in ((1, 1), (1.47, 0.7), (2.09, 0.4))), 0.001
    )


def bark(rng: Random) -> Samples:
    t, f = seconds(rng.uniform(0.18, 0.28)), rng.uniform(330, 560)
    pitch = f * (1.25 - 1.6 * np.abs(t / t[-1] - 0.35))
    voice = harmonics(pitch, (1 / k for k in range(1, 9)))
    return shaped((voice + 0.9 * noise(rng, len(t), 500, 3000)) * np.sin(np.pi * t / t[-1]).clip(0) ** 0.7)


def whistle(rng: Random) -> Samples:
    t, f = seconds(rng.uniform(0.4, 0.6)), rng.uniform(1500, 2300)
    slide = f * (1 + rng.choice([-0.25, 0.25]) * t / t[-1])
    return shaped(sweep(t, slide) + 0.06 * noise(rng, len(t), 1000, 6000), 0.03, 0.05)


def drum(rng: Random) -> Samples:
    t, f = seconds(0.3), rng.uniform(60, 95)
    return shaped(np.exp(-t * 14) * sweep(t, f * (1 + 1.2 * np.exp(-t * 40))) + 0.15 * np.exp(-t * 90), 0.002)


def clap(rng: Random) -> Samples:
    t = seconds(0.14)
    bursts = total(np.exp(-np.maximum(t - at, 0) * 70) * (t >= at) for at in (0, 0.011, 0.022))
    return shaped(bursts * noise(rng, len(t), 700, 4500), 0.001)


def phone(rng: Random) -> Samples:
    t, f = seconds(rng.uniform(0.6, 0.8)), rng.uniform(800, 1000)
    trill = np.where((t * rng.uniform(18, 24)) % 1 < 0.5, f, f * 1.25)
    return shaped(np.tanh(2 * sweep(t, trill)))


def drop(rng: Random) -> Samples:
    t, f = seconds(0.13), rng.uniform(500, 900)
    return shaped(np.exp(-t * 28) * sweep(t, f * (1 + 9 * t)))


def horn(rng: Random) -> Samples:
    t, f = seconds(rng.uniform(0.45, 0.7)), rng.uniform(330, 440)
    return shaped(np.tanh(total(sweep(t, f * k) / k**0.6 for k in (1, 1.26, 2, 2.52, 3))), 0.02, 0.04)


def chirp(rng: Random) -> Samples:
    t, f = seconds(rng.uniform(0.25, 0.4)), rng.uniform(3000, 4500)
    beats = rng.uniform(10, 16)
    return shaped(sweep(t, f * (1 + 0.18 * np.sin(2 * np.pi * beats * t))) * (np.sin(np.pi * beats * t) ** 2))


def buzzer(rng: Random) -> Samples:
    t, f = seconds(rng.uniform(0.4, 0.6)), rng.uniform(110, 160)
    return shaped(np.sign(sweep(t, f)) * 0.7 + 0.3 * sweep(t, 3 * f))


def siren(rng: Random) -> Samples:
    t, f = seconds(rng.uniform(0.9, 1.2)), rng.uniform(700, 900)
    return shaped(
        np.tanh(1.5 * sweep(t, f * (1 + 0.35 * np.sin(2 * np.pi * rng.uniform(1.6, 2.2) * t)))), 0.03, 0.05
    )


def meow(rng: Random) -> Samples:
    t, f = seconds(rng.uniform(0.5, 0.7)), rng.uniform(480, 640)
    pitch = f * (1 + 0.35 * np.sin(np.pi * t / t[-1]))
    opening = np.sin(np.pi * t / t[-1]).clip(0)
    return shaped(harmonics(pitch, (opening ** (0.6 * k) / k**0.8 for k in range(1, 7))), 0.04, 0.08)


SOUNDS: dict[str, Callable[[Random], Samples]] = {
    "bell": bell,
    "knock": knock,
    "glass clink": glass,
    "dog bark": bark,
    "whistle": whistle,
    "drum": drum,
    "clap": clap,
    "phone ring": phone,
    "water drop": drop,
    "car horn": horn,
    "bird chirp": chirp,
    "buzzer": buzzer,
    "siren": siren,
    "cat meow": meow,
}


def rain(rng: Random, n: int) -> npt.NDArray[np.float64]:
    drops = (rng.random(n) < 0.004) * rng.uniform(0.5, 3, n)
    kernel = np.exp(-np.arange(60) / 9) * np.sin(np.arange(60) * rng.uniform(1.0, 1.7))
    return np.asarray(0.5 * noise(rng, n, 1500, 7800) + 2 * np.convolve(drops, kernel)[:n])


def wind(rng: Random, n: int) -> npt.NDArray[np.float64]:
    t = np.arange(n) / SR
    gust = 1 + 0.7 * np.sin(2 * np.pi * rng.uniform(0.25, 0.5) * t + rng.uniform(0, 6))
    return gust * noise(rng, n, 80, 900, -6)


def traffic(rng: Random, n: int) -> npt.NDArray[np.float64]:
    t = np.arange(n) / SR
    out = 0.7 * noise(rng, n, 40, 1200, -7)
    for _ in range(max(1, int(n / SR / 1.5))):
        centre, width = rng.uniform(0, t[-1]), rng.uniform(0.4, 0.8)
        out += 2.2 * np.exp(-(((t - centre) / width) ** 2)) * noise(rng, n, 100, 2500, -4)
    return out


def waves(rng: Random, n: int) -> npt.NDArray[np.float64]:
    t = np.arange(n) / SR
    swell = np.maximum(0, np.sin(2 * np.pi * rng.uniform(0.3, 0.45) * t + rng.uniform(0, 6))) ** 2
    return (0.25 + 2 * swell) * noise(rng, n, 200, 5000, -4)


def train(rng: Random, n: int) -> npt.NDArray[np.float64]:
    t = np.arange(n) / SR
    beat = (t * rng.uniform(1.6, 2.2)) % 1
    clack = np.exp(-beat * 22) + 0.8 * np.exp(-((beat - 0.22) % 1) * 22)
    return 0.7 * noise(rng, n, 40, 500, -6) + 2 * clack * noise(rng, n, 300, 3000, -3)


def crickets(rng: Random, n: int) -> npt.NDArray[np.float64]:
    t, f = np.arange(n) / SR, rng.uniform(4000, 5000)
    pulses = ((t * rng.uniform(2.2, 3.2)) % 1 < 0.45) * (np.sin(2 * np.pi * 22 * t) > 0)
    return 1.2 * pulses * sweep(t, f) + 0.12 * noise(rng, n, 200, 6000)


def fire(rng: Random, n: int) -> npt.NDArray[np.float64]:
    cracks = (rng.random(n) < 0.0009) * rng.uniform(1, 8, n)
    burst = np.exp(-np.arange(120) / 22) * rng.standard_normal(120)
    return np.asarray(0.35 * noise(rng, n, 60, 700, -5) + np.convolve(cracks, burst)[:n])


def engine(rng: Random, n: int) -> npt.NDArray[np.float64]:
    t, f = np.arange(n) / SR, rng.uniform(28, 42)
    wobble = f * (1 + 0.01 * np.sin(2 * np.pi * 3 * t))
    return harmonics(wobble, (1 / k**0.8 for k in range(1, 14))) + 0.25 * noise(rng, n, 100, 2000, -4)


SCENES: dict[str, Callable[[Random, int], npt.NDArray[np.float64]]] = {
    "rain": rain,
    "wind": wind,
    "street traffic": traffic,
    "sea waves": waves,
    "a train ride": train,
    "crickets at night": crickets,
    "a fire": fire,
    "an engine": engine,
}
