"""Logs of other evaluation tools, read and written: Inspect's (`.json`, `.eval`) and lmms-eval's samples.

Whatever a log says about an item is held against the item itself: its choices may have been asked in another
order, and a letter means the choice that stood there then. Knows those forms (Inspect 0.3, log version 2;
lmms-eval 0.7); making a run of them belongs to `transfer`.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from audioreason.errors import RunError
from audioreason.items import Dataset, Item
from audioreason.items.rows import COLUMNS
from audioreason.json_text import read_json
from audioreason.runs.derive import Scored
from audioreason.runs.record import EndpointRef, Prediction, RunRecord

_ZSTANDARD = 93  # a zip entry's compression, which Python's zipfile knows from 3.14 on
_LONGEST_LINE = 64 << 20  # bytes
_LARGEST = 1 << 30  # bytes of one unpacked entry
_STOPS = {"max_tokens": "length", "model_length": "length"}  # Inspect's word -> the chat API's
_LETTERED = re.compile(r"^\s*\(?([A-Z])[.):]\s*(.*?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Told:
    """One prediction as a log tells it. `item` has its choices in the order in which they were asked.

    `item` is None where the log's item is none of the dataset; then `name` is what the log calls it.
    """

    name: str
    item: Item | None
    prediction: Prediction


@dataclass(frozen=True)
class Log:
    """What a log holds: who answered, at which temperature (None: not said), and every prediction."""

    tool: str
    model: str
    temperature: float | None
    told: tuple[Told, ...]

    @property
    def endpoint(self) -> EndpointRef | None:
        """Who answered, if the log says."""
        return (
            EndpointRef(name=self.tool, base_url="", model=self.model, transport="") if self.model else None
        )


def read_log(file: Path, dataset: Dataset) -> Log | None:
    """The log in a file, told by its content; None if it is neither tool's.

    Raises:
        RunError: if it is one, but cannot be understood.
    """
    with _opened(file), file.open("rb") as opened:
        head = opened.read(4096).removeprefix(b"\xef\xbb\xbf")
        opened.seek(0)
        # a thinking model's samples are long: the keys may come after the first few pages
        first = opened.readline(_LONGEST_LINE) if head.lstrip().startswith(b"{") else b""
    if head.startswith(b"PK\x03\x04"):
        return _inspect(file, *_entries(file), dataset)
    if head.lstrip().startswith(b"{"):
        if b'"doc_id"' in first and (b'"filtered_resps"' in first or b'"resps"' in first):
            return _lmms(file, dataset)
        if b'"version"' in head and b'"eval"' in head:
            value = _loads(file, file.read_bytes())
            return _inspect(file, value, value.get("samples") or [], dataset)
    return None


def inspect_log(
    record: RunRecord, items: Sequence[Item], scored: Mapping[tuple[str, int], tuple[Prediction, Scored]]
) -> bytes:
    """A run as an Inspect log (JSON, version 2); every score is there as `strict` and as `official`.

    Audio stays outside: a sample's metadata name its clip.
    """
    samples = [
        _sample(record, item, *scored[item.id, sample])
        for item in items
        for sample in range(record.samples)
        if (item.id, sample) in scored
    ]
    model = record.endpoint.model if record.endpoint and record.endpoint.model else "unknown"
    prompt = record.prompt
    log = {
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": record.run_id,
            "run_id": record.run_id,
            "created": record.created.isoformat(timespec="seconds"),
            "task": record.dataset.name,
            "task_id": record.dataset.hash,
            "dataset": {
                "name": record.dataset.name,
                "samples": len(items),
                "sample_ids": [item.id for item in items],
            },
            "model": model,
            "model_generate_config": _generation(record),
            "config": {"epochs": record.samples},
            "packages": {"audioreason": record.packages.get("audioreason", "")},
            "metadata": {
                "dataset_hash": record.dataset.hash,
                "prompt": prompt.name if prompt else None,
                "prompt_version": prompt.version if prompt else None,
                "split": record.split,
            },
        },
        "results": {
            "total_samples": len(samples),
            "completed_samples": sum("error" not in sample for sample in samples),
            "scores": [_result(name, [getattr(one, name) for _, one in scored.values()]) for name in _SCORES],
        },
        "samples": samples,
    }
    return orjson.dumps(log, option=orjson.OPT_INDENT_2)


_SCORES = ("strict", "official")


def _result(name: str, values: Sequence[bool | None]) -> dict[str, Any]:
    given = [value for value in values if value is not None]
    accuracy = sum(given) / len(given) if given else 0.0
    return {
        "name": name,
        "scorer": name,
        "scored_samples": len(given),
        "unscored_samples": len(values) - len(given),
        "metrics": {"accuracy": {"name": "accuracy", "value": accuracy}},
    }


def _generation(record: RunRecord) -> dict[str, Any]:
    sampling = record.sampling
    if sampling is None:
        return {}
    values = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "max_tokens": sampling.max_tokens,
        "seed": record.seed,
    }
    return {name: value for name, value in values.items() if value is not None}


def _sample(record: RunRecord, item: Item, prediction: Prediction, score: Scored) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if prediction.reasoning:
        content.append({"type": "reasoning", "reasoning": prediction.reasoning})
    content.append({"type": "text", "text": prediction.content or ""})
    message = {"role": "assistant", "content": content, "source": "generate"}
    used = [prediction.prompt_tokens or 0, prediction.completion_tokens or 0]
    model = record.endpoint.model if record.endpoint else ""
    sample = {
        "id": item.id,
        "epoch": prediction.sample + 1,
        "input": item.question,
        "choices": list(item.choices),
        "target": item.answer if item.gold is None else _letter(item.gold),
        "messages": [{"role": "user", "content": item.question}, message],
        "output": {
            "model": model,
            "choices": [
                {
                    "message": message,
                    "stop_reason": "max_tokens" if prediction.finish_reason == "length" else "stop",
                }
            ],
            "completion": prediction.content or "",
            "usage": {"input_tokens": used[0], "output_tokens": used[1], "total_tokens": sum(used)},
            "time": prediction.seconds,
        },
        "metadata": {
            "layer": item.layer,
            "subcategory": item.subcategory,
            "clip": item.audio_path,
            "outcome": score.outcome,
            "tokens_estimated": prediction.tokens_estimated,
        },
    }
    if prediction.error is not None:
        error = {"message": prediction.error, "traceback": "", "traceback_ansi": ""}
        return {**sample, "error": error}
    letter = "" if score.choice is None else _letter(score.choice)
    sample["scores"] = {
        name: {"value": "C" if getattr(score, name) else "I", "answer": letter, "explanation": score.answer}
        for name in _SCORES
    }
    return sample


def _letter(index: int) -> str:
    """Inspect's name of a choice: A to Z, then 1, 2 ..."""
    return chr(ord("A") + index) if index < 26 else str(index - 25)


