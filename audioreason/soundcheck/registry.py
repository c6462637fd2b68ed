"""Task families by name: what each asks, which layer and subcategory of MMAR it belongs to, how to draw one.

An item is a function of (namespace, family, difficulty, seed). Evaluation and training draw from different
namespaces, so no training seed can make an evaluation clip. Knows nothing about files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random as PythonRandom
from typing import TypeVar

import numpy as np

from audioreason.errors import ItemError
from audioreason.items.schema import Event, Item
from audioreason.soundcheck.synth import Random, Samples

T = TypeVar("T")
NAMESPACES = ("train", "fresh", "evaluation")
DIFFICULTIES = (1, 2, 3, 4, 5)

SUBCATEGORIES: dict[str, str] = {
    "Acoustic Quality Analysis": "Signal Layer",
    "Anomaly Detection": "Signal Layer",
    "Audio Difference Analysis": "Signal Layer",
    "Correlation Analysis": "Perception Layer",
    "Counting and Statistics": "Perception Layer",
    "Environmental Perception and Reasoning": "Perception Layer",
    "Music Theory": "Perception Layer",
    "Spatial Analysis": "Perception Layer",
    "Temporal Analysis": "Perception Layer",
    "Content Analysis": "Semantic Layer",
    "Emotion and Intention": "Semantic Layer",
    "Speaker Analysis": "Semantic Layer",
    "Aesthetic Evaluation": "Cultural Layer",
    "Culture of Speaker": "Cultural Layer",
    "Imagination": "Cultural Layer",
    "Professional Knowledge and Reasoning": "Cultural Layer",
}


@dataclass(frozen=True)
class Draft:
    """What a family draws: a clip, a question, the right choice and the wrong ones, and what is known.

    `gold` is a choice's text; `others` are wrong texts in order of closeness. `thinking` is the reference
    analysis. Choices are shuffled later.
    """

    question: str
    gold: str
    others: Sequence[str]
    samples: Samples
    events: Sequence[Event]
    thinking: str
    cue: Sequence[str] = ()
    voice: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class Draw:
    """What a family may use: two generators, the difficulty, and whether held-out voices are allowed.

    `rng` decides; `texture` makes noise as long as a measured sound, so that no decision hangs on a length.
    """

    rng: Random
    texture: Random
    difficulty: int
    new_voices: bool
    training: bool

    def pick(self, options: Sequence[str]) -> str:
        """One of several texts."""
        return options[int(self.rng.integers(len(options)))]

    def harder(self, usual: T, fourth: T, fifth: T) -> T:
        """What levels 1 to 3 use, or what makes level 4 or 5 harder than that."""
        return {4: fourth, 5: fifth}.get(self.difficulty, usual)

    def some(self, options: Sequence[str], count: int) -> list[str]:
        """Several different texts, in random order."""
        return [options[i] for i in self.rng.permutation(len(options))[:count]]

    def between(self, low: float, high: float) -> float:
        """A number from a range: from its middle fifth in tests, from its outer parts (60%) in training.

        A speed or a pitch drawn so keeps a clip of the tests from coming out of training by chance.
        """
        x = self.rng.random()
        share = (0.6 * x if x < 0.5 else 0.4 + 0.6 * x) if self.training else 0.4 + 0.2 * x
        return float(low + (high - low) * share)

    def note(self, low: int, high: int) -> int:
        """A MIDI pitch from `low` to `high` - 1; every third is kept for tests, as in `between`."""
        notes = [n for n in range(low, high) if (n % 3 == 1) != self.training]
        return notes[int(self.rng.integers(len(notes)))]


@dataclass(frozen=True)
class Family:
    """A kind of question. `held_out` families are never trained on; `speech` ones use the synthesiser."""

    name: str
    subcategory: str
    modality: str
    draw: Callable[[Draw], Draft] = field(repr=False)
    held_out: bool = False
    speech: bool = False
    about: str = ""

    @property
    def layer(self) -> str:
        """MMAR's layer of the subcategory."""
        return SUBCATEGORIES[self.subcategory]


_FAMILIES: dict[str, Family] = {}


def family(
    name: str, subcategory: str, modality: str = "sound", *, held_out: bool = False, speech: bool = False
) -> Callable[[Callable[[Draw], Draft]], Callable[[Draw], Draft]]:
    """Register a drawing function as a family; its docstring says what makes it hard."""

    def register(draw: Callable[[Draw], Draft]) -> Callable[[Draw], Draft]:
        about = " ".join((draw.__doc__ or "").split())
        _FAMILIES[name] = Family(name, subcategory, modality, draw, held_out, speech, about)
        return draw

    return register


