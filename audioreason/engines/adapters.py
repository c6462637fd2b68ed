"""LoRA adapters of a thinker: put into a model, saved in peft's format, loaded again, kept from other models.

    adapter_config.json          peft's
    adapter_model.safetensors    peft's names; the experts as `target_parameters` lays them out
    audioreason.json             AdapterRecord: the model it belongs to, and what made it

In training peft adapts the attention's linear layers, and `AdaptedExperts` hold their own factors. peft alone
loads such a folder too, onto an unquantised model. Adapters of any origin are loaded by what they change
(see `deltas`). Knows nothing about training.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audioreason.engines.deltas import CONFIG, WEIGHTS, AdapterDeltas, LoraConfig, weights_file
from audioreason.engines.pocket import first_line
from audioreason.engines.weights import SKIPPED_PREFIXES, Shards
from audioreason.errors import EngineError
from audioreason.workspace import write_atomic

if TYPE_CHECKING:
    import torch

    from audioreason.engines.experts import LoraShape

RECORD = "audioreason.json"
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
_NOT_ADAPTED = r".*(audio_tower|visual).*"  # they have layers named q_proj too
_PREFIX = "base_model.model."
# peft nests its wrappers: the outer one holds down_proj, the inner one gate_up_proj
_EXPERT_NAMES = {"gate_up": "mlp.experts.base_layer.lora_", "down": "mlp.experts.lora_"}


class AdapterRecord(BaseModel):
    """What an adapter belongs to and came from.

    `base` is the model folder's name, `fingerprint` says which weights (`Shards.fingerprint`). `quantize`
    is how the experts were held while it was trained. `finished` is False while training may still better
    it. `leaks` is True if benchmark items trained it by an override, whose report is in `guard`.
    """

    model_config = ConfigDict(extra="forbid")

    format: int = 1
    base: str
    fingerprint: str
    quantize: str | None = None
    step: int = 0
    loss: float | None = None  # held-out, per token
    finished: bool = True
    leaks: bool = False
    guard: list[dict[str, Any]] = Field(default_factory=list)
    recipe: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    created: str = ""


@dataclass(frozen=True)
class Adapter:
    """An adapter's folder and its record (None if another program wrote it)."""

    folder: Path
    record: AdapterRecord | None


def read_adapter(folder: Path) -> Adapter:
    """The adapter in a folder.

    Raises:
        EngineError: if there is none, or one that this lab cannot use.
    """
    LoraConfig.read(folder)
    weights_file(folder)
    return Adapter(folder, read_record(folder))


def read_record(folder: Path) -> AdapterRecord | None:
    """What made the adapter in a folder; None if another program did, or nothing is there yet.

    Raises:
        EngineError: if it cannot be read.
    """
    if not (folder / RECORD).is_file():
        return None
    try:
        return AdapterRecord.model_validate_json((folder / RECORD).read_bytes())
    except (OSError, ValidationError) as error:
        raise EngineError(
            f"{folder / RECORD} cannot be read ({first_line(error)}).", "Copy the folder again."
        ) from error


def check_base(adapter: Adapter, model: Path) -> None:
    """See that an adapter was trained on the model in a folder; one without a record passes.

    Raises:
        EngineError: if it was trained on another.
    """
    if adapter.record is None or (found := Shards(model).fingerprint()) == adapter.record.fingerprint:
        return
    raise EngineError(
        f"The adapter {adapter.folder.name} was trained on {adapter.record.base}"
        f" ({adapter.record.fingerprint}), and {model.name} is another model ({found}).",
        "Give the model that it was trained on.",
    )


def add_lora(model: Any, shape: LoraShape, dtype: str, seed: int) -> None:
    """Put a LoRA that changes nothing yet into a model made by `load_frozen`; its factors are trainable.

    Raises:
        EngineError: if peft is not installed.
    """
    import torch

    from audioreason.engines.experts import adapted_layers

    kind = getattr(torch, dtype)
    if shape.attention:
        state = torch.random.get_rng_state()
        torch.manual_seed(seed)
        _peft().inject_adapter_in_model(_peft_config(shape, experts=False), model)
        torch.random.set_rng_state(state)
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.data = parameter.data.to(kind)
    generator = torch.Generator().manual_seed(seed)
    if shape.experts:
        for _, experts in adapted_layers(model):
            experts.add_lora(shape, kind, model.device, generator)


def lora_parameters(model: Any) -> dict[str, torch.nn.Parameter]:
    """The factors in a model, by the names under which peft saves them without its leading words."""
    found = {}
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            found[name.replace(".default.weight", ".weight")] = parameter
        elif ".mlp.experts." in name and name.rpartition("_")[2] in ("a", "b"):
            layer, _, factor = name.partition("mlp.experts.")
            part, _, which = factor.rpartition("_")
            found[f"{layer}{_EXPERT_NAMES[part]}{which.upper()}.weight"] = parameter
    return found


