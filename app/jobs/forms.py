"""A form from a kind's settings: one widget a field, by its type and its hints.

`json_schema_extra` of a field: `widget` (dataset, datasets, free_form, prompts, endpoints, splits, families,
integers, training, adapter), `advanced` (folded away), `unit` (behind the title), and the name of another
field with the value that this one is for.
Knows nothing about what the settings mean.
"""

from __future__ import annotations

import json
import shlex
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

import streamlit as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from streamlit.delta_generator import DeltaGenerator

from app import session
from app.session import plain
from audioreason.errors import LabError
from audioreason.inference.endpoint import load_endpoints
from audioreason.items import list_datasets
from audioreason.items.splits import split_names

_NAME = "Use letters without accents, digits, dots, dashes and underscores; begin with a letter or digit"


class _Wrong(ValueError):
    """What was typed is not of the field's type; the text is the sentence."""


class Form:
    """A form on `start`; `values` is what it holds now, `problems` a sentence for each field that is wrong.

    Widgets remember what is typed under `key`: another key gives a form that begins at `start` again.
    """

    def __init__(self, spec: type[BaseModel], start: Mapping[str, Any], key: str) -> None:
        self.spec = spec
        self.key = key
        self.values = {name: field.get_default(call_default_factory=True) for name, field in _fields(spec)}
        self.values |= {name: value for name, value in start.items() if name in self.values}
        self.problems: dict[str, str] = {}
        self._boxes: dict[str, DeltaGenerator] = {}

    def draw(self) -> None:
        """Draw the widgets, and under each what is wrong with it."""
        plain_fields = [(n, f) for n, f in _in_order(self.spec) if not _hints(f).get("advanced")]
        advanced = [(n, f) for n, f in _in_order(self.spec) if _hints(f).get("advanced")]
        self._grid(plain_fields)
        if any(self._is_meant(field) for _, field in advanced):
            with st.expander("More settings", key=f"{self.key}_more"):
                self._grid(advanced)
        self._check()
        for name, sentence in self.problems.items():
            if name in self._boxes:
                self._boxes[name].markdown(f":small[:red[{plain(sentence)}]]")

    def _grid(self, fields: Sequence[tuple[str, FieldInfo]]) -> None:
        columns: Sequence[DeltaGenerator] = ()
        place = 0
        for name, field in fields:
            if not self._is_meant(field):
                continue
            if place % 2 == 0:
                columns = st.columns(2, gap="medium")
            box = self._boxes[name] = columns[place % 2].container(gap="xsmall")
            place += 1
            with box:
                try:
                    self.values[name] = self._widget(name, field)
                except _Wrong as error:
                    self.problems[name] = str(error)

    def _is_meant(self, field: FieldInfo) -> bool:
        """Whether the field has a meaning beside the values of the others."""
        return all(self.values[other] == value for other, value in _conditions(self.spec, field))

    def _check(self) -> None:
        try:
            self.spec.model_validate(self.values)
        except ValidationError as error:
            for one in error.errors(include_url=False, include_input=False):
                name = str(one["loc"][0]) if one["loc"] else ""
                message = str(one["msg"]).removeprefix("Value error, ")
                if one["type"] == "string_pattern_mismatch":  # every pattern here is that of a name
                    message = _NAME
                if not name:  # it stands alone, not under a field
                    message = message[:1].upper() + message[1:]
                self.problems.setdefault(name, f"{message.rstrip('.')}.")
        except LabError as error:
            self.problems.setdefault("", str(error))

    def _widget(self, name: str, field: FieldInfo) -> Any:
        label, help_text = title(name, field), field.description
        key, value = f"{self.key}_{name}", self.values[name]
        chosen = _WIDGETS.get(str(_hints(field).get("widget")))
        if chosen is not None:
            return chosen(label, value, key, help_text, self.values)
        kind, optional = _bare(field.annotation)
        if get_origin(kind) is Literal:
            options = list(get_args(kind))
            return st.selectbox(
                label, options, index=options.index(value), key=key, help=help_text, format_func=_option
            )
        if kind is bool:
            st.space(28)
            return st.toggle(label, value=bool(value), key=key, help=help_text)
        if kind in (int, float):
            return _number(label, value, key, help_text, kind, field, optional)
        if kind is str:
            return st.text_input(label, value=value or "", key=key, help=help_text).strip()
        if get_origin(kind) is list and get_origin(get_args(kind)[0]) is Literal:
            return st.multiselect(label, get_args(get_args(kind)[0]), default=value, key=key, help=help_text)
        if get_origin(kind) is list:
            return _words(label, value, key, help_text)
        return _json(label, value, key, help_text)


