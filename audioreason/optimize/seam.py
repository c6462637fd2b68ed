"""The seam to DSPy: a program whose instructions are our prompt's texts, an adapter that asks by our road.

Examples carry an item's id, question and options, never audio. Each evaluation is answered as one batch
before DSPy walks through it, so that DSPy's own loop finds every answer there. Imports DSPy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from audioreason.errors import LabError, OptimizeError
from audioreason.items import Dataset
from audioreason.optimize.asking import Asker, RefusedPromptError
from audioreason.optimize.candidates import Candidates, Origin
from audioreason.optimize.config import OptimizeConfig
from audioreason.optimize.halting import Broken
from audioreason.optimize.judge import Judged, feedback, judge
from audioreason.optimize.parts import Parts
from audioreason.optimize.proposing import ProposerAdapter
from audioreason.optimize.shapes import Candidate
from audioreason.optimize.texts import Made, Texts
from audioreason.optimize.trials import Trials
from audioreason.prompts import Prompt


class Question(dspy.Signature):  # type: ignore[misc]
    """The task model hears a clip and gets a question with options."""

    item_id: str = dspy.InputField(desc="names the audio clip that is played with the question")
    question: str = dspy.InputField()
    choices: list[str] = dspy.InputField(desc="the options, of which one is right")
    answer: str = dspy.OutputField(desc="what the model says after hearing the clip")


class Wording(dspy.Signature):  # type: ignore[misc]
    """How question and options are put before the model: a template."""

    question: str = dspy.InputField()
    choices: list[str] = dspy.InputField()
    wording: str = dspy.OutputField(desc="the user's message")


class ListenAndAnswer(dspy.Module):  # type: ignore[misc]
    """Play a clip, ask a question about it with options, and take the answer."""

    def __init__(self, system: str, user: str | None) -> None:
        super().__init__()
        self.answer = dspy.Predict(Question.with_instructions(system))
        self.wording = dspy.Predict(Wording.with_instructions(user)) if user is not None else None

    def forward(self, item_id: str, question: str, choices: list[str]) -> Any:
        if self.wording is None:
            return self.answer(item_id=item_id, question=question, choices=choices)
        self.wording(question=question, choices=choices)
        user = {"user_text": self.wording.signature.instructions}
        return self.answer(item_id=item_id, question=question, choices=choices, config=user)


class TaskModel(dspy.BaseLM):  # type: ignore[misc]
    """Stands for the task model in DSPy's settings; the adapter asks the real one."""

    def __init__(self, name: str) -> None:
        super().__init__(model=name, temperature=0.0, max_tokens=1, cache=False, num_retries=0)

    def __deepcopy__(self, memo: dict[int, Any]) -> TaskModel:
        return self

    def forward(self, prompt: str | None = None, messages: Any = None, **kwargs: Any) -> Any:
        """Never: DSPy would build messages of its own."""
        raise Broken(OptimizeError("DSPy tried to ask the task model past our own road."))


@dataclass(frozen=True)
class Taken:
    """A program as our prompt."""

    candidate: Candidate
    prompt: Prompt


