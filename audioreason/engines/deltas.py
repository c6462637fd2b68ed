"""What an adapter changes in its model: peft's files, in every layout in use, by the tensors of the model.

`merge` and `serve` read adapters here alone. A tensor has its published name without `thinker.`, such as
`model.layers.0.mlp.experts.3.up_proj.weight`; its new value is `W + scale * B @ A`, or the adapter's own
(`modules_to_save`). What is read:

    X.lora_A.weight, X.lora_B.weight       of any linear layer X, each expert's own included: transformers 4,
                                           ms-swift, LLaMA-Factory
    mlp.experts.base_layer.lora_A ...      the fused gate_up_proj of all experts, and mlp.experts.lora_A the
                                           fused down_proj: peft's `target_parameters`, Unsloth. peft before
                                           0.19 wrote the transposed product
    X.lora_embedding_A, X.lora_embedding_B
    X.weight                               modules_to_save
    thinker., base_model.model., .default. before or inside any of these names

A key that finds no tensor is an error: it would be lost in silence. Knows nothing about training.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.engines.pocket import first_line
from audioreason.engines.weights import read_header
from audioreason.errors import EngineError

if TYPE_CHECKING:
    import torch

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PICKLE = "adapter_model.bin"
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_OUTER = ("base_model.model.", "thinker.", "module.")
_FACTOR = re.compile(
    r"(?P<stem>.+)\.lora_(?P<kind>embedding_)?(?P<which>[AB])(?:\.(?!weight$|bias$)[^.]+)?(?:\.weight)?"
)
_SAVED = re.compile(r"\.modules_to_save(?:\.(?!weight$|bias$)[^.]+)?(?=\.)")
_FUSED = re.compile(r"(?P<experts>.+\.experts)(?P<inner>\.base_layer)?")
_FUSED_TENSOR = re.compile(r"(?P<experts>.+\.experts)\.(?P<part>gate_up|down)_proj(?:\.weight)?")
_EXPERT = re.compile(r"(?P<experts>.+\.experts)\.(?P<number>\d+)\.(?P<projection>gate|up|down)_proj\.weight")
_KEPT = 4  # tensors of the file that are kept: a layer's two fused pairs of factors

# settings of peft that change more than W + scale * B @ A
_FEATURES = {
    "use_dora": "DoRA",
    "lora_bias": "lora_bias",
    "fan_in_fan_out": "fan_in_fan_out",
    "use_qalora": "QALoRA",
    "trainable_token_indices": "trainable tokens",
    "alora_invocation_tokens": "activated LoRA (aLoRA)",
    "layer_replication": "layer replication",
    "use_bdlora": "block-diagonal LoRA",
    "arrow_config": "Arrow",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
}
_CHANGED_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga", "mica")  # init_lora_weights that alter W


@dataclass(frozen=True)
class LoraConfig:
    """What adapter_config.json says about sizes and scales (peft's names).

    `patterns` of rank and alpha are for the layers whose names they match, as regular expressions.
    """

    r: int
    lora_alpha: float
    use_rslora: bool
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    target_parameters: tuple[str, ...]
    peft_version: tuple[int, ...] | None

    @classmethod
    def read(cls, folder: Path) -> LoraConfig:
        """The settings of the adapter in a folder.

        Raises:
            EngineError: if there is none, or it is of a kind that cannot be merged; the sentence names it.
        """
        path = folder / CONFIG
        try:
            config = json.loads(path.read_text())
            _check_features(folder, config)
            found = cls(
                int(config["r"]),
                float(config["lora_alpha"]),
                bool(config.get("use_rslora")),
                {key: int(value) for key, value in (config.get("rank_pattern") or {}).items()},
                {key: float(value) for key, value in (config.get("alpha_pattern") or {}).items()},
                tuple(config.get("target_parameters") or ()),
                _version(config.get("peft_version")),
            )
            for pattern in (*found.rank_pattern, *found.alpha_pattern):
                re.compile(pattern)
        except FileNotFoundError as error:
            inner = sorted(inside.parent.name for inside in folder.glob(f"*/{CONFIG}"))
            raise EngineError(
                f"There is no adapter in {folder}: {CONFIG} is missing.",
                f"Name one of its folders: {', '.join(inner[:5])}."
                if inner
                else "Name the folder that holds its weights.",
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, re.error) as error:
            said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise EngineError(f"{path} cannot be read ({said}).", "Copy the folder again.") from error
        return found

    def rank(self, layer: str) -> int:
        """The rank of a layer, by its name as peft matches it."""
        return int(_matching(self.rank_pattern, layer, self.r))

    def scale(self, layer: str) -> float:
        """What multiplies `B @ A`: alpha / r, or alpha / sqrt(r) (rsLoRA, Kalajdzievski 2023)."""
        rank = self.rank(layer)
        return _matching(self.alpha_pattern, layer, self.lora_alpha) / (
            math.sqrt(rank) if self.use_rslora else rank
        )


def weights_file(folder: Path) -> Path:
    """The adapter's file of weights.

    Raises:
        EngineError: if it is missing, or only a pickle is there.
    """
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS
    if (folder / _PICKLE).is_file():
        raise EngineError(
            f"The adapter {folder} holds {_PICKLE}, a pickle, which can run code when it is read.",
            f"Save it as {WEIGHTS} (peft: save_pretrained(..., safe_serialization=True)).",
        )
    raise EngineError(f"The adapter {folder} has no {WEIGHTS}.", "Copy the folder again.")


def _check_features(folder: Path, config: dict[str, Any]) -> None:
    """Refuse what is not `W + scale * B @ A`.

    Raises:
        EngineError: naming it.
    """
    kind = str(config.get("peft_type") or "LORA").upper()
    feature = kind if kind != "LORA" else next((n for key, n in _FEATURES.items() if config.get(key)), None)
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.startswith(_CHANGED_BASE):
        raise EngineError(
            f"The adapter {folder.name} was trained with init_lora_weights={start!r}, which changes the"
            " base model's own weights, so the adapter does not fit the base model.",
            "Save it as a plain LoRA (peft: path_initial_model_for_weight_conversion).",
        )
    if feature is not None:
        raise EngineError(
            f"The adapter {folder.name} uses {feature}, which this lab does not support.",
            "Merge it with peft (merge_and_unload) and use the merged model.",
        )


def _version(text: Any) -> tuple[int, ...] | None:
    numbers = re.match(r"(\d+)\.(\d+)", text) if isinstance(text, str) else None
    return (int(numbers[1]), int(numbers[2])) if numbers else None


def _matching(patterns: Mapping[str, float], layer: str, default: float) -> float:
    """The value of the first pattern that matches the end of a layer's name, as in peft."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", layer)), default)


@dataclass(frozen=True)
class _Product:
    """Where the factors of one tensor's delta are in the file.

    A tensor of one expert is a share of a fused product: its number `expert` of `experts`, and from
    and to which of its `rows`. `turned` gives the transposed product.
    """

    a: str
    b: str
    scale: float
    expert: int = 0
    experts: int = 1
    rows: tuple[int, int | None] = (0, None)
    turned: bool = False


@dataclass(frozen=True)
class _Share:
    """Where a tensor's whole new value is: a key of the file, and which part of its tensor."""

    key: str
    expert: int | None = None
    rows: tuple[int, int | None] = (0, None)


class AdapterDeltas:
    """The changes that an adapter makes, by the names of the tensors of its model.

    Every key of the file is accounted for when it is opened, from its header alone; values are read when
    they are asked for.

    Args:
        folder: the adapter.
        shapes: of every tensor of the model, by its published name without `thinker.`.

    Raises:
        EngineError: if a delta finds no tensor or does not fit it, or the adapter cannot be read.
    """

    def __init__(self, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.folder = folder
        self._config = LoraConfig.read(folder)
        self._path = weights_file(folder)
        self._shapes = shapes
        self._sizes = {name: place.shape for name, place in read_header(self._path).items()}
        self._products: dict[str, _Product] = {}
        self._values: dict[str, _Share] = {}
        self._recent: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._file: Any = None
        self._experts = {
            match["experts"]: 1 + int(match["number"])
            for name in sorted(shapes, key=_natural)  # the last number is the highest
            if (match := _EXPERT.fullmatch(name))
        }
        self._sort_keys()
        if not self._products and not self._values:
            raise EngineError(f"The adapter {folder} holds no weights.", "Copy the folder again.")

    @property
    def names(self) -> frozenset[str]:
        """The tensors that change."""
        return frozenset(self._products) | frozenset(self._values)

    def replaces(self, name: str) -> bool:
        """Whether the adapter holds the tensor's whole new value."""
        return name in self._values

    def factors(self, name: str) -> tuple[torch.Tensor, torch.Tensor] | None:
        """B (out, r), already scaled, and A (r, in), in float32 on the CPU; None if nothing is added.

        Raises:
            EngineError: if they cannot be read, or hold a number that is not finite.
        """
        place = self._products.get(name)
        if place is None:
            return None
        a, b = self._get(place.a), self._get(place.b)
        a = a.view(place.experts, -1, a.shape[-1])[place.expert]  # the expert is the slowest of A's rows
        b = b.view(len(b), -1, place.experts)[..., place.expert]  # and the fastest of B's columns
        left, right = (a.T, b.T) if place.turned else (b, a)
        left, right = left[slice(*place.rows)].float() * place.scale, right.float()
        if not (left.isfinite().all() and right.isfinite().all()):
            raise EngineError(
                f"The adapter {self.folder.name} holds NaN or infinity in {place.a} or {place.b}.",
                "Take an earlier checkpoint.",
            )
        return left, right

    def apply(self, name: str, tensor: torch.Tensor, rounded: torch.dtype | None = None) -> torch.Tensor:
        """The new value of a tensor, in its own type and on its device; the same tensor if it has none.

        Args:
            name: as published, without `thinker.`.
            tensor: its value in the model.
            rounded: a type that the result is rounded to on its way.

        Raises:
            EngineError: as `factors`.
        """
        value = tensor
        if share := self._values.get(name):
            value = self._get(share.key)
            value = value if share.expert is None else value[share.expert]
            value = value[slice(*share.rows)].to(tensor.device)
        if (found := self.factors(name)) is not None:
            left, right = (factor.to(tensor.device) for factor in found)
            value = value.float() + left @ right
        if value is tensor:
            return tensor
        return value.to(rounded or tensor.dtype).to(tensor.dtype)

    def expert_factors(self, experts: str, part: str, count: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The factors of a layer's fused projection, for `AdaptedExperts`.

        Args:
            experts: their name, such as `model.layers.0.mlp.experts`.
            part: "gate_up" or "down".
            count: how many there are.

        Returns:
            A (experts, r, in) and B (experts, out, r), scaled, float32; None if nothing is added. Where
            ranks differ, zeros fill what is missing.

        Raises:
            EngineError: as `factors`.
        """
        import torch

        halves = ("gate", "up") if part == "gate_up" else ("down",)
        found = [
            self._joined([f"{experts}.{number}.{half}_proj.weight" for half in halves])
            for number in range(count)
        ]
        rank = max(left.shape[1] for left, _ in found)
        if not rank:
            return None
        pad = torch.nn.functional.pad
        return (
            torch.stack([pad(right, (0, 0, 0, rank - len(right))) for _, right in found]),
            torch.stack([pad(left, (0, rank - left.shape[1])) for left, _ in found]),
        )

    def _joined(self, names: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """One pair of factors for tensors on top of each other: a common A is kept, others are stacked."""
        import torch

        found = []
        for name in names:
            out, inside = self._shapes[name]
            found.append(self.factors(name) or (torch.zeros(out, 0), torch.zeros(0, inside)))
        places = [self._products.get(name) for name in names]
        if all(place is not None and places[0] is not None and place.a == places[0].a for place in places):
            return torch.cat([left for left, _ in found]), found[0][1]
        stacked: torch.Tensor = torch.block_diag(*(left for left, _ in found))  # type: ignore[no-untyped-call]
        return stacked, torch.cat([right for _, right in found])

    def _sort_keys(self) -> None:
        """Find the tensor of every key.

        Raises:
            EngineError: for the first key that has none.
        """
        pairs: dict[tuple[str, bool], dict[str, str]] = {}
        for key, size in self._sizes.items():
            path = ".".join(part for part in key.split(".") if part not in _WRAPPERS)
            match = _FACTOR.fullmatch(path)
            if match is None:
                self._add_value(key, _inside(_SAVED.sub("", path).replace(".base_layer.", ".")), size)
                continue
            pair = pairs.setdefault((match["stem"], bool(match["kind"])), {})
            if match["which"] in pair:
                raise self._refused(f"holds both {pair[match['which']]} and {key}", "Save one adapter alone.")
            if len(size) < 2 or 0 in size:
                raise self._refused(
                    f"has an incomplete {key} of shape {size}",
                    "Save it again with its shards gathered (DeepSpeed ZeRO-3, FSDP).",
                )
            pair[match["which"]] = key
        inner = {stem.removesuffix(".base_layer") for stem, _ in pairs if stem.endswith(".base_layer")}
        # the inner projections first: they tell how a square outer one is laid out
        for (stem, embedding), pair in sorted(pairs.items(), key=lambda one: one[0][0] in inner):
            if missing := {"A", "B"} - set(pair):
                only = next(iter(pair.values()))
                raise self._refused(f"has {only} without its lora_{missing.pop()}", "Copy the folder again.")
            self._add_product(stem, pair["A"], pair["B"], embedding, stem in inner)

    def _add_value(self, key: str, name: str, size: tuple[int, ...]) -> None:
        if (match := _FUSED_TENSOR.fullmatch(name)) and match["experts"] in self._experts:
            self._fits(key, size, self._fused_size(match["experts"], match["part"]))
            for part, number, rows in self._shares(match["experts"], match["part"]):
                self._values[part] = _Share(key, number, rows)
        elif name in self._shapes:
            self._fits(key, size, self._shapes[name])
            self._values[name] = _Share(key)
        else:
            raise self._without_tensor(key, name)

    def _add_product(self, stem: str, a: str, b: str, embedding: bool, outer: bool) -> None:
        path, layer = _inside(stem), stem.removeprefix("base_model.model.")  # as peft matches patterns
        name = f"{path}.weight"
        if name in self._shapes:
            shape = self._shapes[name][::-1] if embedding else self._shapes[name]
            product = _Product(a, b, self._config.scale(layer), turned=embedding)
            self._add_one(name, product, self._config.rank(layer), shape)
        elif (match := _FUSED.fullmatch(path)) and match["experts"] in self._experts:
            parts = ["gate_up"] if match["inner"] else ["down"] if outer else self._targets()
            self._add_fused(layer.removesuffix(".base_layer"), match["experts"], parts, a, b)
        else:
            raise self._without_tensor(a, name)

    def _targets(self) -> list[str]:
        """The fused projections that target_parameters names; both if it names none."""
        parts = ["gate_up", "down"]
        targets = self._config.target_parameters
        return [part for part in parts if any(target.endswith(f"{part}_proj") for target in targets)] or parts

    def _add_one(self, name: str, product: _Product, rank: int, shape: tuple[int, ...]) -> None:
        if len(shape) != 2:
            raise self._refused(
                f"changes {name}, which is not a linear layer", "Merge it with peft and use the merged model."
            )
        self._fits(product.b, self._sizes[product.b], (shape[0], rank))
        self._fits(product.a, self._sizes[product.a], (rank, shape[1]))
        self._products[name] = product

    def _add_fused(self, layer: str, experts: str, parts: Sequence[str], a: str, b: str) -> None:
        """A product for all experts of a layer at once, of one of `parts`, the one whose size it has.

        peft wraps the first parameter of a module and then the wrapper: where both projections are
        adapted, gate_up_proj is the inner one.
        """
        count = self._experts[experts]
        inside, out = self._sizes[a][1], self._sizes[b][0]
        sizes = {part: self._fused_size(experts, part)[1:] for part in parts}  # out, in
        fits = [
            (part, turned)
            for part, size in sizes.items()
            for turned in (False, True)
            if size == ((inside, out) if turned else (out, inside))
        ]
        if not fits:
            wanted = " or ".join(f"{part}_proj from {size[1]} to {size[0]}" for part, size in sizes.items())
            raise self._refused(
                f"maps {inside} values to {out} in {a}, and the model's {experts} have {wanted}",
                "Give the model that it was trained on.",
            )
        if len({part for part, _ in fits}) > 1:
            raise self._refused(
                f"does not say which projection of the experts {a} belongs to",
                f"Name it in target_parameters of {CONFIG}.",
            )
        part = fits[0][0]
        turned = fits[0][1] if len(fits) == 1 else self._turned(a)
        rank, scale = (of(f"{layer}.{part}_proj") for of in (self._config.rank, self._config.scale))
        self._fits(a, self._sizes[a], (count * int(rank), inside))
        self._fits(b, self._sizes[b], (out, count * int(rank)))
        for name, number, rows in self._shares(experts, part):
            self._products[name] = _Product(a, b, scale, number, count, rows, turned)

    def _turned(self, key: str) -> bool:
        """Whether a square product is transposed: it is as the adapter's others are, else by peft's version.

        Raises:
            EngineError: if nothing tells.
        """
        known = {product.turned for product in self._products.values() if product.experts > 1}
        if len(known) == 1:
            return known.pop()
        if self._config.peft_version is None:
            raise self._refused(
                f"does not say which peft wrote {key}, whose product peft transposed before its version 0.19",
                f'Add "peft_version" to {CONFIG}.',
            )
        return self._config.peft_version < (0, 19)

    def _fused_size(self, experts: str, part: str) -> tuple[int, int, int]:
        """A fused tensor's (experts, out, in)."""
        down = self._shapes[f"{experts}.0.down_proj.weight"]
        if part == "down":
            return self._experts[experts], down[0], down[1]
        return self._experts[experts], 2 * down[1], down[0]

    def _shares(self, experts: str, part: str) -> Iterator[tuple[str, int, tuple[int, int | None]]]:
        """Each published tensor of a fused one: its name, its expert, and its rows there."""
        width = self._fused_size(experts, "down")[2]
        halves = {"gate": (0, width), "up": (width, None)}
        for number in range(self._experts[experts]):
            for half, rows in (halves if part == "gate_up" else {"down": (0, None)}).items():
                yield f"{experts}.{number}.{half}_proj.weight", number, rows

    def _get(self, key: str) -> torch.Tensor:
        """A tensor of the file; the last few are kept, because a layer's experts come one after another."""
        if key in self._recent:
            return self._recent[key]
        from safetensors import SafetensorError, safe_open

        try:
            if self._file is None:
                self._file = safe_open(self._path, framework="pt")
            tensor: torch.Tensor = self._file.get_tensor(key)
        except (OSError, SafetensorError) as error:
            raise EngineError(
                f"{self._path} cannot be read ({first_line(error)}).", "Copy the folder again."
            ) from error
        self._recent[key] = tensor
        while len(self._recent) > _KEPT:
            self._recent.popitem(last=False)
        return tensor

    def _fits(self, key: str, size: tuple[int, ...], wanted: tuple[int, ...]) -> None:
        if size != wanted:
            raise self._refused(
                f"has {key} of shape {size}, and the model and {CONFIG} ask for {wanted}",
                "Give the model that it was trained on.",
            )

    def _without_tensor(self, key: str, name: str) -> EngineError:
        """The error of a key that changes nothing, with the tensors of the model that are called alike."""
        alike = {_numberless(other): other for other in sorted(self._shapes, key=_natural, reverse=True)}
        close = difflib.get_close_matches(_numberless(name), alike, n=3, cutoff=0.5)
        hint = f"Its closest tensors are {', '.join(alike[each] for each in close)}. " if close else ""
        return EngineError(
            f"The adapter {self.folder.name} changes {key}, for which the model has no tensor {name}.",
            f"{hint}Give the model that it was trained on.",
        )

    def _refused(self, what: str, hint: str) -> EngineError:
        return EngineError(f"The adapter {self.folder.name} {what}.", hint)


def _inside(path: str) -> str:
    """A path without what training programs wrap around the thinker."""
    while (bare := path.removeprefix(next((o for o in _OUTER if path.startswith(o)), ""))) != path:
        path = bare
    return path


def _natural(name: str) -> list[str | int]:
    """Sorts `layers.2` before `layers.10`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _numberless(name: str) -> str:
    return re.sub(r"\d+", "N", name)
