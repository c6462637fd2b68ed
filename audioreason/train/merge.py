"""An adapter and its model become one checkpoint in the published layout, which vLLM and everything else
serves.

Tensor by tensor, shard by shard, on the CPU: in memory are one shard and one layer's factors. Shards keep
their names and division. The folder appears under its name when it is whole and checked: its logits are those
of the served model with the adapter. A merge that was cut short resumes with the next shard. Knows nothing
about training.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from audioreason.engines import thinker
from audioreason.engines.adapters import Adapter, apply_adapter, check_base, read_adapter
from audioreason.engines.deltas import WEIGHTS, AdapterDeltas
from audioreason.engines.features import SAMPLE_RATE, log_mel_batch
from audioreason.engines.local import require_torch
from audioreason.engines.pocket import first_line, load_model
from audioreason.engines.weights import Shards, bare
from audioreason.errors import EngineError, WorkspaceError
from audioreason.progress import Progress, Quiet
from audioreason.workspace import FileLock, write_atomic

if TYPE_CHECKING:
    import torch

_LOCK = ".lock"  # held in the unfinished folder while it is worked on
MERGED = "merged.json"  # what was merged into the folder, beside its weights
_ROOM = 1 << 30  # bytes left free on the disk
_PROOF = "proof"  # the note's field that says how the folder was checked
_PROOF_TOKENS = 48  # read with a second of sound by both models
_PROOF_TENSORS = 64  # compared where the models do not fit in memory
_ALLOWED = 1e-4  # relative difference of logits from the same weights, whose sums may differ in order
_PIECES, _PIECE = 16, 1 << 16  # of a file of weights that are looked at, and bytes of each


class Stopped(Exception):
    """A stop was asked for; what was merged is kept for another call."""


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
        EngineError: if the adapter belongs to another model, one of them cannot be read, or the merged model
            does not compute what model and adapter do.
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
    deltas = AdapterDeltas(adapter_folder, shards.shapes())
    part = unfinished(out)
    origin = origin_of(adapter, model, shards.fingerprint())
    with _alone(part):
        with _writing(part):
            _begin(part, origin)
        _fill(part, model, shards, deltas, progress)
        progress.phase("check", None)
        try:
            proof = prove(part, model, deltas)
        except EngineError:
            _clear(part)
            raise
        with _writing(out):
            write_atomic(part / MERGED, json.dumps({**origin, _PROOF: proof}, indent=2) + "\n")
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


def _fill(part: Path, model: Path, shards: Shards, deltas: AdapterDeltas, progress: Progress) -> None:
    """Write what an unfinished folder lacks."""
    left = [file for file in shards.files if not (part / file).is_file()]
    beside = _beside(model)
    _check_room(part, sum(path.stat().st_size for path in (*(model / file for file in left), *beside)))
    progress.phase("merge", len(shards.files))
    for file in left:
        if progress.should_stop():
            done = sum((part / each).is_file() for each in shards.files)
            raise Stopped(f"{done} of {len(shards.files)} shards are merged.")
        tensors = {name: deltas.apply(bare(name), shards.get(name)) for name in shards.names(file)}
        with _writing(part / file):
            _save_shard(tensors, part / file)
        progress.done(sum((part / each).is_file() for each in shards.files), file)
    for source in beside:
        with _writing(part / source.name):
            shutil.copyfile(source, part / source.name)


def prove(merged: Path, model: Path, deltas: AdapterDeltas) -> dict[str, Any]:
    """See that a merged folder computes what the model with its adapter does when it is served.

    Both read a second of sound and 48 tokens; the served model's new weights are rounded as the files' are,
    so that nothing but the order of sums may differ. Where a whole model does not fit in memory, up to 64
    of the changed tensors are computed again and compared with the files instead.

    Returns:
        For `merged.json`: `compared` ("logits" or "tensors"), and with logits, by how much they changed
        from the base model's; relative norms.

    Raises:
        EngineError: if they differ, or cannot be read.
    """
    shards = Shards(model)
    parameters = sum(math.prod(shape) for shape in shards.shapes().values())
    free = psutil.virtual_memory().available * 0.8
    for dtype, size in (("float32", 4), ("bfloat16", 2)):
        if parameters * size < free:
            return _prove_logits(merged, model, deltas, dtype)
    return _prove_tensors(merged, shards, deltas)


def _prove_logits(merged: Path, model: Path, deltas: AdapterDeltas, dtype: str) -> dict[str, Any]:
    served = load_model(model, dtype=dtype)
    plain = _logits(served)
    apply_adapter(served, deltas, Shards(model).dtypes())
    expected = _logits(served)
    del served
    found = _logits(load_model(merged, dtype=dtype))
    scale = expected.norm()
    if not ((found - expected).norm() <= _ALLOWED * scale):
        raise EngineError(
            f"The merged model does not compute what {model.name} does with {deltas.folder.name}: its logits"
            f" differ by {(found - expected).norm() / scale:.1%}.",
            "Nothing was kept. Merge again; if it happens again, report it.",
        )
    changed = float((expected - plain).norm() / plain.norm())
    return {"compared": "logits", "tensors": len(deltas.names), "changed": float(f"{changed:.3g}")}


def _prove_tensors(merged: Path, shards: Shards, deltas: AdapterDeltas) -> dict[str, Any]:
    import torch

    written = Shards(merged)
    places = {bare(name): name for name in shards}
    names = sorted(deltas.names)
    names = names[:: -(-len(names) // _PROOF_TENSORS)]
    for name in names:
        place = places[name]
        if not torch.equal(written.get(place), deltas.apply(name, shards.get(place))):
            raise EngineError(
                f"The merged {name} is not what {deltas.folder.name} makes of it.",
                "Nothing was kept. Merge again; if it happens again, report it.",
            )
    return {"compared": "tensors", "tensors": len(deltas.names), "of_them": len(names)}


def _logits(model: Any) -> torch.Tensor:
    """Logits at every position of a second of sound between tokens: (positions, vocabulary), float32."""
    import numpy as np
    import torch

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, model.config.text_config.vocab_size, (_PROOF_TOKENS,), generator=generator)
    time = np.arange(SAMPLE_RATE, dtype=np.float32) / SAMPLE_RATE
    features, frames = log_mel_batch([(0.1 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)])
    with torch.inference_mode():
        heard, counts = thinker.hear(model.audio_tower, features, frames)
        tokens = model.model.embed_tokens(ids)
        half = _PROOF_TOKENS // 2
        embedded = torch.cat([tokens[:half], heard[0, : counts[0]].to(tokens.dtype), tokens[half:]])
        states, _ = thinker.read(model.model, embedded[None])
        logits: torch.Tensor = model.lm_head(states)[0].float()
    return logits


def proof_of(folder: Path) -> str:
    """A sentence that says how a merged folder was checked; empty if it was not.

    Raises:
        WorkspaceError: if its note cannot be read.
    """
    try:
        proof = json.loads((folder / MERGED).read_bytes()).get(_PROOF)
    except (OSError, ValueError, AttributeError) as error:
        raise WorkspaceError(f"{folder / MERGED} cannot be read ({error}).", "Merge again.") from error
    if proof is None:
        return ""
    if proof["compared"] == "tensors":
        return (
            f"Checked: {proof['of_them']} of the {proof['tensors']} changed tensors were computed again. The"
            " model does not fit in memory, so its logits were not compared with those of the served model."
        )
    return (
        f"Checked: the merged model's logits are those of the model served with the adapter; it changes"
        f" {proof['tensors']} tensors, and the logits by {proof['changed']:.1%}."
    )


def is_of(note: Path, origin: dict[str, Any]) -> bool:
    """Whether a folder was made of what a merge is made of now.

    Args:
        note: its `merged.json`; one of before names no weights.
        origin: from `origin_of`.
    """
    try:
        found = json.loads(note.read_bytes())
        found.pop(_PROOF, None)
        return bool({"weights": origin["weights"], **found} == json.loads(json.dumps(origin)))
    except (OSError, ValueError, TypeError, AttributeError):
        return False


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
    if not is_of(part / MERGED, origin):
        _clear(part)
    for torn in part.glob(".*"):  # ours and safetensors' own, left by a kill
        if torn.name != _LOCK:
            torn.unlink()
    write_atomic(part / MERGED, json.dumps(origin, indent=2) + "\n")


def _clear(part: Path) -> None:
    for old in part.iterdir():
        if old.name != _LOCK:
            old.unlink()


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


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < room(needed):
        raise WorkspaceError(
            f"Merging needs {needed / 1e9:.2f} GB and {_ROOM / 1e9:.1f} GB to spare, and the disk of"
            f" {folder.parent} has {free / 1e9:.2f} GB free.",
            "Free some space, or give a folder on another disk; finished shards are kept.",
        )
