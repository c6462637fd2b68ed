"""A clip under construction: sounds at known times, then the disturbance that its difficulty asks for."""

from __future__ import annotations

import numpy as np

from audioreason.items.schema import Event
from audioreason.soundcheck import effects
from audioreason.soundcheck.synth import SR, Random, Samples, noise

# signal to noise in dB by difficulty 1..5; None is a clean clip
SNR: dict[int, float | None] = {1: None, 2: 30.0, 3: 22.0, 4: 15.0, 5: 9.0}


class Scene:
    """Samples of a fixed length, and the events placed in them."""

    def __init__(self, rng: Random, duration: float) -> None:
        self.rng = rng
        self.duration = duration
        self.samples: Samples = np.zeros(int(duration * SR), dtype=np.float32)
        self.events: list[Event] = []

    def add(self, sound: Samples, at: float, label: str | None = None, level: float = 1.0) -> float:
        """Mix in a sound at a time; with a label it becomes an event. Returns its end. Times in seconds."""
        start = int(at * SR)
        part = sound[: max(0, len(self.samples) - start)]
        self.samples[start : start + len(part)] += (level * part).astype(np.float32)
        end = at + len(part) / SR
        if label is not None:
            self.events.append(Event(label=label, start=round(at, 2), end=round(min(end, self.duration), 2)))
        return end

    def sequence(
        self, sounds: list[tuple[Samples, str | None]], lead: float = 0.3, level: float = 0.8
    ) -> None:
        """Place sounds one after another, spread over the clip with uneven gaps."""
        total = sum(len(sound) for sound, _ in sounds) / SR
        room = max(0.0, self.duration - 2 * lead - total)
        shares = self.rng.dirichlet(np.full(len(sounds) + 1, 4.0))
        at = lead
        for (sound, label), share in zip(sounds, shares[1:], strict=True):
            at = self.add(sound, at, label, level * self.rng.uniform(0.75, 1.0)) + 0.05 + 0.9 * room * share

    def finish(self, difficulty: int, reverb: bool = True, snr: float | None = None) -> Samples:
        """Add what the difficulty asks for and scale to a natural level: float32 in [-1, 1].

        Without `reverb` no room is added: for questions about rooms. `snr` (dB) is
        the noise of families to which the difficulty's own does too little.
        """
        out = self.samples
        snr = SNR[difficulty] if snr is None else snr
        if snr is not None:
            if reverb and difficulty >= 3 and self.rng.random() < 0.5:
                out = effects.reverb(self.rng, out, self.rng.uniform(0.2, 0.2 + 0.15 * difficulty), 0.35)
            active = out[np.abs(out) > 0.02]
            power = float((active**2).mean()) if active.size else 0.01
            tilt = float(self.rng.choice([0.0, -3.0, -6.0]))
            floor = noise(self.rng, len(out), 60, 7900, tilt) * np.sqrt(power) * effects.gain(-snr)
            out = out + floor.astype(np.float32)
        peak = float(np.abs(out).max())
        if peak > 0:
            out = out * (self.rng.uniform(0.45, 0.9) / peak)
        return out.astype(np.float32)


def fitted(total: float, low: float = 3.0, high: float = 10.0) -> float:
    """A clip length in seconds, kept within what Soundcheck allows."""
    return float(min(high, max(low, total)))
