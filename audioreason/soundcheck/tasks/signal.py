"""Signal Layer: the recording itself, whatever it means."""

from __future__ import annotations

import numpy as np

from audioreason.soundcheck import effects
from audioreason.soundcheck.music import INSTRUMENTS, hertz
from audioreason.soundcheck.registry import Draft, Draw, family
from audioreason.soundcheck.scene import Scene, fitted
from audioreason.soundcheck.synth import SOUNDS, SR, Samples, seconds, shaped, sweep
from audioreason.soundcheck.voices import say
from audioreason.soundcheck.words import ORDINALS, SENTENCES, pick_voice, speaking

QUALITY = {
    "hiss": "a steady hiss",
    "hum": "a low mains hum",
    "crackle": "crackles and clicks",
    "clipping": "clipped, distorted peaks",
    "telephone": "a narrow telephone band",
    "echo": "a repeating echo",
}


def _damage(d: Draw, sound: Samples, kind: str) -> Samples:
    """The sound with one defect; weaker when the item is harder."""
    strength = d.harder(1.25 - 0.19 * d.difficulty, 0.13, 0.11)
    level = float(np.sqrt((sound[np.abs(sound) > 0.02] ** 2).mean()))
    if kind == "clipping":
        return effects.clip(sound, d.harder(1 + 9 * strength, 2.2, 1.7))
    if kind == "telephone":
        return effects.quantise(effects.band(sound, 300, 2200 + 250 * d.difficulty), 8)
    if kind == "echo":
        return effects.echo(sound, d.rng.uniform(0.22, 0.4), 4, d.harder(0.3 + 0.3 * strength, 0.2, 0.14))
    maker = {"hiss": effects.hiss, "hum": effects.hum, "crackle": effects.crackle}[kind]
    return (sound + 0.45 * strength * level * maker(d.texture, len(sound))).astype(np.float32)


def _carrier(d: Draw) -> tuple[Samples, str, str | None]:
    """Something to damage: speech or a few notes."""
    scene = Scene(d.rng, d.rng.uniform(3.2, 4.5))
    if d.rng.random() < 0.5:
        voice = pick_voice(d)
        scene.add(say(d.pick(SENTENCES), voice, speaking(d)), 0.3, None, 0.7)
        return scene.samples, "speech", voice
    play = INSTRUMENTS[d.pick(list(INSTRUMENTS))]
    for k in range(5):
        scene.add(play(d.rng, hertz(60 + int(d.rng.integers(0, 13))), 0.55), 0.3 + 0.55 * k, None, 0.6)
    return scene.samples, "music", None


@family("quality_defect", "Acoustic Quality Analysis", "mix-sound-speech", speech=True)
def quality_defect(d: Draw) -> Draft:
    """One technical defect in speech or music, the weaker the harder."""
    sound, what, voice = _carrier(d)
    kinds = d.some(list(QUALITY), 4)
    damaged = _damage(d, sound, kinds[0])
    scene = Scene(d.rng, len(damaged) / SR)
    scene.add(damaged, 0.0, f"{what} with {QUALITY[kinds[0]]}")
    question = d.pick(
        [
            "Which technical defect does this recording have?",
            "What is wrong with the quality of this recording?",
            "Which disturbance do you hear in the recording?",
            "What spoils the sound of this clip?",
        ]
    )
    thinking = f"The {what} is disturbed by {QUALITY[kinds[0]]}."
    others = [QUALITY[kind].capitalize() for kind in kinds[1:]]
    return Draft(
        question, QUALITY[kinds[0]].capitalize(), others, scene.finish(1), scene.events, thinking, voice=voice
    )


@family("cleaner_half", "Acoustic Quality Analysis", "mix-sound-speech", speech=True)
def cleaner_half(d: Draw) -> Draft:
    """The same sentence in parts of different quality; the closer they are, the harder."""
    voice = pick_voice(d)
    sentence = say(d.pick(SENTENCES), voice, speaking(d))
    parts = 3 if d.difficulty < 3 else 4
    step = d.harder(12.0 - 2 * d.difficulty, 1.25, 1.0)  # dB
    best = int(d.rng.integers(parts))
    names = ORDINALS[:parts]
    scene = Scene(d.rng, fitted(parts * (len(sentence) / SR + 0.4) + 0.3))
    at = 0.3
    room = scene.duration / parts - 0.25
    for k in range(parts):
        part = sentence[: int(room * SR)]
        level = 28.0 if k == best else 28.0 - step - d.rng.uniform(0, d.harder(6.0, 2.0, 1.5))
        dirty = part * 0.6 + 0.12 * effects.hiss(d.texture, len(part)) * effects.gain(22 - level)
        label = f"{names[k]} part, {'clean' if k == best else 'noisy'}"
        scene.add(dirty.astype(np.float32), at, label)
        at += scene.duration / parts
    question = d.pick(
        [
            "Which part of the recording has the least noise?",
            "The sentence is played several times. Which time is it cleanest?",
            "Which repetition sounds the clearest?",
            "In which part is the background noise weakest?",
        ]
    )
    gold = f"The {names[best]}"
    others = [f"The {name}" for k, name in enumerate(names) if k != best]
    return Draft(
        question, gold, others, scene.finish(1), scene.events, f"The {names[best]} part has the least noise.",
        voice=voice,
    )  # fmt: skip


