"""The text model that writes new prompts: DSPy's requests through our client, text only, all on record.

A reply that was given once is not asked for again: a resumed search replays it. Imports DSPy, so it is
imported only by what runs a search. Knows nothing about items, prompts or audio.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import dspy
import orjson
from dspy.utils.exceptions import AdapterParseError

from audioreason.errors import EndpointError, LabError, OptimizeError
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.runner import RawRecord, Request, run_batch
from audioreason.optimize.asking import PATIENT, Ledger
from audioreason.optimize.config import OptimizeConfig
from audioreason.optimize.halting import Broken, Stopped
from audioreason.optimize.record import Recorder, now, read_lines
from audioreason.optimize.shapes import Proposal

_PURPOSES = {
    "proposed_instruction": "propose",
    "new_instruction": "reflect",
    "observations": "summarise",
    "summary": "summarise",
}
_FALLBACKS = {"proposed_instruction": "basic_instruction", "new_instruction": "current_instruction"}
_PROBE = (
    "You help people to write instructions for an assistant that listens to recordings and answers questions"
    " about them.",
    "Write two sentences that tell the assistant how to listen and how to answer. Write nothing else.",
)
_LEAST_WORDS = 8  # different words that a model which can write uses in two sentences
_WORDS = """
    a about an and answer answering are as audio be by can carefully clearly do each first for from heard how
    if in is it its listen listening make not of on only or question questions recording recordings sound
    sounds sure that the their them then they this to use what when which with you your
