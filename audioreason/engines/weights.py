"""Weights of a model folder, read tensor by tensor from its shards: what they are called, which model they
are, and how they become a thinker without ever being in memory twice.

Names are the published ones (`thinker.model.layers.0.mlp.experts.3.up_proj.weight`), with or without the
first word. Knows nothing about adapters or training.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.engines.pocket import first_line, read_config
from audioreason.errors import EngineError

if TYPE_CHECKING:
    import torch

_SAMPLE = 64  # bytes of each tensor that go into a model's fingerprint
SKIPPED_PREFIXES = ("talker.", "code2wav.", "visual.")  # parts that neither hear nor answer


@dataclass(frozen=True)
class Place:
    """Where a tensor's bytes are: file, first byte, length; `kind` as safetensors calls it."""

    file: str
    start: int
    length: int
    kind: str
    shape: tuple[int, ...]


class Shards:
    """The safetensors files of a folder, and which tensor is where.

    Args:
        folder: a model folder.

    Raises:
        EngineError: if there are no weights, or a file is missing or cut short.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[str, Place] = {}
        self._open: dict[str, Any] = {}
        for file in _files(folder):
            self._places.update(read_header(folder / file, file))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    @property
    def files(self) -> list[str]:
        """Names of the files, sorted."""
        return sorted({place.file for place in self._places.values()})

    def names(self, file: str) -> list[str]:
        """Names of the tensors in one file, sorted."""
        return sorted(name for name, place in self._places.items() if place.file == file)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return self._places[name].shape

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape, by its name without `thinker.`."""
        return {bare(name): place.shape for name, place in self._places.items()}

    def dtypes(self) -> dict[str, torch.dtype]:
        """Every tensor's type, by its name without `thinker.`; 16- and 32-bit floats alone."""
        import torch

        kinds = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
        return {bare(n): kinds[place.kind] for n, place in self._places.items() if place.kind in kinds}

    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(place.length for place in self._places.values())

    def get(self, name: str) -> torch.Tensor:
        """A tensor, on the CPU and in the type it has on disk.

        Raises:
            EngineError: if it cannot be read.
        """
        from safetensors import SafetensorError, safe_open

        try:
            file = self._places[name].file
            if file not in self._open:
                self._open[file] = safe_open(self.folder / file, framework="pt")
            tensor: torch.Tensor = self._open[file].get_tensor(name)
        except (KeyError, OSError, SafetensorError) as error:
            raise EngineError(
                f"The tensor {name} of {self.folder} cannot be read ({first_line(error)}).",
                "Check that every file of the folder is complete.",
            ) from error
        return tensor

    def fingerprint(self) -> str:
        """16 hex digits that tell thinkers apart: every tensor's name, shape, type and 64 middle bytes.

        The same for any division into files, and with or without a talker or eyes; a second of reading for
        30B.
        """
        digest = hashlib.sha256()
        handles = {file: (self.folder / file).open("rb") for file in self.files}
        try:
            for name, place in sorted((bare(name), place) for name, place in self._places.items()):
                if name.startswith(SKIPPED_PREFIXES):
                    continue
                digest.update(f"{name}|{place.kind}|{place.shape}|".encode())
                middle = place.start + max(0, place.length - _SAMPLE) // 2
                digest.update(os.pread(handles[place.file].fileno(), min(_SAMPLE, place.length), middle))
        finally:
            for handle in handles.values():
                handle.close()
        return digest.hexdigest()[:16]


def bare(name: str) -> str:
    """A tensor's name without the leading `thinker.`, which some folders lack."""
    return name.removeprefix("thinker.")


def _files(folder: Path) -> list[str]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        if (folder / "model.safetensors").is_file():
            return ["model.safetensors"]
        raise EngineError(f"There are no weights in {folder}.", "Give a folder with safetensors files.")
    try:
        files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise EngineError(f"{index} cannot be read ({error}).", "Copy the folder again.") from error
    for file in files:
        if Path(file).name != file or not (folder / file).is_file():
            raise EngineError(f"The file {file} of {folder} is missing.", "Copy the folder again.")
    return files