@family("broken_rhythm", "Anomaly Detection", "music")
def broken_rhythm(d: Draw) -> Draft:
    """A steady beat with one thing wrong: late, missing, doubled or another sound; subtler when harder."""
    name, other = d.some(["drum", "clap", "knock", "water drop", "bell"], 2)
    beats, period = 7, d.between(0.42, 0.6)
    at = int(d.rng.integers(2, beats - 1))
    kinds = {
        "late": "One beat comes late",
        "missing": "One beat is missing",
        "double": "One beat is doubled",
        "different": "One beat has a different sound",
        "none": "Nothing, the beat is regular",
    }
    kind = d.pick(list(kinds))
    scene = Scene(d.rng, fitted(beats * period + 0.9))
    sound = SOUNDS[name](d.rng)
    for k in range(beats):
        time = 0.3 + k * period
        if k == at and kind == "missing":
            continue
        if k == at and kind == "late":
            time += period * (0.55 - 0.06 * d.difficulty)
        scene.add(SOUNDS[other](d.rng) if k == at and kind == "different" else sound, time,
                  other if k == at and kind == "different" else name, 0.8)  # fmt: skip
        if k == at and kind == "double":
            scene.add(sound, time + period * 0.42, name, 0.8)
    question = d.pick(
        [
            "What is wrong with the beat?",
            "Which irregularity does the rhythm have?",
            "A beat repeats. What happens to it?",
            "What disturbs the regular pulse?",
        ]
    )
    where = {"none": "Every beat is on time.", "missing": f"After beat {at} there is a gap of two periods."}
    why = where.get(kind, f"Beat {at + 1} breaks the pattern: {kinds[kind].lower()}.")
    others = [kinds[k] for k in d.some([k for k in kinds if k != kind], 3)]
    return Draft(question, kinds[kind], others, scene.finish(d.difficulty), scene.events, why)


@family("odd_one_out", "Anomaly Detection")
def odd_one_out(d: Draw) -> Draft:
    """The same sound again and again, one of them different in pitch; by a smaller step when hard."""
    count = 4 if d.difficulty < 4 else 5
    odd = int(d.rng.integers(count))
    base = d.between(400, 900)
    sign = float(d.rng.choice([-1, 1]))
    wide = ((9 - 1.5 * d.difficulty) / 12) ** sign  # octaves: a part of one, or several
    step = 2 ** d.harder(wide, sign * 4 / 12, sign * 3 / 12)
    scene = Scene(d.rng, fitted(0.6 * count + 0.9))
    for k in range(count):
        t = seconds(0.3)
        f = base * (step if k == odd else 1)
        tone = shaped(np.exp(-t * 5) * (sweep(t, f) + 0.4 * sweep(t, 2 * f)))
        pitch = "same tone" if k != odd else ("higher tone" if step > 1 else "lower tone")
        scene.add(tone, 0.3 + 0.6 * k, pitch, 0.7)
    names = ORDINALS[:count]
    question = d.pick(
        [
            "Which of the tones is different from the others?",
            "One tone does not fit. Which one?",
            "Which tone stands out?",
            "Name the tone that differs.",
        ]
    )
    others = [f"The {name}" for k, name in enumerate(names) if k != odd][:4]
    return Draft(
        question, f"The {names[odd]}", others, scene.finish(d.difficulty), scene.events,
        f"All tones are equal but the {names[odd]} one.",
    )  # fmt: skip