# ---- Inspect, read ----------------------------------------------------------------------------------------


def _inspect(file: Path, header: Mapping[str, Any], samples: Sequence[Any], dataset: Dataset) -> Log:
    spec = header.get("eval")
    if not isinstance(spec, dict) or header.get("version") != 2:
        raise RunError(f"{file} is no Inspect log of version 2.", "Convert it with: inspect log convert")
    told = []
    known = {item.id: item for item in dataset.items}
    for number, sample in enumerate(samples, 1):
        where = f"{file}, sample {number},"
        if not isinstance(sample, dict) or "id" not in sample:
            raise RunError(f"{where} has no id.", "Nothing was imported.")
        name = str(sample["id"])
        item = known.get(name)
        if item is not None:
            item = _in_order(item, [str(choice) for choice in sample.get("choices") or ()], where)
        told.append(Told(name, item, _inspect_prediction(name, sample)))
    config = spec.get("model_generate_config") or {}
    return Log("inspect", str(spec.get("model") or ""), config.get("temperature"), tuple(told))


def _inspect_prediction(name: str, sample: Mapping[str, Any]) -> Prediction:
    epoch = int(sample.get("epoch") or 1) - 1
    output = sample.get("output") or {}
    choices = output.get("choices") or []
    error = (sample.get("error") or {}).get("message") or output.get("error")
    created = sample.get("completed_at") or None
    if error or not choices:
        return Prediction(
            name, epoch, error=str(error or "The log has no answer."), error_kind="imported", created=created
        )
    content = choices[0].get("message", {}).get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    reasoning = "\n".join(part.get("reasoning") or "" for part in parts if part.get("type") == "reasoning")
    usage = output.get("usage") or {}
    stop = choices[0].get("stop_reason") or "stop"
    return Prediction(
        name,
        epoch,
        content="".join(part.get("text") or "" for part in parts if part.get("type") == "text"),
        reasoning=reasoning or None,
        finish_reason=_STOPS.get(stop, stop),
        prompt_tokens=usage.get("input_tokens"),
        completion_tokens=usage.get("output_tokens"),
        tokens_estimated=(sample.get("metadata") or {}).get("tokens_estimated") is True,
        seconds=output.get("time"),
        created=created,
    )


