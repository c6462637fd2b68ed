"""The road to the task model: our template, our messages, our client, and every answer kept by its request.

A request that was answered once is never sent again, in this attempt or a later one: that is what makes a
resumed search a replay. Failures are tried again and then end the search; they are never an answer. Knows
nothing about optimisers.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import orjson

from audioreason.errors import EndpointError, ItemError, LabError
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.faults import Fault
from audioreason.inference.messages import build_messages
from audioreason.inference.probe import ready_endpoint
from audioreason.inference.runner import RawRecord, Request, Retries, run_batch
from audioreason.inference.seeds import sample_seed
from audioreason.items import Dataset, Item, prepare_clip
from audioreason.optimize.config import OptimizeConfig
from audioreason.optimize.halting import Broken, Stopped
from audioreason.optimize.record import Recorder, read_lines
from audioreason.optimize.shapes import AnswerRecord, Spent
from audioreason.progress import Progress
from audioreason.prompts import Prompt
from audioreason.runs.rendering import render_for

# what is in flight when a stop comes is waited for: an answer that was paid for is kept; a prompt that the
# server refuses for every item is worth nothing, which says nothing about the server
PATIENT = Retries(grace=600.0, refusals=1_000_000)
_ROUNDS = 3  # times that a batch's failures are asked again before the search ends
_CLIP_THREADS = 4
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)  # seconds between looks at a server that is too busy to be asked


class RefusedPromptError(Exception):
    """The server takes the seed and refuses this prompt, as one that is too long for the model."""


class Ledger:
    """What was spent, and whether more may be. Counts on from what earlier attempts spent."""

    def __init__(self, spent: Spent, config: OptimizeConfig, progress: Progress) -> None:
        self.spent = spent
        self._config = config
        self._progress = progress
        self._began = time.monotonic() - spent.seconds

    def look(self, requests: int = 0) -> None:
        """See whether `requests` more may be sent.

        Raises:
            Stopped: if somebody asked for a stop, or they would go beyond the budget.
        """
        if self._progress.should_stop():
            raise Stopped("stopped")
        if not requests:
            return
        config, spent = self._config, self.spent
        sent = spent.requests + spent.proposer_requests
        if config.budget_requests is not None and sent + requests > config.budget_requests:
            raise Stopped("budget", f"The budget of {config.budget_requests:,} requests is spent.")
        if config.budget_tokens is not None and spent.tokens >= config.budget_tokens:
            raise Stopped("budget", f"The budget of {config.budget_tokens:,} tokens is spent.")
        if self.out_of_time():
            raise Stopped("budget", f"The budget of {config.budget_minutes:g} minutes is spent.")

    def out_of_time(self) -> bool:
        """Whether the minutes are over."""
        minutes = self._config.budget_minutes
        return minutes is not None and self.seconds() >= 60 * minutes

    def seconds(self) -> float:
        """Seconds over all attempts."""
        return time.monotonic() - self._began

    # a `Progress` for the batches inside a search, whose own progress is trials

    def phase(self, name: str, total: int | None = None) -> None:
        """Batches are no phases of a search."""

    def done(self, count: int, note: str = "") -> None:
        """Nor are their requests."""

    def metrics(self, step: int, **values: float) -> None:
        """Hand the batch's pace on."""
        self._progress.metrics(step, **values)

    def should_stop(self) -> bool:
        """Whether to send nothing more."""
        return self._progress.should_stop() or self.out_of_time()


