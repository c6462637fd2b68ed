"""One run from start to end: items -> prompt -> messages -> endpoint -> run folder -> scores.

What everything else is made of: commands, jobs, self-training and the optimiser come through here. Knows the
order of the steps; how each is done belongs to the room that does it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from audioreason.errors import ItemError, RunError, UnansweredError
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.faults import BadAnswer, Retries, ServerFailed, TimedOut
from audioreason.inference.messages import build_messages
from audioreason.inference.pace import read_width, write_width
from audioreason.inference.probe import ready_endpoint
from audioreason.inference.runner import RawRecord, Request, run_batch
from audioreason.inference.seeds import group_seed, sample_seed
from audioreason.items import Dataset, Item, clip_info, prepare_clip
from audioreason.items.controls import Control, control_clip
from audioreason.items.splits import split_items, split_of
from audioreason.items.variants import Ablation, heard, reordered, swapped
from audioreason.progress import Progress, Quiet
from audioreason.prompts import Prompt, Rendered
from audioreason.runs import (
    Prediction,
    RunRecord,
    RunWriter,
    dataset_ref,
    endpoint_ref,
    git_commit,
    load_record,
    new_run_id,
    package_versions,
    prompt_ref,
    read_items,
    run_folder,
    run_status,
    score_run,
)
from audioreason.runs.record import Kind
from audioreason.runs.rendering import render_for
from audioreason.workspace import Workspace

_CONTROLS: Mapping[str, Control] = {"silence": "silence", "noise": "noise"}
SERVER_WAIT = 60.0  # seconds that a server which went away is waited for
_CLIP_THREADS = 4  # decoders release the GIL; more threads only queue at the disk


def evaluate(
    workspace: Workspace,
    dataset: Dataset,
    prompt: Prompt,
    endpoint: Endpoint,
    sampling: Sampling,
    *,
    split: str | None = None,
    limit: int | None = None,
    item_ids: Sequence[str] | None = None,
    run_id: str | None = None,
    resume: bool = False,
    seed: int = 0,
    concurrency: int = 64,
    progress: Progress | None = None,
    allow_missing_audio: bool = False,
    kind: Kind = "eval",
    permutation: int | None = None,
    ablation: Ablation | None = None,
    server_wait_seconds: float = SERVER_WAIT,
) -> RunRecord:
    """Ask the endpoint about every item, keep what it says as a run, and score it.

    Phases of `progress`: prepare (clips), generate (predictions), score. A stop asked for there leaves a run
    that `resume` continues; so does a crash. With `resume`, the run `run_id` continues with what has no
    answer yet, errors included, if its recipe is the same.

    `item_ids` asks about these items of the split alone, in the dataset's order; the record names them.

    An item whose clip is missing or broken is not asked: it gets an error of kind `no_clip` or `bad_clip`.
    `allow_missing_audio` asks about items without a clip all the same, by text alone.

    `permutation` asks with the choices in another order (see `items.variants.reordered`), `ablation` without
    the real clip: with silence or noise of its length, with another item's clip (swap), or by text alone.
    Both are in the record, and the run's items are as they were asked, so answers resolve as they were meant.

    A server that is not there, or starts again, is waited for `server_wait_seconds` each time. If it does not
    come back, refuses everything, or less than half is answered, the run stays stopped, with what came.

    Returns:
        The run's record; `run_status` tells whether it finished.

    Raises:
        ItemError: if the dataset has no such split, or the split no such item; nothing was sent.
        PromptError: if the prompt cannot be rendered for some item; nothing was sent.
        EndpointError: if the server is not there or takes no audio; nothing was sent.
        UnansweredError: if the server stopped answering for good, or less than half of the predictions have
            an answer (the run can be resumed).
        RunError: if the id is taken, another process writes the run, or its recipe differs.
        WorkspaceError: if the disk is full (the run can be resumed).
    """
    progress = progress or Quiet()
    if resume:
        if run_id is None:
            raise RunError("To resume, the run must be named.", "Give its id with --run-id.")
        begun = load_record(workspace, run_id).sampling
        # a run goes on in the groups in which it began, or its seeds would be others
        sampling = sampling.model_copy(update={"per_request": begun.per_request if begun else 1})
        items: Sequence[Item] = read_items(run_folder(workspace, run_id))
    else:
        if run_id is not None:
            check_free(workspace, run_id)
        sampling = sampling.fitted()
        chosen = choose_items(dataset, split, item_ids)[:limit]
        items = _as_asked(chosen, permutation, ablation)
    rendered = {item.id: render_for(prompt, item) for item in items}
    hears = ablation != "text" and any(item.audio_path is not None for item in items)
    retries = Retries(server_wait=server_wait_seconds)
    endpoint = _ready(endpoint, workspace.clips, hears, retries, progress)

    record = RunRecord(
        run_id=run_id or new_run_id(prompt.name),
        created=datetime.now(UTC),
        kind=kind,
        dataset=dataset_ref(dataset),
        split=split,
        limit=limit,
        item_ids=None if item_ids is None else tuple(sorted(set(item_ids))),
        prompt=prompt_ref(prompt),
        endpoint=endpoint_ref(endpoint),
        sampling=sampling,
        seed=seed,
        permutation=permutation,
        ablation=ablation,
        n_items=len(items),
        packages=package_versions(),
        git_commit=git_commit(),
    )
    if resume:
        writer = RunWriter.resume(workspace, record.run_id, expected=record)
    else:
        writer = RunWriter.create(workspace, record, items, split_of(dataset))
    with writer:
        clips = _clips(writer, dataset, workspace.cache, progress, allow_missing_audio)
        if progress.should_stop() or not _generate(
            workspace, writer, rendered, clips, endpoint, concurrency, progress, retries
        ):
            return writer.record
        writer.finish()
    progress.phase("score", len(items))
    score_run(workspace, record.run_id)
    progress.done(len(items))
    return writer.record


def evaluate_orders(
    workspace: Workspace,
    dataset: Dataset,
    prompt: Prompt,
    endpoint: Endpoint,
    sampling: Sampling,
    *,
    orders: int,
    run_id: str | None = None,
    resume: bool = False,
    **options: Any,
) -> list[RunRecord]:
    """Evaluate with the choices in `orders` orders, the published one first: one run each, ID-order0 and on.

    With `resume`, finished runs of the set are kept, stopped ones continue and missing ones are made. A stop
    leaves the rest for later. `options` are those of `evaluate`, which also says what is raised.

    Returns:
        The records of the runs that were made or kept, in order.
    """
    name = run_id or new_run_id(prompt.name)
    records = []
    for order in range(orders):
        one = f"{name}-order{order}"
        folder = run_folder(workspace, one)
        there = resume and folder.is_dir()
        if there and run_status(folder) == "finished":
            records.append(load_record(workspace, one))
            continue
        record = evaluate(
            workspace,
            dataset,
            prompt,
            endpoint,
            sampling,
            run_id=one,
            resume=there,
            permutation=order,
            **options,
        )
        records.append(record)
        if run_status(folder) != "finished":
            break
    return records


def _as_asked(items: Sequence[Item], permutation: int | None, ablation: Ablation | None) -> Sequence[Item]:
    if permutation:
        items = [reordered(item, permutation) for item in items]
    return swapped(items) if ablation == "swap" else items


def choose_items(
    dataset: Dataset, split: str | None, item_ids: Sequence[str] | None = None
) -> tuple[Item, ...]:
    """The items of a split (None: all), or those of them that are named, in the dataset's order.

    Raises:
        ItemError: if there is no such split, none is named, or one that is named is not in it.
    """
    items = split_items(dataset, split)
    if item_ids is None:
        return items
    wanted, there = set(item_ids), {item.id for item in items}
    if missing := sorted(wanted - there):
        where = f"The split {split} of the dataset" if split else "The dataset"
        close = get_close_matches(missing[0], there, n=1)
        raise ItemError(
            f"{where} {dataset.info.name} has no item {missing[0]}"
            + (f", nor {len(missing) - 1} others that are named." if len(missing) > 1 else "."),
            f"Did you mean {close[0]}?" if close else "",
        )
    if not wanted:
        raise ItemError("No item is named.", "Name at least one, or leave the choice out to ask about all.")
    return tuple(item for item in items if item.id in wanted)


def read_item_ids(text: str) -> tuple[str, ...]:
    """Item ids as a person gives them: separated by commas, or a file with one a line or a JSON list.

    Raises:
        ItemError: if the file cannot be read as such.
    """
    path = Path(text).expanduser()
    if "," not in text and path.suffix in (".txt", ".json") and not path.is_file():
        raise ItemError(f"There is no file {text}.", "Name a file with one id a line, or ids with commas.")
    if "," in text or not path.is_file():
        return tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        read = path.read_bytes()
        raw = read.decode("utf-16" if read.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
        named = json.loads(raw) if raw.lstrip().startswith("[") else raw.split("\n")
        if not all(isinstance(one, str) for one in named):
            raise ValueError("not a list of texts")
    except (OSError, ValueError) as error:
        raise ItemError(f"{path} cannot be read as item ids ({error}).", "Write one id a line.") from error
    return tuple(one.strip() for one in named if one.strip())


def check_free(workspace: Workspace, run_id: str) -> None:
    """See that a new run can have this id, before anything slow is started for it.

    Raises:
        RunError: if it is taken, or cannot be an id.
    """
    if run_folder(workspace, run_id).exists():
        raise RunError(
            f"There is a run {run_id} already.",
            "Continue it with --resume, or choose another id with --run-id.",
        )


def _ready(endpoint: Endpoint, clips: Path, hears: bool, retries: Retries, progress: Progress) -> Endpoint:
    """The endpoint with its model named and its transport known; faults are waited for as `retries` says.

    A server that is there and still fails is given base64 clips, which every server that hears takes; the
    batch then deals with its faults, one prediction at a time.

    Raises:
        EndpointError: if it is not there, or refuses the key, the model or the audio.
    """
    by_value = endpoint.model_copy(update={"transport": "input_audio"})
    try:
        return ready_endpoint(endpoint if hears else by_value, clips, retries, progress.should_stop)
    except (ServerFailed, BadAnswer, TimedOut) as fault:
        if not endpoint.model or fault.status in (503, 529):
            raise
        return by_value


def _clips(
    writer: RunWriter, dataset: Dataset, cache: Path, progress: Progress, allow_missing_audio: bool
) -> dict[str, Path | None]:
    """The prepared clip of every pending item that can be asked about, by id (None: ask by text alone).

    For the others an error is recorded. Ends early if a stop is asked for.
    """
    missing: dict[str, list[int]] = {}
    for item_id, sample in writer.pending():
        missing.setdefault(item_id, []).append(sample)
    items = [item for item in writer.items if item.id in missing]

    ablation = writer.record.ablation
    by_text = allow_missing_audio or ablation == "text"

    def prepare(item: Item) -> Path | ItemError | None:
        if progress.should_stop() or ablation == "text":
            return None
        try:
            source = dataset.clip(heard(item) if ablation == "swap" else item)
            clip = None if source is None else prepare_clip(source, cache)
            control = _CONTROLS.get(ablation or "")
            if clip is None or control is None:
                return clip
            return control_clip(control, clip_info(clip).seconds, cache)
        except ItemError as error:
            return error

    progress.phase("prepare", len(items))
    clips: dict[str, Path | None] = {}
    with ThreadPoolExecutor(_CLIP_THREADS) as pool:
        for count, (item, clip) in enumerate(zip(items, pool.map(prepare, items), strict=True), 1):
            if progress.should_stop():
                break
            progress.done(count)
            if isinstance(clip, Path) or (clip is None and by_text):
                clips[item.id] = clip
                continue
            error = str(clip or f"The item {item.id} has no clip.")
            for sample in missing[item.id]:
                writer.append(_not_asked(item.id, sample, error, "bad_clip" if clip else "no_clip"))
    return clips


def _generate(
    workspace: Workspace,
    writer: RunWriter,
    rendered: Mapping[str, Rendered],
    clips: Mapping[str, Path | None],
    endpoint: Endpoint,
    concurrency: int,
    progress: Progress,
    retries: Retries,
) -> bool:
    """Ask about every pending prediction of the items in `clips`; False if a stop left some of it.

    Raises:
        UnansweredError: if the server was given up, or less than half is answered.
    """
    record = writer.record
    sampling = record.sampling or Sampling()
    wanted = [(item_id, sample) for item_id, sample in writer.pending() if item_id in clips]

    def requests() -> Iterator[Request]:
        for (item_id, first), samples in _groups(wanted, sampling.per_request).items():
            # built when sent, so that memory holds only the clips in flight
            build = partial(build_messages, rendered[item_id], clips[item_id], endpoint.transport)
            if sampling.per_request == 1:
                yield Request(item_id, first, sample_seed(record.seed, item_id, first), build)
                continue
            n = min(sampling.per_request, sampling.samples - first)
            seed = group_seed(record.seed, item_id, first)
            yield Request(item_id, first, seed, build, n, frozenset(samples))

    def keep(raw: RawRecord) -> None:
        writer.append(Prediction(**asdict(raw)))

    total = len(writer.items) * sampling.samples
    server = f"{endpoint.base_url} {endpoint.model}"
    summary = run_batch(
        requests(),
        endpoint,
        sampling,
        on_record=keep,
        concurrency=concurrency,
        first_width=read_width(workspace.cache, server),
        progress=progress,
        total=total,
        already=total - len(wanted),
        phase="generate",
        retries=retries,
    )
    if not summary.stopped and summary.answered:
        write_width(workspace.cache, server, summary.borne)
    if summary.stopped and writer.pending():
        return False
    if summary.gave_up or 2 * writer.answered() < total:
        answered = writer.answered()
        raise UnansweredError(
            f"The run stopped: {answered} of {total} predictions have an answer. The first error:"
            f" {writer.first_error or summary.gave_up}",
            f"Continue with: audioreason eval --run-id {record.run_id} --resume",
            answered,
            total,
        )
    return True


def _groups(wanted: Sequence[tuple[str, int]], size: int) -> dict[tuple[str, int], list[int]]:
    """What is wanted by (item, first sample of its group); groups are fixed, whatever is missing of them."""
    groups: dict[tuple[str, int], list[int]] = {}
    for item_id, sample in wanted:
        groups.setdefault((item_id, sample - sample % size), []).append(sample)
    return groups


def _not_asked(item_id: str, sample: int, error: str, error_kind: str) -> Prediction:
    created = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Prediction(item_id, sample, error=error, error_kind=error_kind, created=created, attempt=0)