@family("dropout", "Anomaly Detection", "mix-sound-speech", speech=True)
def dropout(d: Draw) -> Draft:
    """A recording that falls silent for a moment; a shorter gap when harder."""
    voice = pick_voice(d)
    sentence = say(d.pick(SENTENCES), voice, speaking(d))
    total = fitted(len(sentence) / SR + 0.8)
    scene = Scene(d.rng, total)
    scene.add(sentence, 0.3, "speech", 0.7)
    bed = effects.hiss(d.texture, len(scene.samples)) * 0.03
    out = scene.samples + bed
    span = min(len(sentence) / SR, total - 0.6)
    gap = d.harder(0.5 - 0.07 * d.difficulty, 0.1, 0.085)
    places = {"At the beginning": 0.1, "In the middle": 0.45, "Near the end": 0.78}
    place = d.pick([*places, "Nowhere"])
    if place != "Nowhere":
        at = 0.3 + span * (places[place] + d.rng.uniform(-0.03, 0.03))
        out[int(at * SR) : int((at + gap) * SR)] = 0
        scene.add(np.zeros(int(gap * SR), np.float32), at, "silence")
    scene.samples = out.astype(np.float32)
    question = d.pick(
        [
            "Where does the recording drop out?",
            "At which point is the sound lost for a moment?",
            "When does the signal fall silent?",
            "Where is there a gap in the recording?",
        ]
    )
    why = "The signal never stops." if place == "Nowhere" else f"The sound is cut {place.lower()}."
    others = [name for name in [*places, "Nowhere"] if name != place]
    return Draft(question, place, others, scene.finish(1), scene.events, why, voice=voice)


CHANGES = ("Louder", "Quieter", "Higher", "Lower", "Longer", "Shorter")


@family("second_sound", "Audio Difference Analysis")
def second_sound(d: Draw) -> Draft:
    """Two tones that differ in one property; a smaller step when harder."""
    change, *rest = d.some(CHANGES, 4)
    f, length, level = d.between(350, 700), d.rng.uniform(0.6, 0.8), 0.35
    ease = d.harder(1.25 - 0.18 * d.difficulty, 0.3, 0.26)
    factor = {
        "Louder": (1, 1, effects.gain(12 * ease)),
        "Quieter": (1, 1, effects.gain(-12 * ease)),
        "Higher": (2 ** (0.8 * ease), 1, 1),
        "Lower": (2 ** (-0.8 * ease), 1, 1),
        "Longer": (1, 1 + 1.1 * ease, 1),
        "Shorter": (1, 1 - 0.6 * ease, 1),
    }[change]
    scene = Scene(d.rng, 3.6)
    at = 0.3
    for k in range(2):
        pitch, stretch, loud = factor if k else (1, 1, 1)
        t = seconds(length * stretch)
        tone = shaped(sweep(t, f * pitch) + 0.3 * sweep(t, 3 * f * pitch), 0.02, 0.05)
        end = scene.add(tone, at, ("first tone", "second tone")[k], level * loud)
        at = end + 0.5
    question = d.pick(
        [
            "How does the second sound differ from the first?",
            "Compared with the first tone, the second one is ...",
            "What changes from the first tone to the second?",
            "Two tones are played. How is the second one different?",
        ]
    )
    return Draft(
        question, change, rest, scene.finish(min(d.difficulty, 3)), scene.events,
        f"The second tone is {change.lower()} than the first and otherwise the same.",
    )  # fmt: skip


@family("changed_note", "Audio Difference Analysis", "music", held_out=True)
def changed_note(d: Draw) -> Draft:
    """A short melody twice; one note changes the second time, or none."""
    play = INSTRUMENTS[d.pick(list(INSTRUMENTS))]
    notes = [int(n) for n in 60 + d.rng.choice([0, 2, 4, 5, 7, 9, 11, 12], 4, replace=False)]
    changed = int(d.rng.integers(5))
    again = list(notes)
    if changed < 4:
        again[changed] += int(d.rng.choice([-1, 1])) * (7 - d.difficulty)
    scene = Scene(d.rng, 5.4)
    for k, melody in enumerate((notes, again)):
        for i, note in enumerate(melody):
            scene.add(play(d.rng, hertz(note), 0.5), 0.3 + k * 2.5 + i * 0.5, f"note {i + 1}", 0.7)
    names = [*(f"The {name} note" for name in ORDINALS[:4]), "Nothing changes"]
    question = d.pick(
        [
            "A melody is played twice. Which note changes?",
            "What is different the second time the melody is played?",
            "Compare the two melodies. Which note is not the same?",
            "Which note differs between the two phrases?",
        ]
    )
    why = f"Note by note the phrases agree, but for: {names[changed].lower()}."
    others = d.some([n for n in names if n != names[changed]], 3)
    return Draft(question, names[changed], others, scene.finish(min(3, d.difficulty)), scene.events, why)
