"""MMAR's submission: one JSON object a line with `id`, `thinking_prediction` and `answer_prediction`.

A file is checked before it is written and may be checked wherever it comes from; the form is that of the
Interspeech 2026 Audio Reasoning Challenge (audio-reasoning-challenge.github.io/leaderboard), which takes a
`thinking_prediction` of fewer than 10,000 characters. Knows nothing about judges.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import orjson

from audioreason.answers import Parsed, RawResponse, official_match, read, resolve
from audioreason.errors import RunError
from audioreason.items import Dataset, Item
from audioreason.runs.record import load_record, run_folder
from audioreason.runs.snapshot import read_items
from audioreason.runs.storage import merged_predictions
from audioreason.workspace import Workspace, write_atomic

FIELDS = ("id", "thinking_prediction", "answer_prediction")
FILE_NAMES = ("result.jsonl", "prediction.jsonl")  # in a zip: as handed in, and as the baselines write it
MOST_CHARACTERS = 9_999  # of a thinking_prediction
_CUT = "\n[...]\n"  # where thoughts were shortened
_LARGEST = 1 << 28  # bytes of the file, also after unpacking
_STATED = 30  # characters around a choice that only state it, such as "The answer is (B) ..."
_NAMED = 3  # places named in a summary sentence
_ZIP_TIME = (2020, 1, 1, 0, 0, 0)  # the same answers make the same bytes

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a submission. An error would be refused or lose points for its form alone."""

    level: Level
    where: str
    sentence: str


