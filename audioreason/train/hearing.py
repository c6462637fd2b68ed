"""What the audio tower makes of each clip, computed once and kept: training never changes the tower.

    cache/heard/FINGERPRINT-TYPE/CLIPHASH.safetensors     embeddings (tokens, hidden)

A minute of audio takes about 3 MB for the 30B model. Knows nothing about training.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.engines import thinker
from audioreason.engines.features import log_mel_batch
from audioreason.errors import ItemError
from audioreason.items.clips import read_clip
from audioreason.progress import Progress
from audioreason.train.data import Row
from audioreason.workspace import write_atomic

if TYPE_CHECKING:
    import torch


class Hearing:
    """Embeddings of clips, from the cache or a model's tower.

    Args:
        model: a thinker.
        cache: the workspace's cache folder.
        fingerprint: of the model.
        remember_bytes: how much to keep in memory.
    """

    def __init__(self, model: Any, cache: Path, fingerprint: str, remember_bytes: int = 1 << 30) -> None:
        self._model = model
        kind = str(model.dtype).removeprefix("torch.")
        self._folder = cache / "heard" / f"{fingerprint}-{kind}"
        self._left = remember_bytes
        self._kept: dict[str, torch.Tensor] = {}

    def fill(self, rows: Iterable[Row], progress: Progress) -> None:
        """Hear every clip that is not in the cache yet.

        Raises:
            ItemError: if a clip cannot be read, or a stop was asked for.
        """
        from safetensors.torch import save

        clips = {row.clip_hash: row.clip for row in rows if row.clip is not None}
        missing = [(digest, clip) for digest, clip in clips.items() if not self._path(digest).is_file()]
        progress.phase("hear the clips", len(missing))
        for number, (digest, clip) in enumerate(missing, 1):
            if progress.should_stop():
                raise ItemError("Listening to the clips was stopped.", "What was heard is kept; start again.")
            write_atomic(self._path(digest), save({"heard": self._hear(clip)}))
            progress.done(number)

    def get(self, row: Row) -> torch.Tensor | None:
        """A row's clip as embeddings (tokens, hidden) on the CPU; None if the row has no clip."""
        if row.clip is None:
            return None
        if row.clip_hash in self._kept:
            return self._kept[row.clip_hash]
        from safetensors import SafetensorError
        from safetensors.torch import load_file, save

        try:
            heard = load_file(self._path(row.clip_hash))["heard"]
        except (OSError, SafetensorError, KeyError):  # the cache may be deleted or cut at any time
            heard = self._hear(row.clip)
            write_atomic(self._path(row.clip_hash), save({"heard": heard}))
        size = heard.numel() * heard.element_size()
        if size <= self._left:
            self._kept[row.clip_hash] = heard
            self._left -= size
        return heard

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.safetensors"

    def _hear(self, clip: Path) -> torch.Tensor:
        """Alone, as the engine hears it."""
        import torch

        with torch.no_grad():
            features, frames = log_mel_batch([read_clip(clip)], str(self._model.device))
            heard, counts = thinker.hear(self._model.audio_tower, features, frames)
        return heard[0, : counts[0]].to("cpu", self._model.dtype).contiguous()
