"""LoRA adapters of a thinker: put into a model, saved in peft's format, loaded again, kept from other models.

    adapter_config.json          peft's
    adapter_model.safetensors    peft's names; the experts as `target_parameters` lays them out
    audioreason.json             AdapterRecord: the model it belongs to, and what made it

peft adapts the attention's linear layers; `AdaptedExperts` hold their own factors. peft alone loads such a
folder too, onto an unquantised model. Knows nothing about training.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audioreason.engines.pocket import first_line
from audioreason.engines.weights import Shards
from audioreason.errors import EngineError
from audioreason.workspace import write_atomic

if TYPE_CHECKING:
    import torch

    from audioreason.engines.experts import LoraShape

CONFIG = "adapter_config.json"
RECORD = "audioreason.json"
WEIGHTS = "adapter_model.safetensors"
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
    """An adapter's folder, its shape, and its record (None if another program wrote it)."""

    folder: Path
    shape: LoraShape
    record: AdapterRecord | None


def read_adapter(folder: Path) -> Adapter:
    """The adapter in a folder.

    Raises:
        EngineError: if there is none, or one that this lab cannot use.
    """
    from audioreason.engines.experts import LoraShape

    path = folder / CONFIG
    try:
        config = json.loads(path.read_text())
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
        attention = bool(config.get("target_modules"))
        experts = bool(config.get("target_parameters"))
    except FileNotFoundError as error:
        raise EngineError(
            f"There is no adapter in {folder}: adapter_config.json is missing.",
            "Name the folder that holds its weights.",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"{path} cannot be read ({error}).", "Copy the folder again.") from error
    if not (folder / WEIGHTS).is_file():
        raise EngineError(f"The adapter {folder} has no {WEIGHTS}.", "Copy the folder again.")
    return Adapter(folder, LoraShape(rank, alpha, attention, experts), read_record(folder))


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


def load_adapter(model: Any, adapter: Adapter, dtype: str) -> None:
    """Put a saved LoRA into a model made by `load_frozen`.

    Raises:
        EngineError: if it does not fit.
    """
    import torch

    add_lora(model, adapter.shape, dtype, seed=0)
    factors = AdapterTensors(adapter)
    wanted = lora_parameters(model)
    if unknown := sorted(set(factors.names) - set(wanted)):
        raise EngineError(
            f"The adapter {adapter.folder} changes {unknown[0].rpartition('.lora_')[0]}, which this lab"
            " cannot do without merging.",
            "Serve it without --quantize.",
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            value = _from_peft(name, factors.get(name), tuple(parameter.shape))
            parameter.copy_(value)


class AdapterTensors:
    """The factors of an adapter on disk, one at a time."""

    def __init__(self, adapter: Adapter) -> None:
        from safetensors import SafetensorError, safe_open

        self._adapter = adapter
        try:
            opened: Any = safe_open(adapter.folder / WEIGHTS, framework="pt")
        except (OSError, SafetensorError) as error:
            raise EngineError(
                f"{adapter.folder / WEIGHTS} cannot be read ({first_line(error)}).", "Copy the folder again."
            ) from error
        self._last: tuple[str, torch.Tensor] | None = None
        self._file = opened
        self.names = frozenset(name.removeprefix(_PREFIX) for name in opened.keys())  # noqa: SIM118 - no dict

    def get(self, name: str) -> torch.Tensor:
        """A factor as peft lays it out.

        Raises:
            EngineError: if the adapter has none of that name.
        """
        if name not in self.names:
            raise EngineError(
                f"The adapter {self._adapter.folder} has no weight {name}.",
                "Check that it was trained on this model.",
            )
        tensor: torch.Tensor = self._file.get_tensor(_PREFIX + name)
        return tensor

    def linear(self, name: str) -> torch.Tensor | None:
        """`B @ A` in float32 for the linear layer called `name`, not yet scaled; None if it has no delta."""
        if f"{name}.lora_A.weight" not in self.names:
            return None
        a, b = self.get(f"{name}.lora_A.weight"), self.get(f"{name}.lora_B.weight")
        return b.float() @ a.float()

    def expert(self, layer: int, part: str, number: int, experts: int) -> torch.Tensor | None:
        """`B @ A` in float32 for `part` ("gate_up" or "down") of one expert, not yet scaled; None if none."""
        stem = f"model.layers.{layer}.{_EXPERT_NAMES[part]}"
        if f"{stem}A.weight" not in self.names:
            return None
        a = self._file.get_slice(f"{_PREFIX}{stem}A.weight")
        rank = a.get_shape()[0] // experts
        left: torch.Tensor = self._layer(f"{_PREFIX}{stem}B.weight")
        right: torch.Tensor = a[number * rank : (number + 1) * rank]
        return left[:, number::experts].float() @ right.float()

    def _layer(self, name: str) -> torch.Tensor:
        """A layer's B; kept until the next, because a layer's experts come one after another."""
        if self._last is None or self._last[0] != name:
            self._last = name, self._file.get_tensor(name)
        return self._last[1]


def _to_peft(name: str, value: torch.Tensor) -> torch.Tensor:
    """A factor in peft's layout: A (experts * rank, in), B (out, rank * experts) with the expert fastest."""
    if value.ndim == 2:
        return value
    if name.endswith("lora_A.weight"):
        return value.reshape(-1, value.shape[-1])
    return value.permute(1, 2, 0).reshape(value.shape[1], -1)


def _from_peft(name: str, value: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A factor in our layout, from peft's.

    Raises:
        EngineError: if it has another size.
    """
    if value.numel() != math.prod(shape) or (len(shape) == 2 and tuple(value.shape) != shape):
        raise EngineError(
            f"The adapter's {name} is {tuple(value.shape)}, and the model needs {shape}.",
            "Give the model that it was trained on.",
        )
    if len(shape) == 2:
        return value
    if name.endswith("lora_A.weight"):
        return value.view(shape)
    experts, out, rank = shape
    return value.view(out, rank, experts).permute(2, 0, 1)


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