@dataclass(frozen=True)
class Checked:
    """A checked submission: `lines` in the file, `items` in the dataset, and how it would score.

    `official` and `strict` are fractions of all items of the dataset; what is missing counts as wrong.
    """

    lines: int
    items: int
    official: float
    strict: float
    problems: tuple[Problem, ...]

    @property
    def valid(self) -> bool:
        """Whether there is no error."""
        return not any(problem.level == "error" for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data, for `--json`."""
        return {**asdict(self), "valid": self.valid}


@dataclass(frozen=True)
class Submission:
    """A run in the form of a submission, checked: `jsonl` is the file's bytes, whether it is valid or not."""

    checked: Checked
    jsonl: bytes

    def packed(self, name: str = FILE_NAMES[0]) -> bytes:
        """The file in a zip, under a name; the same answers make the same bytes."""
        return _zipped(self.jsonl, name)


def check_submission(file: Path, dataset: Dataset) -> Checked:
    """Check a submission, `.jsonl` or a `.zip` that holds one, against the items it must answer.

    Raises:
        RunError: if the file cannot be read or unpacked at all.
    """
    return check_rows(_read(file), dataset)


def check_rows(lines: Iterable[tuple[str, bytes]], dataset: Dataset) -> Checked:
    """As `check_submission`, for lines that are already here, each with its place."""
    problems: list[Problem] = []
    answers: dict[str, Mapping[str, str]] = {}
    seen: Counter[str] = Counter()
    count = 0
    for where, line in lines:
        if not line.strip():
            continue
        count += 1
        row = _row(where, line, problems)
        if row is None:
            continue
        seen[row["id"]] += 1
        answers.setdefault(row["id"], row)
    known = {item.id: item for item in dataset.items}
    problems += _about_ids(seen, known, dataset.info.name)
    if too_long := {i: len(row["thinking_prediction"]) for i, row in answers.items() if _too_long(row)}:
        longest = max(too_long.values())
        problems.append(
            Problem(
                "error",
                "thinking_prediction",
                f"{len(too_long)} predictions have reasoning of 10,000 characters or more, and the challenge"
                f" refuses it ({_some(list(too_long))}; the longest has {longest:,}).",
            )
        )
    official = strict = unclear = 0
    quoting: list[str] = []
    for item_id, given in answers.items():
        item = known.get(item_id)
        if item is None:
            continue
        answer = given["answer_prediction"]
        resolution = resolve(answer, item.choices)
        right = resolution.index is not None and resolution.index == item.gold
        matched = official_match(answer, item.answer, item.choices)
        official, strict = official + matched, strict + right
        unclear += resolution.index is None
        if right and not matched:
            quoting.append(item_id)
    if unclear:
        problems.append(
            Problem("warning", "answer_prediction", f"{unclear} answers name no choice, or more than one.")
        )
    if quoting:
        problems.append(
            Problem(
                "warning",
                "answer_prediction",
                f"{len(quoting)} answers name the right choice in words that the official match calls wrong"
                f" ({_some(quoting)}): answer with the choice's own text.",
            )
        )
    silent = [item_id for item_id, one in answers.items() if not one["thinking_prediction"].strip()]
    if silent:
        problems.append(
            Problem(
                "warning",
                "thinking_prediction",
                f"{len(silent)} predictions have no reasoning ({_some(silent)}): their process score is low.",
            )
        )
    total = len(dataset.items)
    return Checked(count, total, official / max(total, 1), strict / max(total, 1), tuple(problems))


def make_submission(
    workspace: Workspace, run_id: str, dataset: Dataset, sample: int | None = None, shorten: bool = False
) -> Submission:
    """A run as a submission, with all that is wrong with it.

    An answer that states one choice is written as that choice's own text, so that "(B) text" is not called
    wrong for its letter; any other stays as the model wrote it.

    Args:
        workspace: where the run is.
        run_id: which run.
        dataset: what it answers.
        sample: which sample of each item counts, from 0; None if there is one.
        shorten: cut the middle out of reasoning that is too long. Answers are never cut.

    Raises:
        RunError: if the run is unknown, was made on another dataset, or is a control, or no such sample is
            in it, or it has several and none was chosen.
    """
    record = load_record(workspace, run_id)
    if record.dataset.name != dataset.info.name:
        raise RunError(
            f"The run {run_id} was made on {record.dataset.name}, not on {dataset.info.name}.",
            "Name the run's dataset.",
        )
    if record.permutation or record.ablation:
        raise RunError(
            f"The run {run_id} is a control (other order of choices, or no clip).", "Submit a plain run."
        )
    samples = record.samples
    if sample is None and samples > 1:
        raise RunError(
            f"The run {run_id} has {samples} samples of each item, and a submission holds one.",
            f"Choose it with --sample, 0 to {samples - 1}.",
        )
    if sample is not None and not 0 <= sample < samples:
        raise RunError(
            f"The run {run_id} has no sample {sample}.",
            f"Its samples are 0 to {samples - 1}." if samples > 1 else "Its only sample is 0.",
        )
    rows, cut = [], []
    for item, thinking, answer in handed_in(workspace, run_id, sample or 0):
        if shorten and len(thinking) > MOST_CHARACTERS:
            cut.append(item.id)
            thinking = _shortened(thinking)
        rows.append(orjson.dumps(dict(zip(FIELDS, (item.id, thinking, answer), strict=True))))
    checked = check_rows(((f"line {n}", row) for n, row in enumerate(rows, 1)), dataset)
    if cut:
        said = f"The reasoning of {len(cut)} predictions was shortened ({_some(cut)})."
        problem = Problem("warning", "thinking_prediction", said)
        checked = replace(checked, problems=(*checked.problems, problem))
    return Submission(checked, b"".join(row + b"\n" for row in rows))


def write_submission(
    workspace: Workspace,
    run_id: str,
    dataset: Dataset,
    path: Path,
    sample: int | None = None,
    shorten: bool = False,
    name: str = FILE_NAMES[0],
) -> Checked:
    """Write a run as a submission to `path` (`.jsonl`, or `.zip` with the JSONL in it), if it is valid.

    Args:
        workspace: where the run is.
        run_id: which run.
        dataset: what it answers.
        path: the file.
        sample: as in `make_submission`.
        shorten: as in `make_submission`.
        name: of the file in the zip.

    Raises:
        RunError: as `make_submission`, and if it would not be valid; nothing is written.
        WorkspaceError: if `path` cannot be written.
    """
    made = make_submission(workspace, run_id, dataset, sample, shorten)
    if not made.checked.valid:
        first = next(problem for problem in made.checked.problems if problem.level == "error")
        asked, whole = load_record(workspace, run_id).n_items, len(dataset.items)
        if first.where == "thinking_prediction":
            hint = "Shorten it with --shorten: the middle of the reasoning is cut, and no answer is changed."
        elif asked < whole:
            hint = f"It was asked {asked} of the {whole} items: make a run of all."
        else:
            hint = f"Ask for what is missing with: audioreason eval --run-id {run_id} --resume"
        raise RunError(f"The run {run_id} is no valid submission: {first.sentence}", hint)
    write_atomic(path, made.packed(name) if path.suffix.lower() == ".zip" else made.jsonl)
    return made.checked


def handed_in(workspace: Workspace, run_id: str, sample: int = 0) -> Iterator[tuple[Item, str, str]]:
    """Each answered item of a run with the reasoning and the answer that a submission of a sample would hold.

    Raises:
        RunError: if the run is unknown.
    """
    sections = load_record(workspace, run_id).expected_sections
    folder = run_folder(workspace, run_id)
    items = {item.id: item for item in read_items(folder)}
    for prediction in merged_predictions(folder, [(item_id, sample) for item_id in items]):
        if prediction.sample != sample or prediction.error is not None:
            continue
        raw = RawResponse(prediction.content, prediction.reasoning, prediction.finish_reason)
        item = items[prediction.item_id]
        reading = read(raw, item.choices, sections)
        parsed, index = reading.parsed, reading.resolution.index
        answer = parsed.answer if index is None else item.choices[index].strip()
        yield item, _reasoning(parsed, item), answer


def _reasoning(parsed: Parsed, item: Item) -> str:
    """Thinking and every section but the answer; of an answer without sections all of it, if it holds more
    than the answer."""
    told = [f"{name}: {text}" for name, text in parsed.sections.items() if name != "ANSWER" and text.strip()]
    longest = max(map(len, item.choices), default=0)
    if not parsed.sections and len(parsed.visible.strip()) > longest + _STATED:
        told = [parsed.visible.strip()]
    return "\n\n".join(part for part in (parsed.thinking.strip(), *told) if part)


def _too_long(row: Mapping[str, str]) -> bool:
    return len(row["thinking_prediction"]) > MOST_CHARACTERS


def _shortened(thinking: str) -> str:
    """Reasoning that is too long without its middle: the answer follows from its end."""
    kept = MOST_CHARACTERS - len(_CUT)
    return f"{thinking[: kept - kept // 2]}{_CUT}{thinking[-(kept // 2) :]}"


def _read(file: Path) -> Iterator[tuple[str, bytes]]:
    try:
        if file.stat().st_size > _LARGEST:
            raise RunError(f"{file} is larger than {_LARGEST >> 20} MiB.", "Is it the right file?")
        data = file.read_bytes()
    except OSError as error:
        raise RunError(f"{file} cannot be read ({error.strerror or error}).", "Check the path.") from error
    if data[:4] == b"PK\x03\x04":
        data = _unzipped(file, data)
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        yield f"line {number}", line


def _unzipped(file: Path, data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [info for info in archive.infolist() if not info.is_dir()]
            tables = [
                info for info in names if info.filename.endswith(".jsonl") and not _of_mac(info.filename)
            ]
            called = [info for info in tables if PurePosixPath(info.filename).name in FILE_NAMES]
            tables = called if len(called) == 1 else tables
            if len(tables) != 1:
                raise RunError(
                    f"{file} holds {len(tables)} files .jsonl, and must hold one.",
                    "Pack the one that counts.",
                )
            if tables[0].file_size > _LARGEST:
                raise RunError(f"{file} unpacks to more than {_LARGEST >> 20} MiB.", "Is it the right file?")
            return archive.read(tables[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # damaged, or has a password
        raise RunError(f"{file} cannot be unpacked ({error}).", "Pack it again.") from error


def _of_mac(name: str) -> bool:
    """Whether a file of a zip is macOS's own note about another."""
    path = PurePosixPath(name)
    return path.parts[0] == "__MACOSX" or path.name.startswith("._")


def _zipped(data: bytes, name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _row(where: str, line: bytes, problems: list[Problem]) -> dict[str, str] | None:
    def wrong(sentence: str) -> None:
        problems.append(Problem("error", where, sentence))

    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        wrong(f"It is not JSON ({error.msg}).")
        return None
    if not isinstance(value, dict):
        wrong("It is not an object with id, thinking_prediction and answer_prediction.")
        return None
    for name in FIELDS:
        if name not in value:
            wrong(f"It has no {name}.")
            return None
        if not isinstance(value[name], str):
            wrong(f"Its {name} is not text.")
            return None
    if not value["id"].strip():
        wrong("Its id is empty.")
        return None
    if not value["answer_prediction"].strip():
        problems.append(Problem("warning", where, f"The answer to {value['id']} is empty."))
    if further := sorted(set(value) - set(FIELDS)):
        problems.append(Problem("warning", where, f"It has further fields: {', '.join(further)}."))
    return {name: value[name] for name in FIELDS}


def _about_ids(seen: Counter[str], known: Mapping[str, Any], dataset: str) -> Iterator[Problem]:
    groups = (
        ([item_id for item_id in seen if item_id not in known], f"are no items of {dataset}"),
        ([item_id for item_id, count in seen.items() if count > 1], "are answered more than once"),
        ([item_id for item_id in known if item_id not in seen], "have no prediction"),
    )
    for ids, what in groups:
        if ids:
            yield Problem("error", "id", f"{len(ids)} ids {what}: {_some(ids)}.")


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_NAMED]) + (f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "")
