"""A prompt: a named template with front matter, system and user text, whose version is its text's hash.

On disk it is one Markdown file: YAML between `---` lines, the system text, a delimiter line fixed in the
front matter, the user text. Knows nothing about rendering (`render`) or where files lie (`library`).
"""

from __future__ import annotations

import difflib
import hashlib
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from audioreason.errors import PromptError

DELIMITER = "=== user ==="
LONGEST = 100_000  # characters of a prompt's file


class Prompt(BaseModel):
    """A prompt template. `sections` are the parts that an answer must have, in order.

    `provenance` holds what an optimiser or a researcher wants to remember (optimizer, split, score ...).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")
    title: str = ""
    system: str = ""
    user: str
    aliases: tuple[str, ...] = ()
    parent: str | None = None
    sections: tuple[str, ...] = ()
    strategy: str = ""
    provenance: dict[str, Any] = Field(default_factory=dict)

    @field_validator("sections")
    @classmethod
    def _upper(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.upper() for name in value)

    @field_validator("title", "strategy")
    @classmethod
    def _one_line(cls, value: str) -> str:
        return " ".join("".join(c if c.isprintable() else " " for c in value).split())

    @property
    def version(self) -> str:
        """12 hex digits of the SHA-256 of system and user text: what decides an answer, and nothing else."""
        text = f"{len(self.system)}\n{self.system}\n{self.user}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    @property
    def asks_heard(self) -> bool:
        """Whether an answer must say what was heard, so that cue outcomes mean something."""
        return "HEARD" in self.sections


def parse_prompt(text: str, name: str) -> Prompt:
    """The prompt that a file's `text` holds.

    Raises:
        PromptError: if the front matter or the delimiter is missing or wrong.
    """
    text = text.replace("\r\n", "\n")
    if len(text) > LONGEST:
        raise PromptError(f"The prompt {name} is longer than {LONGEST:,} characters.", "Shorten it.")
    lines = text.split("\n")
    if lines[0].strip() != "---" or "---" not in [line.strip() for line in lines[1:]]:
        raise PromptError(
            f"The prompt {name} has no front matter.", "Begin the file with `---`, `title: ...`, `---`."
        )
    end = 1 + [line.strip() for line in lines[1:]].index("---")
    try:
        head = yaml.safe_load("\n".join(lines[1:end])) or {}
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        raise PromptError(
            f"The front matter of the prompt {name} is not YAML.",
            "Check its indentation and quotes.",
            None if line is None else line + 2,
        ) from error
    if not isinstance(head, dict):
        raise PromptError(f"The front matter of the prompt {name} is not a list of `key: value` lines.")
    delimiter = head.pop("delimiter", DELIMITER)
    body = lines[end + 1 :]
    if delimiter not in body:
        raise PromptError(
            f"The prompt {name} has no line `{delimiter}` between system and user text.",
            "Add it on a line of its own.",
        )
    middle = body.index(delimiter)
    user = "\n".join(body[middle + 1 :])
    fields = {
        key: head.pop(key) for key in ("title", "aliases", "parent", "sections", "strategy") if key in head
    }
    try:
        return Prompt(
            name=name,
            system="\n".join(body[:middle]),
            user=user.removesuffix("\n"),
            provenance=head,
            **fields,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PromptError(f"The prompt {name} has an unusable `{where}`: {first['msg'].lower()}.") from error


def dump_prompt(prompt: Prompt) -> str:
    """The file that holds a prompt; `parse_prompt` reads the same prompt back, whatever its text."""
    lines = {*prompt.system.split("\n"), *prompt.user.split("\n")}
    delimiter = DELIMITER
    while delimiter in lines:
        delimiter = f"={delimiter}="
    head: dict[str, Any] = {"title": prompt.title}
    for key in ("aliases", "sections"):
        if value := getattr(prompt, key):
            head[key] = list(value)
    for key in ("parent", "strategy"):
        if value := getattr(prompt, key):
            head[key] = value
    head |= prompt.provenance
    head["delimiter"] = delimiter
    matter = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{matter}---\n{prompt.system}\n{delimiter}\n{prompt.user}\n"


def diff(a: Prompt, b: Prompt) -> list[str]:
    """Unified diff lines from prompt A to prompt B, system text first; empty if they read the same."""
    lines: list[str] = []
    for part in ("system", "user"):
        before, after = getattr(a, part).splitlines(), getattr(b, part).splitlines()
        lines += difflib.unified_diff(
            before, after, f"{a.name} {part}", f"{b.name} {part}", lineterm="", n=max(len(before), len(after))
        )
    return lines
