"""The batch runner: many requests to one endpoint, as fast as it takes them, and one record for each sample.

Retries what may succeed later, waits for a server that went away, adapts how many samples are in flight
(`pace`), stops when asked, and hands every outcome to `on_record` as it comes: an answer, or the fault that
took its place. Knows nothing about items, prompts or files; a record that was not handed over was not made,
and can be asked for again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from audioreason.errors import LabError
from audioreason.inference.client import Answer, Client, Timeouts
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.faults import (
    BadAnswer,
    Disconnected,
    Fault,
    HalfBody,
    Overloaded,
    QuotaSpent,
    ServerFailed,
    TimedOut,
    Unreachable,
)
from audioreason.inference.faults import Retries as Retries
from audioreason.inference.pace import Pace, Sent
from audioreason.inference.probe import first_model
from audioreason.inference.records import RawRecord as RawRecord
from audioreason.inference.records import Request as Request
from audioreason.progress import Progress, Quiet

log = logging.getLogger("audioreason.inference")

_TICK_SECONDS = 0.1
_METRIC_SECONDS = 1.0
_LOOK_SECONDS = 0.5  # between two looks at a server that went away
_FAILURES_IN_ROW = 8  # final failures, with no answer between them, after which no request is tried again


@dataclass(frozen=True)
class BatchSummary:
    """What a batch came to, in samples. `stopped`: somebody asked for it.

    `gave_up` is a sentence if no more was sent because the server went away, kept us waiting or refused
    everything. `widest` are the most samples in flight; `borne` the limit that the server was found to bear,
    None if it bore the full width.
    """

    answered: int
    failed: int
    retried: int
    completion_tokens: int
    seconds: float
    widest: int
    borne: int | None
    stopped: bool
    gave_up: str | None


def run_batch(
    requests: Iterable[Request],
    endpoint: Endpoint,
    sampling: Sampling,
    *,
    on_record: Callable[[RawRecord], None],
    concurrency: int = 64,
    first_width: int | None = None,
    progress: Progress | None = None,
    total: int | None = None,
    already: int = 0,
    phase: str = "answering",
    timeouts: Timeouts | None = None,
    retries: Retries | None = None,
) -> BatchSummary:
    """Send every request and call `on_record` once per sample, in the order in which they complete.

    Runs its own event loop in the calling thread, and calls `on_record` there. `concurrency` is the most
    samples ever in flight, which is what a server generates at once: a request for `n` counts as n, and goes
    out alone where n is more than may be in flight. The first requests go out as wide as that, or as
    `first_width` if the server is known to bear less. `total` and `already` count samples (with those of an
    earlier, interrupted run) for `progress`; a stop asked for there leaves what was not finished unrecorded.

    Raises:
        Fault: if the endpoint names no model and its list of models cannot be had.
        Exception: whatever `on_record` or the iterable raises ends the batch; records made before stand.
    """
    batch = _Batch(
        requests,
        sampling,
        on_record,
        Pace(concurrency, first_width),
        progress or Quiet(),
        retries or Retries(),
    )
    batch.progress.phase(phase, total)
    return asyncio.run(batch.run(Client(endpoint, timeouts), already))


@dataclass(eq=False, slots=True)
class _Work:
    """A request on its way: how often it was sent, how often it failed, and what it waits for."""

    request: Request
    tries: int = 0
    failures: int = 0  # without those where the server was only too busy
    fault: Fault | None = None
    timer: asyncio.TimerHandle | None = None


class _Batch:
    """The state of one `run_batch`. Everything here happens in one thread, between awaits."""

    def __init__(
        self,
        requests: Iterable[Request],
        sampling: Sampling,
        on_record: Callable[[RawRecord], None],
        pace: Pace,
        progress: Progress,
        retries: Retries,
    ) -> None:
        self.progress = progress
        self._source = iter(requests)
        self._sampling = sampling
        self._on_record = on_record
        self._pace = pace
        self._retries = retries
        self._exhausted = False
        self._again: deque[_Work] = deque()  # have waited long enough, or for room
        self._waiting: set[_Work] = set()  # wait before another try
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight = 0  # samples that the tasks ask for
        self._alarm_set = False
        self._stopping = False
        self._gave_up: Fault | None = None
        self._away: asyncio.Task[None] | None = None  # waits for a server that is not there
        self._looking: asyncio.Task[bool] | None = None  # asks whether it is
        self._failures_in_row = 0
        self._unanswered = 0  # requests that failed for good
        self._first_fault: Fault | None = None
        self._last_success = 0.0
        self._answered = self._failed = self._retried = self._tokens = self._widest = 0
        self._already = 0
        self._client: Client
        self._loop: asyncio.AbstractEventLoop
        self._done: asyncio.Future[None]

    async def run(self, client: Client, already: int) -> BatchSummary:
        """Send everything; returns when nothing is left, or when a stop is complete."""
        self._loop = asyncio.get_running_loop()
        self._already = already
        self._done = self._loop.create_future()
        start = self._last_success = self._loop.time()
        async with client as self._client:
            if not client.endpoint.model:
                client.endpoint = client.endpoint.model_copy(update={"model": await first_model(client)})
            next_metrics = start + _METRIC_SECONDS
            self._pump()
            try:
                while not self._done.done():
                    await asyncio.wait([self._done], timeout=_TICK_SECONDS)
                    self._report(already)
                    if (now := self._loop.time()) >= next_metrics:
                        next_metrics = now + _METRIC_SECONDS
                        self._report_metrics(now - start)
            finally:  # before the connections close, or that would look like the server's fault
                running = [*self._tasks, *(task for task in (self._away, self._looking) if task)]
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
        self._done.result()
        return BatchSummary(
            answered=self._answered,
            failed=self._failed,
            retried=self._retried,
            completion_tokens=self._tokens,
            seconds=self._loop.time() - start,
            widest=self._widest,
            borne=self._pace.borne,
            stopped=self._stopping,
            gave_up=str(self._gave_up) if self._gave_up else None,
        )

    def _report(self, already: int) -> None:
        note = "waiting for the server" if self._away else f"{self._failed} failed" if self._failed else ""
        self.progress.done(already + self._answered + self._failed, note)
        if not self._stopping and self.progress.should_stop():
            self._stopping = True
            self._loop.call_later(self._retries.grace, self._end)
            self._pump()

    def _report_metrics(self, seconds: float) -> None:
        self.progress.metrics(
            (count := self._answered + self._failed),
            in_flight=self._in_flight,
            limit=self._pace.limit,
            per_second=count / seconds,
            tokens_per_second=self._tokens / seconds,
            failed=self._failed,
        )

    def _end(self, error: BaseException | None = None) -> None:
        if not self._done.done() and error is not None:
            self._done.set_exception(error)
        elif not self._done.done():
            self._done.set_result(None)

    def _pump(self) -> None:
        """Send what may be sent now; called whenever that may have changed."""
        try:
            if self._nothing_works() and not self._tasks:
                self._gave_up = self._gave_up or self._first_fault
            if self._gave_up is not None:
                self._record_the_rest(self._gave_up)
            while not self._stopping and self._in_flight < self._pace.limit and not self._blocked():
                work = self._next()
                if work is None:
                    break
                if self._in_flight and self._in_flight + work.request.n > self._pace.limit:
                    self._again.appendleft(work)  # until there is room for all of it
                    break
                self._in_flight += work.request.n
                task = self._loop.create_task(self._attempt(work))
                self._tasks.add(task)
                task.add_done_callback(partial(self._ended, work))
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            self._end(error)
        if not self._tasks and (
            self._stopping or (self._exhausted and not self._again and not self._waiting)
        ):
            self._end()

    def _next(self) -> _Work | None:
        if self._again:
            return self._again.popleft()
        # what waits for another try counts too, or a failing server would pull the whole source into memory
        if not self._exhausted and (self._gave_up or len(self._tasks) + len(self._waiting) < self._pace.most):
            if (request := next(self._source, None)) is not None:
                return _Work(request)
            self._exhausted = True
        return None

    def _blocked(self) -> bool:
        """Whether to wait, for a server that is away, refuses everything so far, or asked for it.

        `_pump` is called when that is over.
        """
        if self._away is not None or (self._nothing_works() and self._tasks):
            return True
        if self._loop.time() >= self._pace.blocked_until:
            return False
        if not self._alarm_set:
            self._alarm_set = True
            self._loop.call_at(self._pace.blocked_until, self._ring)
        return True

    def _ring(self) -> None:
        self._alarm_set = False  # the server may have asked for more since; then `_pump` sets another alarm
        self._pump()

    def _ended(self, work: _Work, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._in_flight -= work.request.n
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(error)
        if not self._done.done():
            self._pump()

    async def _attempt(self, work: _Work) -> None:
        request = work.request
        work.tries += 1
        self._widest = max(self._widest, self._in_flight)
        sent = Sent(self._loop.time(), self._in_flight, request.n)
        try:
            messages = request.messages() if callable(request.messages) else request.messages
            answer = await self._client.answer(messages, self._sampling, request.seed, request.n)
        except Fault as fault:
            if await self._went_away(fault):
                self._wait_for_server(work, fault)
            else:
                self._on_fault(work, sent, fault)
        except LabError as error:  # from the builder: a clip that cannot be read, a template that fails
            self._record_failure(work, "unbuildable", str(error), 0.0)
        else:
            self._on_answer(work, sent, answer)

    def _on_answer(self, work: _Work, sent: Sent, answer: Answer) -> None:
        request = work.request
        self._last_success = self._loop.time()
        self._failures_in_row = 0
        self._pace.succeeded(sent, self._last_success - sent.at, answer.completion_tokens)
        self._tokens += answer.completion_tokens
        unseeded = "seed" in self._client.refused_fields
        came = {one.index: one for one in answer.completions[: request.n]}
        for offset, completion in sorted(came.items()):
            if not request.wants(offset):
                continue
            self._answered += 1
            self._on_record(
                RawRecord(
                    item_id=request.item_id,
                    sample=request.sample + offset,
                    seed=None if unseeded else request.seed + offset,
                    content=completion.content,
                    reasoning=completion.reasoning,
                    finish_reason=completion.finish_reason,
                    prompt_tokens=completion.prompt_tokens,
                    completion_tokens=completion.completion_tokens,
                    tokens_estimated=completion.tokens_estimated,
                    seconds=round(completion.seconds, 4),
                    created=_now(),
                    attempt=work.tries,
                )
            )
        if len(came) < request.n:
            message = f"The server gave {len(came)} of {request.n} choices."
            self._record_failure(work, BadAnswer.kind, message, 0.0, came=came.keys())

    async def _went_away(self, fault: Fault) -> bool:
        """Whether a fault means that the server is not there; all that failed at once share one look."""
        if isinstance(fault, Unreachable):
            return True
        if not isinstance(fault, Disconnected | HalfBody | ServerFailed) or self._gave_up is not None:
            return False
        if self._away is not None:
            return True
        if self._looking is None or self._looking.done():
            self._looking = self._loop.create_task(self._client.there())
        return not await asyncio.shield(self._looking)

    def _wait_for_server(self, work: _Work, fault: Fault) -> None:
        """Keep a request until the server is back, which a task of its own finds out."""
        work.fault = fault
        work.failures += not isinstance(fault, Unreachable | Overloaded)  # it may be what kills the server
        if self._stopping:
            return
        if self._gave_up is not None or work.failures >= self._retries.attempts:
            self._record_failure(work, fault.kind, str(fault), 0.0)
            return
        self._retried += 1
        self._again.append(work)
        if self._away is None:
            self._away = self._loop.create_task(self._until_back(fault))

    async def _until_back(self, fault: Fault) -> None:
        wait, began = self._retries.server_wait, self._loop.time()
        if wait > 0:
            log.warning("%s Waiting for the server, %g s at most.", fault.message, wait)
        back = False
        while not back and (left := began + wait - self._loop.time()) > 0:
            await asyncio.sleep(min(_LOOK_SECONDS, left))
            back = await self._client.there()
        if back:
            log.warning("The server is back after %.0f s.", self._loop.time() - began)
            self._last_success = self._loop.time()  # patience begins anew
            self._failures_in_row = 0
        else:
            self._gave_up = self._gave_up or fault
        self._away = None
        self._pump()

    def _on_fault(self, work: _Work, sent: Sent, fault: Fault) -> None:
        now = self._loop.time()
        work.fault = fault
        busy = fault.slow_down and not isinstance(fault, TimedOut)
        work.failures += not busy
        if fault.slow_down:
            self._pace.overloaded(sent, now, fault.retry_after)
        if fault.retry and self._stopping:
            return  # not recorded, so a resumed run asks again
        if busy:
            patience = self._retries.server_wait if isinstance(fault, Overloaded) else self._retries.patience
            again = now - self._last_success <= patience
        else:
            attempts = (
                min(2, self._retries.attempts) if isinstance(fault, TimedOut) else self._retries.attempts
            )
            again = fault.retry and work.failures < attempts and not self._hopeless()
        if again and self._gave_up is None:
            self._retried += 1
            self._waiting.add(work)
            longest = min(self._retries.cap, self._retries.base * 2 ** min(work.tries - 1, 16))
            wait = (fault.retry_after or 0.0) + random.uniform(0, longest)
            work.timer = self._loop.call_later(wait, self._requeue, work)
            return
        self._record_failure(work, fault.kind, str(fault), now - sent.at)
        self._failures_in_row += fault.retry
        self._unanswered += 1
        self._first_fault = self._first_fault or fault
        if busy or isinstance(fault, QuotaSpent) or (fault.slow_down and self._hopeless()):
            self._gave_up = self._gave_up or fault

    def _hopeless(self) -> bool:
        """Whether so many requests failed in a row that waiting for the next one is no use."""
        return self._failures_in_row >= min(_FAILURES_IN_ROW, 2 * self._pace.most)

    def _nothing_works(self) -> bool:
        """Whether several requests failed for good and none was ever answered, in this run or before."""
        return self._unanswered >= self._retries.refusals and self._already == self._answered == 0

    def _requeue(self, work: _Work) -> None:
        self._waiting.discard(work)
        self._again.append(work)
        self._pump()

    def _record_the_rest(self, fault: Fault) -> None:
        """After giving up on a server that only keeps us waiting: say so for everything that is left."""
        for work in (*self._again, *self._waiting):
            if work.timer is not None:
                work.timer.cancel()
            if work.tries:
                last = work.fault or fault
                self._record_failure(work, last.kind, str(last), 0.0)
            else:
                self._record_unsent(work, fault)
        self._again.clear()
        self._waiting.clear()
        while (unsent := self._next()) is not None:
            self._record_unsent(unsent, fault)

    def _record_unsent(self, work: _Work, fault: Fault) -> None:
        self._record_failure(work, "not_sent", f"Not sent, because before it: {fault}", 0.0)

    def _record_failure(
        self, work: _Work, kind: str, message: str, seconds: float, came: Collection[int] = ()
    ) -> None:
        for offset in range(work.request.n):
            if offset in came or not work.request.wants(offset):
                continue
            self._failed += 1
            self._on_record(
                RawRecord(
                    item_id=work.request.item_id,
                    sample=work.request.sample + offset,
                    seed=work.request.seed + offset,
                    error=message,
                    error_kind=kind,
                    seconds=round(seconds, 4),
                    created=_now(),
                    attempt=work.tries,
                )
            )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