def read_header(path: Path, file: str = "") -> dict[str, Place]:
    """The tensors of a safetensors file: 8 bytes of length, a JSON header, then the data."""
    try:
        with path.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            if length > 100 << 20:
                raise ValueError("its header is too long")
            header = json.loads(handle.read(length))
        data = 8 + length
        found = {
            name: Place(
                file, data + part["data_offsets"][0], part["data_offsets"][1] - part["data_offsets"][0],
                part["dtype"], tuple(part["shape"]),
            )
            for name, part in header.items()
            if name != "__metadata__"
        }  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise EngineError(f"{path} is no safetensors file ({error}).", "Copy the folder again.") from error
    end = max((place.start + place.length for place in found.values()), default=data)
    if path.stat().st_size < end:
        raise EngineError(f"{path} is cut short.", "Copy the folder again.")
    return found


def empty_thinker(config: dict[str, Any]) -> Any:
    """A thinker whose parameters have shapes and no memory; its vision tower, never used, is left out."""
    from accelerate import init_empty_weights
    from transformers import Qwen3OmniMoeThinkerConfig, Qwen3OmniMoeThinkerForConditionalGeneration

    sizes = Qwen3OmniMoeThinkerConfig(**config["thinker_config"])
    with init_empty_weights(include_buffers=False):
        model: Any = Qwen3OmniMoeThinkerForConditionalGeneration(sizes)  # type: ignore[no-untyped-call]
    model.visual = None
    return model


def load_frozen(
    folder: Path,
    device: str = "cpu",
    dtype: str = "float32",
    quantize: str | None = None,
    told: Callable[[int, int], None] | None = None,
) -> Any:
    """A thinker with `AdaptedExperts`, frozen, in eval mode; read layer by layer.

    Args:
        folder: in the published layout.
        device: where it shall live.
        dtype: of everything but experts held in NF4.
        quantize: "nf4" holds the experts in 4 bits; attention, embeddings and audio tower stay as they are.
        told: called with layers done and in all.

    Raises:
        EngineError: if the folder is no such model, or its weights are missing or broken.
    """
    shards = Shards(folder)
    names = {bare(name): name for name in shards if not bare(name).startswith(SKIPPED_PREFIXES)}

    def read(name: str) -> torch.Tensor:
        if name not in names:
            raise EngineError(f"{folder} has no weight {name}.", "Check that the folder is complete.")
        return shards.get(names[name])

    return assemble(read_config(folder), read, device, dtype, quantize, told)


def assemble(
    config: dict[str, Any],
    read: Callable[[str], torch.Tensor],
    device: str,
    dtype: str,
    quantize: str | None,
    told: Callable[[int, int], None] | None = None,
) -> Any:
    """`load_frozen` for weights from anywhere: `read` gives a tensor by its name without `thinker.`.

    Raises:
        EngineError: if a weight does not fit.
    """
    import torch

    from audioreason.engines.experts import AdaptedExperts, hold

    model = empty_thinker(config)
    kind = getattr(torch, dtype)
    layers = model.model.layers
    for number, layer in enumerate(layers):
        if told is not None:
            told(number, len(layers))
        if not hasattr(layer.mlp, "experts"):
            continue
        experts = layer.mlp.experts
        prefix = f"model.layers.{number}.mlp.experts"
        gate_up = torch.empty(experts.gate_up_proj.shape, dtype=kind, device=device)
        down = torch.empty(experts.down_proj.shape, dtype=kind, device=device)
        width = gate_up.shape[1] // 2
        for expert in range(len(gate_up)):
            parts = (
                ("gate_proj", gate_up[expert, :width]),
                ("up_proj", gate_up[expert, width:]),
                ("down_proj", down[expert]),
            )
            for part, target in parts:
                _fill(target, read(f"{prefix}.{expert}.{part}.weight"), f"{prefix}.{expert}.{part}")
        layer.mlp.experts = AdaptedExperts(hold(gate_up, quantize), hold(down, quantize))
        del gate_up, down
    for name, parameter in list(model.named_parameters()):
        owner = model.get_submodule(name.rpartition(".")[0])
        value = torch.empty(parameter.shape, dtype=kind, device=device)
        _fill(value, read(name), name)
        setattr(owner, name.rpartition(".")[2], torch.nn.Parameter(value, requires_grad=False))
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))
    if told is not None:
        told(len(layers), len(layers))
    return model.eval()


def _fill(target: torch.Tensor, value: torch.Tensor, name: str) -> None:
    if target.shape != value.shape:
        raise EngineError(
            f"The weight {name} is {tuple(value.shape)}, but config.json says {tuple(target.shape)}.",
            "Check that config.json belongs to these weights.",
        )
    target.copy_(value)
