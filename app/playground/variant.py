"""A variant: prompt text being edited, sampling, endpoint. Kept in the session, and as drafts on disk.

Each has a slot ("one" on the main view, "a" to "d" side by side); its widgets are named after the slot.
Knows nothing about items or answers.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import session
from app.machine import machine
from audioreason.errors import PromptError
from audioreason.inference.endpoint import Endpoint, Sampling, load_endpoints
from audioreason.prompts import Prompt, load_prompt
from audioreason.runs.desk import drop_draft, load_draft, save_draft

_DEFAULT_PROMPT = "structured-reasoning"
IN_USE = "in use"  # the endpoint that the whole lab uses

# field -> what an untouched form holds; None leaves the choice to the server
SAMPLING: dict[str, float | int | str | None] = {
    "temperature": 0.1,
    "top_p": None,
    "top_k": None,
    "min_p": None,
    "repetition_penalty": None,
    "no_repeat_ngram_size": None,
    "stop": "",  # one text a line
    "max_tokens": 4096,
    "samples": 1,
    "seed": None,
}


@dataclass(frozen=True)
class Variant:
    """The variant of one slot.

    Its values live in the session under the slot's own name. Widgets start from them and report changes back;
    a change from elsewhere gives the widgets new keys, because a value that is pushed into a widget which the
    browser has not drawn yet is lost.
    """

    slot: str

    @property
    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = st.session_state.setdefault(f"variant_{self.slot}", {})
        return values

    def key(self, field: str) -> str:
        """Name of a field's widget; template editors get a name that their style is found by."""
        kind = "template_" if field in ("system", "user") else ""
        return f"{kind}{field}_{self.slot}_{self._values.get('revision', 0)}"

    def value(self, field: str) -> Any:
        """What a field holds."""
        return self._values.get(field)

    def start(self, field: str) -> Any:
        """What a field's widget starts from: the same for as long as it is drawn.

        A default that follows the value would reach the browser while somebody types, and win.
        """
        if self.key(field) not in st.session_state:  # the widget is drawn for the first time, or again
            self._values[f"start_{field}"] = self.value(field)
        return self._values.get(f"start_{field}")

    def restore(self, prompt: str | None = None, start: str = _DEFAULT_PROMPT) -> None:
        """Fill the session from the kept draft, once a session; later, from what the widgets hold.

        Args:
            prompt: from the URL; wins over what was kept.
            start: the prompt to begin with where nothing was kept.
        """
        values = self._values
        if "system" in values and prompt in (None, values["prompt"]):
            self._collect()
            return
        draft = load_draft(session.workspace(), f"slot/{self.slot}") or {}
        for field, default in SAMPLING.items():
            values.setdefault(field, draft.get(field, default))
        values.setdefault("endpoint", draft.get("endpoint", IN_USE))
        names = prompt_names()
        wanted = [prompt, draft.get("prompt"), start, *names]
        self.open_prompt(next(name for name in wanted if name in names))

    def _collect(self) -> None:
        """Take over what widgets hold and nobody was told of, before anything is drawn.

        A newer run can interrupt Streamlit inside a callback, and the change is then never reported again.
        """
        for field in ("system", "user"):
            if (st.session_state.get(self.key(field), self.value(field)) or "") != self.value(field):
                self.text_changed(field)
        for field in ("endpoint", *SAMPLING):
            if st.session_state.get(self.key(field), self.value(field)) != self.value(field):
                self.setting_changed(field)

    def open_prompt(self, name: str) -> None:
        """Show a prompt: its kept edits if there are any, else its text."""
        base = _load(name)
        draft = load_draft(session.workspace(), f"prompt/{name}") or {}
        self._change(prompt=name, system=draft.get("system", base.system), user=draft.get("user", base.user))

    def show_text(self, prompt: Prompt) -> None:
        """Put the text of another version into the editor, as an edit of the open prompt."""
        self._change(system=prompt.system, user=prompt.user)
        self.keep_text()

    def text_changed(self, field: str) -> None:
        """Take over what was typed into an editor, and keep it as a draft."""
        if self.key(field) not in st.session_state:  # the editor went away with the click that ended typing
            return
        self._values[field] = st.session_state[self.key(field)] or ""
        self.keep_text()

    def setting_changed(self, field: str) -> None:
        """Take over a number or a choice, and keep it."""
        if self.key(field) not in st.session_state:
            return
        self._values[field] = st.session_state[self.key(field)]
        self.keep_settings()

    def keep_text(self) -> None:
        """Keep the edits as a draft, or forget the draft if the text is the prompt's own again."""
        base = self.base()
        key = f"prompt/{base.name}"
        if self.edited():
            save_draft(session.workspace(), key, {"system": self.value("system"), "user": self.value("user")})
        else:
            drop_draft(session.workspace(), key)

    def keep_settings(self) -> None:
        """Keep prompt, endpoint and sampling of this slot as they are."""
        fields = ("prompt", "endpoint", *SAMPLING)
        save_draft(session.workspace(), f"slot/{self.slot}", {field: self.value(field) for field in fields})

    def _change(self, **values: Any) -> None:
        self._values.update(values, revision=self._values.get("revision", 0) + 1)

    def base(self) -> Prompt:
        """The prompt as it was saved."""
        return _load(str(self.value("prompt")))

    def prompt(self) -> Prompt:
        """The prompt as it stands in the editor."""
        text = {"system": self.value("system") or "", "user": self.value("user") or ""}
        return self.base().model_copy(update=text)

    def edited(self) -> bool:
        """Whether the editor differs from the saved prompt."""
        return self.prompt().version != self.base().version

    def sampling(self) -> Sampling:
        """The sampling of each of the generations: the count of samples is the caller's business."""
        values = {field: self.value(field) for field in SAMPLING if field not in ("samples", "seed")}
        values["stop"] = tuple(line for line in (values["stop"] or "").splitlines() if line)
        return Sampling(**{field: value for field, value in values.items() if value is not None})

    def seed(self) -> int:
        """The seed that samples are numbered from: the one in the form, else a new one."""
        given = self.value("seed")
        return random.randrange(2**31) if given is None else int(given)

    def endpoint(self) -> Endpoint | None:
        """Who is asked; None while nobody is there."""
        name = self.value("endpoint")
        for endpoint in load_endpoints(session.workspace()):
            if endpoint.name == name:
                return endpoint
        return machine().endpoint()


def _load(name: str) -> Prompt:
    return session.prompts().get(name) or load_prompt(name, [session.workspace().prompts])


def prompt_names() -> list[str]:
    """Names of the prompts that can be opened.

    Raises:
        PromptError: if there is none at all.
    """
    names = list(session.prompts())
    if not names:
        raise PromptError(
            "There is no readable prompt.", "Put an .md file into the workspace's prompts folder."
        )
    return names
