"""What a training would do, said before anything starts: examples, steps, memory, time, room on the disk.

Looks at a sample of the examples and at config.json; loads no model. Knows nothing about jobs.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audioreason.engines.features import SAMPLE_RATE, audio_token_count, frame_count
from audioreason.engines.pocket import read_config
from audioreason.engines.tokens import ChatTokenizer
from audioreason.errors import ItemError
from audioreason.items import load_dataset
from audioreason.train.data import Example, encode, read_examples
from audioreason.train.preflight import Estimate, choose_device, estimate, memory
from audioreason.train.recipe import Recipe
from audioreason.wording import counted
from audioreason.workspace import Workspace

_SAMPLE = 48  # examples looked at closely


@dataclass(frozen=True)
class Outlook:
    """Examples, what was seen of a sample of them, what training takes, and what there is.

    Tokens are those of the examples that are short enough; if none is, those of all.
    """

    examples: int
    looked_at: int  # examples of the sample
    too_long: int  # of them, longer than `limit`
    limit: int  # tokens
    mean_tokens: float
    longest: int
    device: str
    estimate: Estimate
    memory: float  # bytes that the device has
    memory_of: str
    disk: float  # bytes that the adapter's folder will take, state included
    free: int

    @property
    def fits(self) -> bool:
        """Whether it fits into the device's memory."""
        return self.estimate.bytes <= self.memory

    def sentences(self) -> dict[str, tuple[bool, str]]:
        """Name -> (whether it is well, one sentence with its arithmetic)."""
        found = self.estimate
        return {
            "examples": (self.too_long < self.looked_at, self._examples()),
            "memory": (
                self.fits,
                f"About {found.sentence()}; {self.memory_of} has {self.memory / 2**30:.1f} GiB.",
            ),
            "disk": (
                self.disk < self.free,
                f"{found.trained / 1e6:,.1f}M trained weights: {self.disk / 1e9:,.2f} GB with the state to"
                f" resume from; {self.free / 1e9:,.1f} GB are free.",
            ),
        }

    def _examples(self) -> str:
        if self.too_long == self.looked_at:
            of = "of those looked at " if self.looked_at < self.examples else ""
            return (
                f"All {counted(self.looked_at, 'example')} {of}have more than {self.limit:,} tokens (about"
                f" {self.mean_tokens:,.0f}), so nothing would be left to train on: raise `longest`."
            )
        said = (
            f"{counted(self.examples, 'example')} of about {self.mean_tokens:.0f} tokens (longest of the"
            f" sample: {self.longest}), {counted(self.estimate.steps or 0, 'step')}."
        )
        if self.too_long:
            said += (
                f" Of {self.looked_at:,} looked at, {self.too_long:,} have more than {self.limit:,} tokens"
                " and would be left out."
            )
        return said


def look_ahead(workspace: Workspace, model: Path, data: Path, recipe: Recipe) -> Outlook:
    """What training would take.

    Raises:
        ItemError: if the training file, a dataset or a clip cannot be read.
        EngineError: if the model cannot be used, or a GPU is asked for and there is none.
    """
    examples = read_examples(data)
    config = read_config(model)
    device = choose_device(recipe)
    lengths = _lengths(workspace, ChatTokenizer.load(model), examples)
    short = [length for length in lengths if length <= recipe.longest]
    seen = short or lengths
    mean, longest = sum(seen) / len(seen), max(seen)
    rows = max(1, round(len(examples) * len(seen) / len(lengths) * (1 - recipe.held_out)))
    found = estimate(config, recipe, device, longest, rows, round(mean * rows))
    there, name = memory(device)
    wide = 2 if device == "cuda" else 4
    disk = found.trained * (wide + 2 * (wide + (2 if device == "cuda" else 8)))
    folder = workspace.root if workspace.root.exists() else Path.cwd()
    free = shutil.disk_usage(folder).free
    return Outlook(
        examples=len(examples),
        looked_at=len(lengths),
        too_long=len(lengths) - len(short),
        limit=recipe.longest,
        mean_tokens=mean,
        longest=longest,
        device=device,
        estimate=found,
        memory=there,
        memory_of=name,
        disk=disk,
        free=free,
    )


def _lengths(workspace: Workspace, tokenizer: ChatTokenizer, examples: Sequence[Example]) -> list[int]:
    """Tokens of a sample of examples; clips are measured by their header."""
    import soundfile

    step = max(1, len(examples) // _SAMPLE)
    datasets = {}
    lengths = []
    for example in examples[::step]:
        if example.dataset not in datasets:
            datasets[example.dataset] = load_dataset(workspace, example.dataset)
        dataset = datasets[example.dataset]
        item = dataset[example.item_id]
        path = dataset.clip(item)
        if item.audio_path is not None and path is None:
            raise ItemError(
                f"The clip of {item.id} is missing: {dataset.root / item.audio_path}.",
                "Bring the file back, or take the example out.",
            )
        audio = 0
        if path is not None:
            try:
                audio = audio_token_count(frame_count(round(soundfile.info(path).duration * SAMPLE_RATE))) + 2
            except (soundfile.SoundFileError, OSError):  # other formats are decoded later; a guess will do
                audio = 130
        lengths.append(len(encode(tokenizer, example, None, "", 0).ids) + audio)
    return lengths