def title(name: str, field: FieldInfo) -> str:
    """The field's name for people, with its unit."""
    unit = _hints(field).get("unit")
    words = field.title or name.replace("_", " ").capitalize()
    return f"{words} ({unit})" if unit and str(unit).lower() not in words.lower() else words


def _fields(spec: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return list(spec.model_fields.items())


def _in_order(spec: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    """The fields as they are declared, but each after those that decide whether it is shown."""
    placed: dict[str, FieldInfo] = {}
    for name, field in _fields(spec):
        for other, _ in _conditions(spec, field):
            placed.setdefault(other, spec.model_fields[other])
        placed.setdefault(name, field)
    return list(placed.items())


def _hints(field: FieldInfo) -> dict[str, Any]:
    return dict(field.json_schema_extra) if isinstance(field.json_schema_extra, dict) else {}


def _conditions(spec: type[BaseModel], field: FieldInfo) -> list[tuple[str, Any]]:
    return [(hint, value) for hint, value in _hints(field).items() if hint in spec.model_fields]


def _bare(annotation: Any) -> tuple[Any, bool]:
    """The type without None, and whether None is allowed."""
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [part for part in get_args(annotation) if part is not type(None)]
        return (rest[0] if len(rest) == 1 else str), len(rest) < len(get_args(annotation))
    return annotation, False


def _option(value: Any) -> str:
    return str(value) or "none"


def _number(
    label: str, value: Any, key: str, help_text: str | None, kind: type, field: FieldInfo, optional: bool
) -> Any:
    low = next((m.ge for m in field.metadata if hasattr(m, "ge")), None)
    high = next((m.le for m in field.metadata if hasattr(m, "le")), None)
    made = st.number_input(
        label,
        value=None if value is None else kind(value),
        min_value=None if low is None else kind(low),
        max_value=None if high is None else kind(high),
        step=1 if kind is int else 0.05,
        format="%d" if kind is int else "%g",
        key=key,
        help=help_text,
        placeholder="not set" if optional else None,
    )
    if made is None and not optional:
        raise _Wrong("Enter a number.")
    return made


def _words(label: str, value: Any, key: str, help_text: str | None) -> list[str]:
    text = st.text_input(label, value=shlex.join(map(str, value or [])), key=key, help=help_text)
    try:
        return shlex.split(text)
    except ValueError as error:
        raise _Wrong(f"{error}: quotes come in pairs.") from error


def _json(label: str, value: Any, key: str, help_text: str | None) -> Any:
    text = st.text_input(label, value=json.dumps(value, ensure_ascii=False), key=key, help=help_text)
    try:
        return json.loads(text)
    except ValueError as error:
        raise _Wrong("This is not JSON.") from error


def _dataset(label: str, value: Any, key: str, help_text: str | None, values: Mapping[str, Any]) -> str:
    known = [row.name for row in list_datasets(session.workspace()) if not row.problem]
    options = list(dict.fromkeys([*known, value]))
    return str(st.selectbox(label, options, index=options.index(value), key=key, help=help_text))


def _datasets(
    label: str, value: Any, key: str, help_text: str | None, values: Mapping[str, Any]
) -> list[str]:
    known = [row.name for row in list_datasets(session.workspace()) if not row.problem]
    return _several(label, known, value, key, help_text, others=True)


def _free_form(label: str, value: Any, key: str, help_text: str | None, values: Mapping[str, Any]) -> str:
    from audioreason.acquire import free_form

    return _or_typed(label, list(free_form(session.workspace())), value, key, help_text)


def _training(label: str, value: Any, key: str, help_text: str | None, values: Mapping[str, Any]) -> str:
    files = (session.workspace().root / "training").glob("*.jsonl")
    return _or_typed(label, sorted(file.stem for file in files), value, key, help_text)


def _adapter(label: str, value: Any, key: str, help_text: str | None, values: Mapping[str, Any]) -> str:
    folders = session.workspace().adapters.glob("*/adapter_config.json")
    return _or_typed(label, sorted(str(file.parent) for file in folders), value, key, help_text)


def _or_typed(label: str, known: Sequence[str], value: Any, key: str, help_text: str | None) -> str:
    """One of those that are known, or whatever is typed."""
    options = list(dict.fromkeys([*known, *([str(value)] if value else [])]))
    if not options:
        return st.text_input(label, key=key, help=help_text).strip()
    chosen = st.selectbox(
        label,
        options,
        index=options.index(str(value)) if value else None,
        key=key,
        help=help_text,
        accept_new_options=True,
        placeholder="none",
        format_func=lambda option: option.rpartition("/")[2],
    )
    return (chosen or "").strip()


def _prompts(label: str, value: Any, key: str, help_text: str | None, values: Mapping[str, Any]) -> list[str]:
    return _several(label, session.prompts(), value, key, help_text)


def _endpoints(
    label: str, value: Any, key: str, help_text: str | None, values: Mapping[str, Any]
) -> list[str]:
    saved = [endpoint.name for endpoint in load_endpoints(session.workspace())]
    return _several(label, ["default", "embedded", *saved], value, key, help_text, others=True)


def _splits(label: str, value: Any, key: str, help_text: str | None, values: Mapping[str, Any]) -> list[str]:
    try:
        kind = session.dataset(values["dataset"]).info.kind
    except (KeyError, LabError):  # the preview says what is wrong with the dataset
        return _several(label, ["full"], value, key, help_text)
    options = ["full", *split_names(kind)]
    fitting = [split for split in value if split in options] or ["full"]
    return _several(label, options, fitting, f"{key}_{kind}", help_text)


def _families(
    label: str, value: Any, key: str, help_text: str | None, values: Mapping[str, Any]
) -> list[str]:
    from audioreason.soundcheck.registry import families

    return _several(label, families(), value, key, help_text, placeholder="all that may train a model")


def _several(
    label: str,
    known: Any,
    value: Sequence[str],
    key: str,
    help_text: str | None,
    others: bool = False,
    placeholder: str | None = None,
) -> list[str]:
    options = list(dict.fromkeys([*known, *value]))
    return st.multiselect(
        label,
        options,
        default=list(value),
        key=key,
        help=help_text,
        accept_new_options=others,
        placeholder=placeholder,
    )


def _integers(
    label: str, value: Any, key: str, help_text: str | None, values: Mapping[str, Any]
) -> list[int]:
    text = st.text_input(label, value=", ".join(map(str, value)), key=key, help=help_text)
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise _Wrong("Enter whole numbers, such as 0, 1, 2.") from error


_WIDGETS: dict[str, Callable[[str, Any, str, str | None, Mapping[str, Any]], Any]] = {
    "dataset": _dataset,
    "datasets": _datasets,
    "free_form": _free_form,
    "prompts": _prompts,
    "endpoints": _endpoints,
    "splits": _splits,
    "families": _families,
    "training": _training,
    "adapter": _adapter,
    "integers": _integers,
}