def families() -> dict[str, Family]:
    """Every family by name, in the order of MMAR's layers."""
    return {family.name: family for family in _ordered()}


def _ordered() -> list[Family]:
    from audioreason.soundcheck.tasks import cultural, perception, semantic, signal, space  # noqa: F401

    order = list(SUBCATEGORIES)
    return sorted(_FAMILIES.values(), key=lambda family: order.index(family.subcategory))


def make_item(family: str, difficulty: int, seed: int, namespace: str = "train") -> tuple[Item, Samples]:
    """One item and its clip: float32 (samples,), 16 kHz mono.

    Raises:
        ItemError: for an unknown family, difficulty or namespace.
    """
    chosen = families().get(family)
    if chosen is None:
        raise ItemError(
            f"There is no Soundcheck family named {family}.", f"There are: {', '.join(families())}."
        )
    if difficulty not in DIFFICULTIES:
        raise ItemError(f"Difficulty {difficulty} does not exist.", "Choose 1 (easy) to 5 (hard).")
    if namespace not in NAMESPACES:
        raise ItemError(f"There is no seed namespace {namespace}.", f"There are: {', '.join(NAMESPACES)}.")
    key = hashlib.sha256(f"{namespace}/{family}/{difficulty}/{seed}".encode()).digest()
    rng, texture, shuffling = (np.random.Generator(np.random.PCG64(s)) for s in _streams(key))
    draft = chosen.draw(
        Draw(rng, texture, difficulty, new_voices=namespace == "evaluation", training=namespace == "train")
    )
    choices = _choices(shuffling, draft)
    name = f"sc-{namespace[0]}-{family}-{difficulty}-{key[:8].hex()}"
    item = Item.model_validate(
        {
            "id": name,
            "audio_path": f"audio/{name}.flac",
            "question": draft.question,
            "choices": choices,
            "answer": draft.gold,
            "modality": chosen.modality,
            "category": chosen.layer,
            "sub-category": chosen.subcategory,
            "language": draft.language or "en",
            "source": "soundcheck",
            "thinking": draft.thinking,
            "cue": tuple(draft.cue) or tuple(dict.fromkeys(event.label for event in draft.events)),
            "rubric": _rubric(draft),
            "family": family,
            "difficulty": difficulty,
            "seed": seed,
            "events": tuple(draft.events),
            **({"voice": draft.voice} if draft.voice else {}),
            **({"held_out": True} if chosen.held_out or _new_voice(draft.voice) else {}),
        }
    )
    return item, draft.samples


def sample_items(
    n: int,
    families: Sequence[str] | None = None,
    difficulty: int | None = None,
    seed: int = 0,
    namespace: str = "train",
    held_out: bool = False,
) -> Iterator[tuple[Item, Samples]]:
    """`n` items, families in turn; difficulty fixed or mixed. Held-out families come only if asked for.

    Raises:
        ItemError: for unknown families or values.
    """
    chosen = list(families) if families else [f.name for f in _ordered() if held_out or not f.held_out]
    random = PythonRandom(f"{namespace}/{seed}")
    for index in range(n):
        level = difficulty if difficulty is not None else random.randint(1, 5)
        yield make_item(chosen[index % len(chosen)], level, seed * 1_000_003 + index, namespace)


def _streams(key: bytes) -> list[np.random.SeedSequence]:
    """Independent seeds for deciding, for noise and for the order of choices."""
    return np.random.SeedSequence(int.from_bytes(key, "big")).spawn(3)


def _choices(rng: Random, draft: Draft) -> list[str]:
    others = [text for text in dict.fromkeys(draft.others) if text != draft.gold]
    choices = [draft.gold, *others]
    return [choices[i] for i in rng.permutation(len(choices))]


def _rubric(draft: Draft) -> list[dict[str, object]]:
    """MMAR's rubric form: a point for what was heard, one for what follows from it, one for the answer."""
    heard = ", ".join(dict.fromkeys(event.label for event in draft.events)) or ", ".join(draft.cue)
    return [
        {
            "name": "Heard",
            "scoring_point": f"Award 1 point if the reasoning reports: {heard}.",
            "choices": [0, 1],
        },
        {
            "name": "Analysis",
            "scoring_point": f"Award 1 point if it concludes: {draft.thinking}",
            "choices": [0, 1],
        },
        {
            "name": "Answer",
            "scoring_point": f"Award 1 point for the answer “{draft.gold}”.",
            "choices": [0, 1],
        },
    ]


def _new_voice(voice: str | None) -> bool:
    from audioreason.soundcheck.voices import HELD_OUT_VOICES

    return voice is not None and any(name in HELD_OUT_VOICES for name in voice.split(","))