def _entries(file: Path) -> tuple[dict[str, Any], list[Any]]:
    """Header and samples of an `.eval` archive."""
    with _opened(file), zipfile.ZipFile(file) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        header = infos.get("header.json") or infos.get("_journal/start.json")
        if header is None:
            raise RunError(f"{file} is a zip, but no Inspect log.", "Is it the right file?")
        names = sorted(name for name in infos if name.startswith("samples/") and name.endswith(".json"))
        return _loads(file, _entry(archive, header)), [
            _loads(file, _entry(archive, infos[name])) for name in names
        ]


def _entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """An unpacked entry, also of Zstandard, which Inspect writes."""
    if info.file_size > _LARGEST:
        raise RunError(f"{info.filename} unpacks to more than {_LARGEST >> 30} GiB.", "Is the file damaged?")
    if info.compress_type != _ZSTANDARD:
        return archive.read(info)
    stream = archive.fp
    if stream is None:
        raise zipfile.BadZipFile("closed")
    stream.seek(info.header_offset + 26)  # the local header's name and extra field come before the data
    lengths = stream.read(4)
    stream.seek(int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little"), 1)
    packed = pa.BufferReader(stream.read(info.compress_size))
    return bytes(pa.CompressedInputStream(packed, "zstd").read())


# ---- lmms-eval, read --------------------------------------------------------------------------------------


def _lmms(file: Path, dataset: Dataset) -> Log:
    told = []
    for number, line in enumerate(file.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{file}, line {number},"
        row = _loads(where, line)
        item = _asked(row, dataset)
        replies = row.get("resps", row.get("filtered_resps"))
        replies = _flat(replies)
        if not replies:
            raise RunError(f"{where} has no response.", "Nothing was imported.")
        name = item.id if item else f"document {row.get('doc_id')}"
        told += [Told(name, item, Prediction(name, n, content=text)) for n, text in enumerate(replies)]
    return Log("lmms-eval", "", None, tuple(told))


def _flat(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for one in value for text in _flat(one)] if isinstance(value, list) else []


def _asked(row: Mapping[str, Any], dataset: Dataset) -> Item | None:
    """The item whose question and choices stand in what was asked; a document number alone proves nothing."""
    own = _of_document(row.get("doc"), dataset)
    asked = str(row.get("input") or "")
    number = row.get("doc_id")
    likely = [dataset.items[number]] if isinstance(number, int) and 0 <= number < len(dataset.items) else []
    for item in (*own, *likely, *dataset.items):
        if item.question.strip() in asked and all(choice.strip() in asked for choice in item.choices):
            lettered = [text for _, text in _LETTERED.findall(asked)]
            order = [choice for text in lettered for choice in item.choices if choice.strip() == text.strip()]
            return _in_order(item, order, "") if sorted(order) == sorted(item.choices) else item
    return own[0] if own else None


def _of_document(doc: Any, dataset: Dataset) -> list[Item]:
    """The one item that a document (the dataset's own row) has the id and the question of; else none."""
    if not isinstance(doc, Mapping):
        return []
    plain = {str(key).lower(): value for key, value in doc.items()}
    given = {str(plain[name]) for name in COLUMNS["id"] if plain.get(name) is not None}
    own = [item for item in dataset.items if item.id in given]
    same = len(own) == 1 and str(plain.get("question")).strip() == own[0].question.strip()
    return own if same else []


def _in_order(item: Item, choices: Sequence[str], where: str) -> Item:
    """The item with its choices as they were asked.

    Raises:
        RunError: if other choices were asked.
    """
    if not choices or tuple(choices) == item.choices:
        return item
    stripped = {choice.strip(): choice for choice in item.choices}
    if sorted(choice.strip() for choice in choices) != sorted(stripped):
        raise RunError(
            f"{where} asked {item.id} with other choices than the dataset has.",
            "Nothing was imported. Is it another version of the dataset?",
        )
    return item.model_copy(update={"choices": tuple(stripped[choice.strip()] for choice in choices)})


@contextmanager
def _opened(file: Path) -> Iterator[None]:
    """Turns what can go wrong with a file into a sentence."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, pa.ArrowException, RuntimeError, ValueError, EOFError) as error:
        raise RunError(f"{file} cannot be unpacked ({error}).", "Copy it anew.") from error
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"{file} cannot be read ({reason}).", "Check the path.") from error


def _loads(where: object, raw: bytes) -> Any:
    try:
        value = read_json(raw.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        raise RunError(f"{where} is not JSON ({error}).", "Nothing was imported; correct it.") from error
    if not isinstance(value, dict):
        raise RunError(f"{where} is not an object.", "Nothing was imported; correct it.")
    return value
