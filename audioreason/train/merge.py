"""An adapter and its model become one checkpoint in the published layout, which vLLM and everything else
serves.

Tensor by tensor, shard by shard, on the CPU: in memory are one shard and one layer's factors. Shards keep
their names and division. The folder appears under its name when it is whole; a merge that was cut short goes
on with the next shard. Knows nothing about training.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.engines.adapters import WEIGHTS, Adapter, AdapterTensors, check_base, read_adapter
from audioreason.engines.local import require_torch
from audioreason.engines.pocket import first_line, read_config
from audioreason.engines.weights import Shards, bare
from audioreason.errors import EngineError, WorkspaceError
from audioreason.progress import Progress, Quiet
from audioreason.workspace import FileLock, write_atomic

if TYPE_CHECKING:
    import torch

_LOCK = ".lock"  # held in the unfinished folder while it is worked on
MERGED = "merged.json"  # what was merged into the folder, beside its weights
_EXPERT = re.compile(r"model\.layers\.(\d+)\.mlp\.experts\.(\d+)\.(gate|up|down)_proj\.weight")
_ROOM = 1 << 30  # bytes left free on the disk
_PIECES, _PIECE = 16, 1 << 16  # of a file of weights that are looked at, and bytes of each


class Stopped(Exception):
    """A stop was asked for; what was merged is kept for another call."""


class Merger:
    """What an adapter makes of each tensor of its model.

    Args:
        adapter: from `read_adapter`.
        experts: of each layer of the model.
    """

    def __init__(self, adapter: Adapter, experts: int) -> None:
        self._factors = AdapterTensors(adapter)
        self._scale = adapter.shape.scale
        self._experts = experts

    def __call__(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor with its delta added in float32, in the type it had; the same tensor if it has none.

        Args:
            name: as published, without `thinker.`.
            tensor: its value.

        Raises:
            EngineError: if the delta does not fit.
        """
        if match := _EXPERT.fullmatch(name):
            layer, number = int(match[1]), int(match[2])
            part = "down" if match[3] == "down" else "gate_up"
            delta = self._factors.expert(layer, part, number, self._experts)
            if delta is not None and match[3] != "down":
                gate, up = delta.chunk(2)
                delta = gate if match[3] == "gate" else up
        else:
            delta = self._factors.linear(name.removesuffix(".weight"))
        if delta is None:
            return tensor
        if delta.shape != tensor.shape:
            raise EngineError(
                f"The adapter's {name} is {tuple(delta.shape)}, and the model has {tuple(tensor.shape)}.",
                "Give the model that it was trained on.",
            )
        return (tensor.float() + self._scale * delta).to(tensor.dtype)


