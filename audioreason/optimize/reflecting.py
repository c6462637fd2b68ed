"""GEPA's proposer, with the lineage written down: which prompt each new instruction was made from.

Imports DSPy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dspy.teleprompt.gepa import InstructionProposer

from audioreason.optimize.candidates import Origin
from audioreason.optimize.proposing import ProposerAdapter
from audioreason.optimize.seam import Seam, halting

_ABOUT = (
    "The assistant is played an audio clip, which you cannot hear, and is asked a multiple-choice question"
    " about it. Write general guidance for listening and answering: never the answer to one of the examples,"
    " and no names of clips."
)


class Reflecting(InstructionProposer):  # type: ignore[misc]
    """DSPy's own proposer for GEPA, told that there is sound, and read leniently."""

    def __init__(self, seam: Seam) -> None:
        super().__init__(additional_instructions=_ABOUT, adapter=ProposerAdapter())
        self._seam = seam

    def __call__(
        self,
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        plain = {name: [_without_ids(one) for one in rows] for name, rows in reflective_dataset.items()}
        texts: dict[str, str] = super().__call__(candidate, plain, components_to_update)
        with halting():
            self._seam.candidates.reflected(_origin(candidate), _origin({**candidate, **texts}))
        return texts


def _origin(candidate: Mapping[str, str]) -> Origin:
    return Origin(candidate["answer"], candidate.get("wording"))


def _without_ids(example: Mapping[str, Any]) -> dict[str, Any]:
    """An example as the proposer reads it: a clip's name tells it nothing."""
    inputs = example.get("Inputs")
    if isinstance(inputs, Mapping):
        return {**example, "Inputs": {key: one for key, one in inputs.items() if key != "item_id"}}
    return dict(example)