class Asker:
    """Asks the task model about items, and remembers."""

    def __init__(
        self,
        recorder: Recorder,
        dataset: Dataset,
        clips: Mapping[str, Path],
        endpoint: Endpoint,
        config: OptimizeConfig,
        ledger: Ledger,
    ) -> None:
        self.endpoint = endpoint
        self.sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
        self._recorder = recorder
        self._dataset = dataset
        self._clips = clips
        self._config = config
        self._ledger = ledger
        self._hashes = {item_id: dataset.clip_hash(dataset[item_id]) for item_id in clips}
        self._answers = {one.request_hash: one for one in read_lines(recorder.folder, AnswerRecord)}

    def request_hash(self, prompt: Prompt, item: Item) -> str:
        """24 hex digits that stand for a request: model, texts, clip, sampling and seed, no address."""
        rendered = render_for(prompt, item)
        key = (
            self.endpoint.model,
            rendered.system,
            rendered.user,
            self._hashes[item.id],
            self.sampling.body(),
            self._seed(item),
        )
        return hashlib.sha256(orjson.dumps(key, option=orjson.OPT_SORT_KEYS)).hexdigest()[:24]

    def ask(self, prompt: Prompt, item_ids: Sequence[str]) -> dict[str, AnswerRecord]:
        """An answer for every item, by id: those that are known, and the others from the server.

        Raises:
            Stopped: if a stop or the budget leaves some of them unanswered.
            Broken: if the server fails for good, or the disk is full.
            RefusedPromptError: if the server refuses this prompt, and answers the seed's.
        """
        self._ledger.look()
        hashes = {item_id: self.request_hash(prompt, self._dataset[item_id]) for item_id in item_ids}
        failed: list[RawRecord] = []
        for _ in range(_ROUNDS):
            missing = [item_id for item_id in hashes if hashes[item_id] not in self._answers]
            if not missing:
                break
            self._ledger.look(len(missing))
            failed = self._send(prompt, missing, hashes)
            if refused := [record for record in failed if record.error_kind == "bad_request"]:
                raise RefusedPromptError(refused[0].error or "The server refuses the prompt.")
            if not failed and any(hashes[item_id] not in self._answers for item_id in missing):
                self._ledger.look()
                raise Stopped("budget", "The time is over.")
        if failed:
            raise Broken(
                EndpointError(
                    f"{len(failed)} requests to {self.endpoint.name} failed again and again:"
                    f" {failed[0].error}",
                    "Nothing was scored for them. See to the server and resume the search.",
                )
            )
        return {item_id: self._answers[digest] for item_id, digest in hashes.items()}

    def answers_now(self, prompt: Prompt, item_id: str) -> bool:
        """Whether the server takes this prompt at this moment; asks it, whatever is known.

        Raises:
            Broken: if it fails for another reason.
        """
        item = self._dataset[item_id]
        failed = self._send(prompt, [item_id], {item_id: self.request_hash(prompt, item)}, keep=False)
        return not failed

    def _seed(self, item: Item) -> int:
        return sample_seed(self._config.seed, item.id, 0)

    def _send(
        self, prompt: Prompt, item_ids: Sequence[str], hashes: Mapping[str, str], keep: bool = True
    ) -> list[RawRecord]:
        """Send requests and keep the answers; returns the failures.

        Raises:
            Broken: if the server is given up, or an answer cannot be written.
        """
        failed: list[RawRecord] = []
        spent = self._ledger.spent

        def requests() -> Iterator[Request]:
            for item_id in item_ids:
                item = self._dataset[item_id]
                build = partial(
                    build_messages, render_for(prompt, item), self._clips[item_id], self.endpoint.transport
                )
                yield Request(item_id, 0, self._seed(item), build)

        def take(raw: RawRecord) -> None:
            if raw.error is not None:
                failed.append(raw)
                return
            spent.requests += 1
            spent.tokens += raw.completion_tokens or 0
            answer = AnswerRecord(
                request_hash=hashes[raw.item_id],
                item_id=raw.item_id,
                content=raw.content,
                reasoning=raw.reasoning,
                finish_reason=raw.finish_reason,
                prompt_tokens=raw.prompt_tokens,
                completion_tokens=raw.completion_tokens,
                seconds=raw.seconds,
                created=raw.created,
            )
            if keep:
                self._recorder.append(answer)
                self._answers[answer.request_hash] = answer

        try:
            summary = run_batch(
                requests(),
                self.endpoint,
                self.sampling,
                on_record=take,
                concurrency=self._config.concurrency,
                progress=self._ledger,
                retries=PATIENT,
            )
        except LabError as error:
            raise Broken(error) from error
        if summary.gave_up:
            raise Broken(
                EndpointError(
                    f"The server stopped answering: {summary.gave_up}",
                    "Nothing was scored for what it did not answer. Resume the search when it is back.",
                )
            )
        return failed


def prepare_clips(
    dataset: Dataset, item_ids: Sequence[str], cache: Path, progress: Progress
) -> dict[str, Path]:
    """The prepared clip of every item, by id.

    Raises:
        Stopped: if a stop was asked for.
        ItemError: if a clip is missing or broken: a search needs all of them.
    """

    def prepare(item_id: str) -> Path | None:
        if progress.should_stop():
            return None
        source = dataset.clip(dataset[item_id])
        if source is None:
            raise ItemError(
                f"The clip of the item {item_id} is missing.",
                "Get the dataset's clips, or leave the item out.",
            )
        return prepare_clip(source, cache)

    progress.phase("prepare", len(item_ids))
    clips: dict[str, Path] = {}
    with ThreadPoolExecutor(_CLIP_THREADS) as pool:
        for item_id, clip in zip(item_ids, pool.map(prepare, item_ids), strict=True):
            if clip is None:
                raise Stopped("stopped")
            clips[item_id] = clip
            progress.done(len(clips))
    return clips


def ready(endpoint: Endpoint, clips: Path | None, progress: Progress) -> Endpoint:
    """The endpoint with its model named and, where clips will be sent, its transport known.

    A server that is too busy just now is asked a few times more.

    Raises:
        Stopped: if a stop was asked for.
        EndpointError: if the server is not there, lists no model, or takes no audio.
    """
    wanted = endpoint if clips is not None else endpoint.model_copy(update={"transport": "input_audio"})
    for wait in _WAITS:
        try:
            return ready_endpoint(wanted, clips or Path())
        except Fault as fault:
            if not fault.retry or fault.kind == "refused":
                raise
            if progress.should_stop():
                raise Stopped("stopped") from fault
            time.sleep(wait)
    return ready_endpoint(wanted, clips or Path())