def merge(adapter_folder: Path, model: Path, out: Path, progress: Progress | None = None) -> Path:
    """Write a merged model folder.

    Args:
        adapter_folder: the adapter.
        model: the model that it was trained on, in the published layout.
        out: the folder to make.
        progress: told of the shards.

    Returns:
        `out`.

    Raises:
        EngineError: if the adapter belongs to another model, or one of them cannot be read.
        WorkspaceError: if `out` exists, or the disk has no room.
        Stopped: if a stop was asked for.
    """
    require_torch()
    progress = progress or Quiet()
    adapter = read_adapter(adapter_folder)
    shards = Shards(model)
    check_base(adapter, model)
    if out.exists():
        raise WorkspaceError(f"There is something in {out} already.", "Give another folder.")
    experts = read_config(model)["thinker_config"]["text_config"].get("num_experts", 0)
    _check_names(adapter, shards, model)
    part = unfinished(out)
    with _alone(part):
        with _writing(part):
            _begin(part, origin_of(adapter, model, shards.fingerprint()))
        _fill(part, model, shards, Merger(adapter, experts), progress)
        with _writing(out):
            (part / _LOCK).unlink()
            part.rename(out)
    return out


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Hold an unfinished folder.

    Raises:
        WorkspaceError: if another process merges into it.
    """
    lock = FileLock(part / _LOCK)
    with _writing(part):
        held = lock.acquire()
    if not held:
        raise WorkspaceError(f"Another process merges into {part} now.", "Wait for it, or stop it.")
    try:
        yield
    finally:
        lock.release()


def _fill(part: Path, model: Path, shards: Shards, merger: Merger, progress: Progress) -> None:
    """Write what an unfinished folder lacks."""
    left = [file for file in shards.files if not (part / file).is_file()]
    beside = _beside(model)
    _check_room(part, sum(path.stat().st_size for path in (*(model / file for file in left), *beside)))
    progress.phase("merge", len(shards.files))
    for file in left:
        if progress.should_stop():
            done = sum((part / each).is_file() for each in shards.files)
            raise Stopped(f"{done} of {len(shards.files)} shards are merged.")
        tensors = {name: merger(bare(name), shards.get(name)) for name in shards.names(file)}
        with _writing(part / file):
            _save_shard(tensors, part / file)
        progress.done(sum((part / each).is_file() for each in shards.files), file)
    for source in beside:
        with _writing(part / source.name):
            shutil.copyfile(source, part / source.name)


def unfinished(out: Path) -> Path:
    """Where a merged folder is until it is whole."""
    return out.with_name(f".{out.name}.part")


def origin_of(adapter: Adapter, model: Path, fingerprint: str) -> dict[str, Any]:
    """What `merged.json` says: which adapter, made how, with which weights, into which model.

    Args:
        adapter: from `read_adapter`.
        model: the model's folder.
        fingerprint: the model's (`Shards.fingerprint`).

    Raises:
        WorkspaceError: if the adapter's weights cannot be read.
    """
    return {
        "base": model.name,
        "fingerprint": fingerprint,
        "adapter": adapter.folder.name,
        "weights": _digest(adapter.folder / WEIGHTS),
        "record": adapter.record.model_dump() if adapter.record else None,
    }


def room(needed: int) -> int:
    """Bytes that must be free for a merged model of `needed` bytes: a disk is not filled to its end."""
    return needed + _ROOM


def _digest(path: Path) -> str:
    """16 hex digits that tell files of weights apart: size and 16 pieces of 64 KiB; training changes all."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            digest.update(str(size).encode())
            for number in range(_PIECES):
                file.seek(size * number // _PIECES)
                digest.update(file.read(_PIECE))
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read ({error.strerror or error}).") from error
    return digest.hexdigest()[:16]


def _begin(part: Path, origin: dict[str, Any]) -> None:
    """Say in the unfinished folder what is merged; one of another merge is begun anew."""
    note = part / MERGED
    text = json.dumps(origin, indent=2) + "\n"
    if not note.is_file() or note.read_text() != text:
        for old in part.iterdir():
            if old.name != _LOCK:
                old.unlink()
    for torn in part.glob(".*"):  # ours and safetensors' own, left by a kill
        if torn.name != _LOCK:
            torn.unlink()
    write_atomic(note, text)


def _beside(model: Path) -> list[Path]:
    """The files of a model that are not weights; a merged one's note is about itself alone."""
    return [
        path
        for path in sorted(model.iterdir())
        if path.is_file()
        and not path.name.startswith(".")
        and path.suffix != ".safetensors"
        and path.name != MERGED
    ]


def _save_shard(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write a shard beside its place, to the disk itself, and put it there whole."""
    from safetensors.torch import save_file

    temporary = path.with_name(f".{path.name}.tmp")
    try:
        save_file(tensors, temporary, {"format": "pt"})
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say in a sentence that something could not be written.

    Raises:
        WorkspaceError: for what the disk, or safetensors about the disk, says in the block.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        # safetensors: "Error while serializing: I/O error: No space left on device (os error 28)"
        said = first_line(error).rpartition("I/O error: ")[2].partition(" (os error")[0]
        why = error.strerror if isinstance(error, OSError) and error.strerror else said
        raise WorkspaceError(
            f"{path} could not be written ({why}).",
            "Free some space and merge again; finished shards are kept.",
        ) from error


def _check_names(adapter: Adapter, shards: Shards, model: Path) -> None:
    """See that every delta has a tensor to go to.

    Raises:
        EngineError: if one has none; it would be lost in silence.
    """
    there = {bare(name) for name in shards}
    for name in AdapterTensors(adapter).names:
        stem = name.rpartition(".lora_")[0]
        layer = stem.partition(".mlp.experts")[0]
        wanted = f"{layer}.mlp.experts.0.up_proj.weight" if ".mlp.experts" in stem else f"{stem}.weight"
        if wanted not in there:
            raise EngineError(
                f"The adapter {adapter.folder.name} changes {stem}, which {model.name} does not have.",
                "Give the model that it was trained on.",
            )


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < room(needed):
        raise WorkspaceError(
            f"Merging needs {needed / 1e9:.2f} GB and {_ROOM / 1e9:.1f} GB to spare, and the disk of"
            f" {folder.parent} has {free / 1e9:.2f} GB free.",
            "Free some space, or give a folder on another disk; finished shards are kept.",
        )