class Seam:
    """What the adapter, the metric and the callbacks share during one search."""

    def __init__(
        self,
        dataset: Dataset,
        parts: Parts,
        config: OptimizeConfig,
        texts: Texts,
        asker: Asker,
        candidates: Candidates,
        trials: Trials,
    ) -> None:
        self.texts = texts
        self.asker = asker
        self.candidates = candidates
        self.trials = trials
        self._dataset = dataset
        self._parts = parts
        self._config = config
        self._train = frozenset(parts.train)
        self._made: dict[tuple[str, str | None, str], Taken] = {}
        self._judged: dict[tuple[str, str], Judged] = {}
        self._last: dict[str, str] = {}  # by item id, the candidate asked last: DSPy judges at once, in turn

    # examples and program

    def examples(self, item_ids: Sequence[str], gold: bool) -> list[Any]:
        """Items as DSPy's examples; `gold` adds the right answer, for train items only."""
        found = []
        for item_id in item_ids:
            item = self._dataset[item_id]
            fields: dict[str, Any] = {
                "item_id": item.id,
                "question": item.question,
                "choices": list(item.choices),
            }
            if gold:
                fields["answer"] = item.answer
            found.append(dspy.Example(**fields).with_inputs("item_id", "question", "choices"))
        return found

    def program(self) -> ListenAndAnswer:
        """The seed as a program."""
        return ListenAndAnswer(self.texts.system, self.texts.user if self.texts.both else None)

    # asking and judging

    def take(self, system: str, user: str | None, demos: Sequence[Any]) -> Taken:
        """The prompt that these instructions make, registered as a candidate."""
        plain = [dict(demo) for demo in demos]
        key = (system, user, repr(plain))
        if key not in self._made:
            made: Made = self.texts.make(system, user, plain)
            bare = self.texts.make(system, user) if plain else None
            origin = Origin(system, user, bool(plain), bare.prompt if bare else None)
            candidate = self.candidates.register(made.prompt, made.note, origin)
            self._made[key] = Taken(candidate, made.prompt)
        return self._made[key]

    def judge(self, taken: Taken, item_ids: Sequence[str]) -> list[Judged] | None:
        """Answers with their scores, in this order; None if the server refuses this prompt as it is."""
        candidate = taken.candidate.id
        missing = [item_id for item_id in item_ids if (candidate, item_id) not in self._judged]
        if missing and candidate not in self.candidates.refused:
            try:
                answers = self.asker.ask(taken.prompt, missing)
            except RefusedPromptError as error:
                if taken.prompt == self.texts.seed or not self.asker.answers_now(self.texts.seed, missing[0]):
                    raise Broken(OptimizeError(f"The task model refuses to answer: {error}")) from error
                self.candidates.refuse(taken.candidate, str(error))
            else:
                for item_id, answer in answers.items():
                    item = self._dataset[item_id]
                    judged = judge(item, answer, taken.prompt.sections, self._config)
                    self._judged[candidate, item_id] = judged
                    self.trials.verdict(candidate, judged, "train" if item_id in self._train else "dev")
        if candidate in self.candidates.refused:
            return None
        return [self._judged[candidate, item_id] for item_id in item_ids]

    def answer(self, taken: Taken, item_id: str) -> str:
        """What the task model says; empty if it refuses this prompt."""
        self._last[item_id] = taken.candidate.id
        judged = self.judge(taken, [item_id])
        return _said(judged[0]) if judged else ""

    def metric(
        self,
        example: Any,
        prediction: Any,
        trace: Any = None,
        pred_name: str | None = None,
        pred_trace: Any = None,
    ) -> Any:
        """DSPy's metric: the score that `judge` gave, with feedback where GEPA asks for it."""
        with halting():
            judged = self._judged.get((self._last[example["item_id"]], example["item_id"]))
            value = judged.value if judged is not None else 0.0
            if pred_name is None:
                return value
            if judged is None:
                return dspy.Prediction(score=value, feedback="The server refused this prompt: shorten it.")
            told = feedback(judged, tell_gold=example["item_id"] in self._train)
            return dspy.Prediction(score=value, feedback=told)


class TaskAdapter(dspy.Adapter):  # type: ignore[misc]
    """Renders our template for our own signatures and asks by our road; others go to the proposer."""

    def __init__(self, seam: Seam) -> None:
        super().__init__()
        self._seam = seam
        self._proposer = ProposerAdapter()

    def __deepcopy__(self, memo: dict[int, Any]) -> TaskAdapter:
        return self

    def __call__(
        self,
        lm: Any,
        lm_kwargs: dict[str, Any],
        signature: Any,
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        names = set(signature.fields)
        with halting():
            if names == set(Wording.fields):
                return [{"wording": signature.instructions}]
            if names != set(Question.fields):
                return list(self._proposer(lm, lm_kwargs, signature, demos, inputs))
            taken = self._seam.take(signature.instructions, lm_kwargs.get("user_text"), demos)
            return [{"answer": self._seam.answer(taken, inputs["item_id"])}]


class Watch(BaseCallback):  # type: ignore[misc]
    """Answers each of DSPy's evaluations as one batch, and writes it down as a trial."""

    def __init__(self, seam: Seam) -> None:
        self._seam = seam
        self._open: dict[str, tuple[Taken, list[str]]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Watch:
        return self

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: Mapping[str, Any]) -> None:
        """Ask about every example of the evaluation at once."""
        with halting():
            examples = inputs.get("devset") or instance.devset
            program = inputs["program"]
            user = program.wording.signature.instructions if program.wording is not None else None
            taken = self._seam.take(program.answer.signature.instructions, user, program.answer.demos)
            item_ids = [example["item_id"] for example in examples]
            self._seam.trials.begin()
            self._seam.judge(taken, item_ids)
            self._open[call_id] = (taken, item_ids)

    def on_evaluate_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        """Write the trial."""
        if exception is not None or call_id not in self._open:
            return
        with halting():
            taken, item_ids = self._open.pop(call_id)
            judged = self._seam.judge(taken, item_ids)
            self._seam.trials.end(taken.candidate.id, item_ids, judged)


@contextmanager
def halting() -> Iterator[None]:
    """What goes wrong in our code ends the search: DSPy would take it for a score of 0.

    Raises:
        Broken: for every exception inside.
    """
    try:
        yield
    except LabError as error:
        raise Broken(error) from error
    except Exception as error:
        raise Broken(OptimizeError(f"The search failed: {type(error).__name__}: {error}")) from error


def _said(judged: Judged) -> str:
    return judged.answer.content or judged.answer.reasoning or ""
