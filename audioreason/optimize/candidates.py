"""The candidates of a search: each once, by its prompt's version, with where it came from.

Knows nothing about DSPy or scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from audioreason.optimize.config import Optimizer
from audioreason.optimize.record import Recorder, now, read_lines
from audioreason.optimize.shapes import Candidate, Source
from audioreason.prompts import Prompt

_REFUSED = "Refused by the server: "


@dataclass(frozen=True)
class Origin:
    """The instructions a candidate was made from; `bare` is the same prompt without its demos."""

    system: str
    user: str | None
    demos: bool = False
    bare: Prompt | None = None


class Candidates:
    """Every prompt that was thought of.

    Args:
        recorder: where they are written.
        seed: the first of them.
        optimizer: decides what a new text is called: proposed, or reflected and merged.
        link: told the text and the id of each new one, to find the proposal it came from.

    Attributes:
        refused: what the server said about candidates that it does not take, by id.
    """

    def __init__(
        self, recorder: Recorder, seed: Prompt, optimizer: Optimizer, link: Callable[[str, str], None]
    ) -> None:
        self._recorder = recorder
        self._seed = seed
        self._optimizer = optimizer
        self._link = link
        self._known = {one.id: one for one in read_lines(recorder.folder, Candidate)}
        self._parents: dict[tuple[str, str | None], str] = {}  # of reflected instructions
        self._instructions: dict[str, Origin] = {}
        self.refused = {one.id: one.note for one in self._known.values() if _REFUSED in one.note}

    def get(self, candidate_id: str) -> Candidate:
        """A candidate that was registered."""
        return self._known[candidate_id]

    def reflected(self, parent: Origin, child: Origin) -> None:
        """GEPA wrote the child's instructions after reading answers to the parent's."""
        found = next((key for key, one in self._instructions.items() if one == parent), self._seed.version)
        self._parents.setdefault((child.system, child.user), found)

    def register(self, prompt: Prompt, note: str, origin: Origin) -> Candidate:
        """The candidate of this prompt, written down if it is new."""
        candidate_id = prompt.version
        if candidate_id not in self._instructions and not origin.demos:
            self._link_texts(origin, candidate_id)
            self._instructions[candidate_id] = origin
        if candidate_id in self._known:
            return self._known[candidate_id]
        source, parent, other = self._lineage(prompt, origin)
        candidate = Candidate(
            id=candidate_id,
            parent=parent,
            other_parent=other,
            system=prompt.system,
            user=prompt.user,
            source=source,
            note=note,
            created=now(),
            step=len(self._known),
        )
        self._keep(candidate)
        return candidate

    def refuse(self, candidate: Candidate, reason: str) -> None:
        """The server takes the seed and not this one: it is worth nothing, and is not sent again."""
        self.refused[candidate.id] = reason
        self._keep(replace(candidate, note=f"{candidate.note} {_REFUSED}{reason}".strip()))

    def _link_texts(self, origin: Origin, candidate_id: str) -> None:
        """A text that no earlier candidate has came from a proposal."""
        earlier = {text for one in self._instructions.values() for text in (one.system, one.user)}
        if candidate_id != self._seed.version:
            for text in (origin.system, origin.user):
                if text and text not in earlier:
                    self._link(text, candidate_id)

    def _lineage(self, prompt: Prompt, origin: Origin) -> tuple[Source, str | None, str | None]:
        if prompt.version == self._seed.version:
            return "seed", None, None
        if origin.demos and origin.bare is not None:
            bare = self.register(origin.bare, "", Origin(origin.system, origin.user))
            return "demos", bare.id, None
        if self._optimizer == "mipro":
            return "proposed", self._seed.version, None
        if (parent := self._parents.get((origin.system, origin.user))) is not None:
            return "reflected", parent, None
        # GEPA merges texts of two prompts: one gave the system text, the other the user text
        with_system = [key for key, one in self._instructions.items() if one.system == origin.system]
        with_user = [key for key, one in self._instructions.items() if one.user == origin.user]
        others = [key for key in with_user if key not in with_system and key != prompt.version]
        first = next((key for key in with_system if key != prompt.version), self._seed.version)
        return "merged", first, next(iter(others), None)

    def _keep(self, candidate: Candidate) -> None:
        self._recorder.append(candidate)
        self._known[candidate.id] = candidate