"""
_COMMON = frozenset(_WORDS.split())
_LEAST_SHARE = 0.35  # of the words: running English has about half of them in the list above


class Scribe:
    """Asks the proposer, keeps what it said, and answers from what is kept.

    One request may come several times in a search, and each time shall bring another reply: the count of its
    earlier appearances is part of its key, and the key makes its seed.
    """

    def __init__(
        self, recorder: Recorder, endpoint: Endpoint, config: OptimizeConfig, ledger: Ledger
    ) -> None:
        self.endpoint = endpoint
        self.purpose = "other"
        self._recorder = recorder
        self._config = config
        self._ledger = ledger
        self._seen: Counter[str] = Counter()
        known = {one.n: one for one in read_lines(recorder.folder, Proposal)}
        self._known = {one.request_hash: one for one in known.values()}
        self._count = max(known, default=0)

    def ask(self, messages: Iterable[Mapping[str, Any]], **options: Any) -> str:
        """The reply to a conversation.

        Raises:
            Stopped: if a stop or the budget forbids the request.
            Broken: if the server fails for good, or something other than text would have been sent.
        """
        plain = tuple(_plain(message) for message in messages)
        heat = options.get("temperature")
        sampling = Sampling(
            temperature=self._config.proposer_temperature if heat is None else heat,
            max_tokens=options.get("max_tokens") or self._config.proposer_tokens,
        )
        key = [self.endpoint.model, plain, sampling.body(), options.get("rollout_id"), self._config.seed]
        digest = hashlib.sha256(orjson.dumps(key, option=orjson.OPT_SORT_KEYS)).hexdigest()[:24]
        self._seen[digest] += 1
        if self._seen[digest] > 1:
            digest = f"{digest}-{self._seen[digest]}"
        self._ledger.look()
        if digest in self._known:
            return self._known[digest].reply
        self._ledger.look(1)
        raw = self._send(plain, sampling, digest)
        spent = self._ledger.spent
        spent.proposer_requests += 1
        spent.tokens += raw.completion_tokens or 0
        self._count += 1
        proposal = Proposal(
            n=self._count,
            messages=plain,
            reply=raw.content or "",
            model=self.endpoint.model,
            tokens=raw.completion_tokens or 0,
            seconds=raw.seconds,
            created=now(),
            purpose=self.purpose,
            request_hash=digest,
        )
        self._keep(proposal)
        return proposal.reply

    def link(self, text: str, candidate: str) -> None:
        """Say which candidate was made from the newest reply that holds this text."""
        text = text.strip()
        for proposal in sorted(self._known.values(), key=lambda one: one.n, reverse=True):
            if text and text in proposal.reply and proposal.purpose in ("propose", "reflect"):
                if candidate not in proposal.candidates:
                    changed = Proposal(
                        **{**_fields(proposal), "candidates": (*proposal.candidates, candidate)}
                    )
                    self._keep(changed)
                return

    def check(self) -> None:
        """See that the model can write at all.

        Raises:
            Broken: if it cannot: an audio model without general language, for one.
        """
        system, user = _PROBE
        self.purpose = "other"
        reply = self.ask(
            [{"role": "system", "content": system}, {"role": "user", "content": user}],
            max_tokens=120,
            temperature=0.0,
        )
        words = [word.strip(".,:;!?()\"'*").lower() for word in reply.split()]
        share = sum(word in _COMMON for word in words) / max(1, len(words))
        if len({word for word in words if word.isalpha()}) < _LEAST_WORDS or share < _LEAST_SHARE:
            said = " ".join(reply.split())[:80]
            raise Broken(
                OptimizeError(
                    f"{self.endpoint.model} cannot propose prompts: asked for two sentences, it wrote"
                    f' "{said}".',
                    "Choose a language model as the proposer; it may be another than the task model.",
                )
            )

    def _keep(self, proposal: Proposal) -> None:
        try:
            self._recorder.append(proposal)
        except LabError as error:
            raise Broken(error) from error
        self._known[proposal.request_hash] = proposal

    def _send(self, messages: tuple[dict[str, str], ...], sampling: Sampling, digest: str) -> RawRecord:
        got: list[RawRecord] = []
        seed = int(hashlib.sha256(digest.encode()).hexdigest()[:8], 16) & 0x7FFFFFFF
        try:
            summary = run_batch(
                [Request("proposal", 0, seed, [dict(message) for message in messages])],
                self.endpoint,
                sampling,
                on_record=got.append,
                concurrency=1,
                progress=self._ledger,
                retries=PATIENT,
            )
        except LabError as error:
            raise Broken(error) from error
        if not got:
            self._ledger.look()
            raise Stopped("budget" if summary.stopped else "stopped", "The time is over.")
        if got[0].error is not None:
            raise Broken(
                EndpointError(
                    f"The proposer {self.endpoint.model} did not answer: {got[0].error}",
                    "See to its server and resume the search.",
                )
            )
        return got[0]


class ProposerModel(dspy.BaseLM):  # type: ignore[misc]
    """The proposer as DSPy knows it; copies share the scribe."""

    def __init__(self, scribe: Scribe, temperature: float, max_tokens: int) -> None:
        super().__init__(
            model=scribe.endpoint.model,
            temperature=temperature,
            max_tokens=max_tokens,
            cache=False,
            num_retries=0,
        )
        self.scribe = scribe

    def __deepcopy__(self, memo: dict[int, Any]) -> ProposerModel:
        return self

    def forward(self, prompt: str | None = None, messages: Any = None, **kwargs: Any) -> Any:
        """One completion, in the shape of the OpenAI API."""
        conversation = messages or [{"role": "user", "content": prompt or ""}]
        reply = self.scribe.ask(conversation, **{**self.kwargs, **kwargs})
        message = SimpleNamespace(content=reply, tool_calls=None)
        choice = SimpleNamespace(message=message, finish_reason="stop", index=0)
        return SimpleNamespace(choices=[choice], usage={}, model=self.model)


class ProposerAdapter(dspy.ChatAdapter):  # type: ignore[misc]
    """DSPy's chat format, with any reply taken for what it was asked for.

    A small model writes its instruction and none of the markers around it; DSPy would throw that away.
    """

    def __call__(
        self,
        lm: Any,
        lm_kwargs: dict[str, Any],
        signature: Any,
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        wanted = next(reversed(signature.output_fields))
        if isinstance(lm, ProposerModel):
            lm.scribe.purpose = _PURPOSES.get(wanted, "other")
        replies = lm(messages=self.format(signature, demos, inputs), **lm_kwargs)
        return [self._read(signature, wanted, inputs, _text_of(reply)) for reply in replies]

    def _read(self, signature: Any, wanted: str, inputs: Mapping[str, Any], reply: str) -> dict[str, Any]:
        try:
            fields = dict(self.parse(signature, reply))
        except AdapterParseError:
            fields = dict.fromkeys(signature.output_fields, "")
            fields[wanted] = _without_markers(reply)
        if not str(fields.get(wanted) or "").strip() and wanted in _FALLBACKS:
            fields[wanted] = inputs.get(_FALLBACKS[wanted]) or "Answer the question."
        return fields


def _text_of(reply: Any) -> str:
    return str(reply.get("text") or "") if isinstance(reply, dict) else str(reply or "")


def _without_markers(reply: str) -> str:
    lines = [line for line in reply.splitlines() if not line.strip().startswith("[[ ##")]
    return "\n".join(lines).strip()


def _plain(message: Mapping[str, Any]) -> dict[str, str]:
    """A message as text.

    Raises:
        Broken: if it holds anything else.
    """
    content = message.get("content")
    if isinstance(content, list) and all(
        isinstance(part, Mapping) and part.get("type") == "text" for part in content
    ):
        content = "\n".join(str(part.get("text") or "") for part in content)
    if not isinstance(content, str):
        raise Broken(
            OptimizeError(
                "A request to the proposer held something other than text, so it was not sent.",
                "This is a fault of the lab: please report it with the search's settings.",
            )
        )
    return {"role": str(message.get("role") or "user"), "content": content}


def _fields(proposal: Proposal) -> dict[str, Any]:
    return {name: getattr(proposal, name) for name in Proposal.__dataclass_fields__}