@contextlib.contextmanager
def without_lora(model: Any) -> Iterator[None]:
    """Compute as the frozen model does, for the time of the block; it must not be left for a backward."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    from audioreason.engines.experts import adapted_layers

    linear = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    experts = [each for _, each in adapted_layers(model)]

    def switch(on: bool) -> None:
        for layer in linear:
            layer.enable_adapters(on)
        for adapted in experts:
            adapted.adapted = on

    switch(False)
    try:
        yield
    finally:
        switch(True)


def save_adapter(model: Any, shape: LoraShape, folder: Path, record: AdapterRecord) -> None:
    """Write the LoRA of a model; each of the folder's three files appears whole.

    peft's configuration comes last: a folder without it is no adapter to anybody, so one that the disk had
    no room for does not pass for an adapter of unknown origin.

    Raises:
        WorkspaceError: if the disk is full.
    """
    from safetensors.torch import save

    tensors = {
        _PREFIX + name: _to_peft(name, value.detach()).contiguous().cpu()
        for name, value in lora_parameters(model).items()
    }
    for torn in folder.glob(".*.tmp"):  # left by a kill
        torn.unlink()
    config = _peft_config(shape, experts=shape.experts, base=record.base).to_dict()
    words = json.dumps(config, indent=2, sort_keys=True, default=sorted)  # as peft writes it; sets sorted
    write_atomic(folder / WEIGHTS, save(tensors, {"format": "pt"}))
    write_atomic(folder / RECORD, record.model_dump_json(indent=2) + "\n")
    write_atomic(folder / CONFIG, words)


def apply_adapter(
    model: Any, deltas: AdapterDeltas, rounded: Mapping[str, torch.dtype] | None = None
) -> None:
    """Add an adapter's changes to the weights of a model made by `load_model`.

    Args:
        model: changed in place.
        deltas: of this model.
        rounded: types that new values are rounded to first, by published name; else none.

    Raises:
        EngineError: if one finds no weight.
    """
    import torch

    left = set(deltas.names)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            for published, part in _published(name, parameter):
                if published in left:
                    part.copy_(deltas.apply(published, part, rounded[published] if rounded else None))
                    left.remove(published)
    _check_left(deltas, left)


def load_adapter(model: Any, deltas: AdapterDeltas, dtype: str) -> None:
    """Apply an adapter to a model made by `load_frozen`, as in training.

    Low-rank factors stay on top of the linear layers and experts; full weights replace the model's own.

    Args:
        model: changed in place.
        deltas: of this model.
        dtype: of the factors.

    Raises:
        EngineError: if one finds no weight.
    """
    import torch

    from audioreason.engines.experts import AdaptedLinear, adapted_layers

    left = set(deltas.names)
    kind = getattr(torch, dtype)
    with torch.no_grad():
        for name, parameter in list(model.named_parameters()):
            if name not in left:
                continue
            left.remove(name)
            path = name.rpartition(".")[0]
            layer = model.get_submodule(path)
            factors = None if deltas.replaces(name) else deltas.factors(name)
            if isinstance(layer, torch.nn.Linear) and factors is not None:
                b, a = (each.to(model.device, kind) for each in factors)
                model.set_submodule(path, AdaptedLinear(layer, a, b))
            else:
                parameter.copy_(deltas.apply(name, parameter))
    for number, experts in adapted_layers(model):
        prefix = f"model.layers.{number}.mlp.experts"
        for part in ("gate_up", "down"):
            factors = deltas.expert_factors(prefix, part, experts.num_experts)
            if factors is not None:
                experts.set_lora(part, *(each.to(model.device, kind) for each in factors))
        left = {name for name in left if not (name.startswith(f"{prefix}.") and not deltas.replaces(name))}
    _check_left(deltas, left)


def _check_left(deltas: AdapterDeltas, left: set[str]) -> None:
    """See that every change was made, but for parts that neither hear nor answer.

    Raises:
        EngineError: if one was not; it would be lost in silence.
    """
    if lost := sorted(name for name in left if not name.startswith(SKIPPED_PREFIXES)):
        raise EngineError(
            f"The adapter {deltas.folder.name} changes {lost[0]}, which cannot be changed in the model as it"
            " is held here.",
            "Merge it and serve the merged model, or serve it without --quantize.",
        )


def _published(name: str, parameter: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """The published tensors that a parameter of transformers' model is made of, as views of it."""
    experts, _, part = name.rpartition(".")
    if not experts.endswith(".mlp.experts"):
        yield name, parameter
        return
    for number, matrix in enumerate(parameter):
        halves = {"gate": 0, "up": 1} if part == "gate_up_proj" else {"down": 0}
        for half, place in halves.items():
            yield f"{experts}.{number}.{half}_proj.weight", matrix.chunk(len(halves))[place]


def _to_peft(name: str, value: torch.Tensor) -> torch.Tensor:
    """A factor in peft's layout: A (experts * rank, in), B (out, rank * experts) with the expert fastest."""
    if value.ndim == 2:
        return value
    if name.endswith("lora_A.weight"):
        return value.reshape(-1, value.shape[-1])
    return value.permute(1, 2, 0).reshape(value.shape[1], -1)


def _peft() -> Any:
    logging.getLogger("bitsandbytes").setLevel(
        logging.ERROR
    )  # peft imports it, and it misses kernels on a CPU
    try:
        import peft
    except ImportError as error:
        raise EngineError(
            "An adapter needs peft, which is not installed.",
            'Install it with: pip install "audioreason[local]"',
        ) from error
    return peft


def _peft_config(shape: LoraShape, experts: bool, base: str | None = None) -> Any:
    return _peft().LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        lora_dropout=0.0,
        target_modules=list(PROJECTIONS) if shape.attention else None,
        exclude_modules=_NOT_ADAPTED,
        target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"] if experts else None,
        base_model_name_or_path=base,
    )
