"""A prompt: a named template with front matter, system and user text, whose version is its text's hash.

On disk it is one Markdown file: YAML between `---` lines, the system text, a delimiter line fixed in the
front matter, the user text. Knows nothing about rendering (`render`) or where files lie (`library`).
"""

from __future__ import annotations

import datetime as dt
import difflib
import hashlib
import math
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from audioreason.errors import PromptError

DELIMITER = "=== user ==="
LONGEST = 100_000  # characters of a prompt's file
_LONGEST_MATTER = 20_000  # of them for the front matter
_FIELDS = ("title", "aliases", "parent", "sections", "strategy")


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

    @field_validator("provenance")
    @classmethod
    def _plain(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := {*_FIELDS, "delimiter"} & set(value):
            raise ValueError(f"{sorted(taken)[0]} is a field of its own")
        return {key: _plain_value(one) for key, one in value.items()}

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
    """The prompt that a file's `text` holds. A file that begins with a line ending of Windows loses them all.

    Raises:
        PromptError: if the front matter or the delimiter is missing or wrong.
    """
    text = text.removeprefix("\ufeff")
    if text.partition("\n")[0].endswith("\r"):
        text = text.replace("\r\n", "\n")
    if len(text) > LONGEST:
        raise PromptError(f"The prompt {name} is longer than {LONGEST:,} characters.", "Shorten it.")
    lines = text.split("\n")
    ends = [number for number, line in enumerate(lines) if line.rstrip() == "---"][:2]
    if len(ends) < 2 or ends[0] != 0:
        raise PromptError(
            f"The prompt {name} has no front matter.", "Begin the file with `---`, `title: ...`, `---`."
        )
    head = _front_matter("\n".join(lines[1 : ends[1]]), name)
    delimiter = head.pop("delimiter", DELIMITER)
    body = lines[ends[1] + 1 :]
    if not isinstance(delimiter, str) or not delimiter.strip():
        raise PromptError(f"The prompt {name} has an empty `delimiter`.", f"Write `delimiter: {DELIMITER}`.")
    places = [place for place, line in enumerate(body) if line == delimiter]
    # an editor may leave a space behind it
    places = places or [place for place, line in enumerate(body) if line.strip() == delimiter.strip()]
    if len(places) != 1:
        raise _no_delimiter(name, delimiter, body, ends[1] + 2, len(places))
    middle = places[0]
    fields = {key: head.pop(key) for key in _FIELDS if key in head}
    try:
        return Prompt(
            name=name,
            system="\n".join(body[:middle]),
            user="\n".join(body[middle + 1 :]).removesuffix("\n"),
            provenance=head,
            **fields,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        hint = "Use lower-case letters, digits, dots, dashes and underscores." if where == "name" else ""
        raise PromptError(
            f"The prompt {name} has an unusable `{where}`: {first['msg'].lower()}.", hint
        ) from error


def _no_delimiter(name: str, delimiter: str, body: list[str], first: int, count: int) -> PromptError:
    """What to do where the delimiter stands several times or not at all; `first` is the body's first line."""
    hint = (
        "Change the `delimiter` to a line that the texts lack." if count else "Add it on a line of its own."
    )
    near = difflib.get_close_matches(delimiter.casefold(), [line.strip().casefold() for line in body], n=1)
    line = None
    if near and not count:
        line = first + [one.strip().casefold() for one in body].index(near[0])
        hint = f"Line {line} is `{body[line - first].strip()}`: write it as `{delimiter}`."
    return PromptError(
        f"The prompt {name} has {count or 'no'} line{'s' * (count > 1)} `{delimiter}` between system and"
        " user text.",
        hint,
        line,
    )


def dump_prompt(prompt: Prompt) -> str:
    """The file that holds a prompt; `parse_prompt` reads the same prompt back, whatever its text.

    Raises:
        PromptError: if the file would be longer than `parse_prompt` reads.
    """
    lines = {line.strip() for line in (*prompt.system.split("\n"), *prompt.user.split("\n"))}
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
    matter = yaml.dump(head, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf)
    text = f"---\n{matter}---\n{prompt.system}\n{delimiter}\n{prompt.user}\n"
    if len(text) > LONGEST or len(matter) > _LONGEST_MATTER:
        raise PromptError(
            f"The prompt {prompt.name} is longer than {LONGEST:,} characters"
            f" (or its front matter than {_LONGEST_MATTER:,}).",
            "Shorten it.",
        )
    return text


def diff(a: Prompt, b: Prompt) -> list[str]:
    """Unified diff lines from prompt A to prompt B, system text first; empty if they read the same."""
    lines: list[str] = []
    for part in ("system", "user"):
        before, after = getattr(a, part).split("\n"), getattr(b, part).split("\n")
        lines += difflib.unified_diff(
            before, after, f"{a.name} {part}", f"{b.name} {part}", lineterm="", n=max(len(before), len(after))
        )
    return lines


class _Loader(yaml.SafeLoader):
    """YAML without aliases: a few lines of them can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """YAML without aliases, for values that stand twice; odd characters are escaped."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = None if data.isprintable() else '"'  # PyYAML loses some line ends in its other styles
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def _front_matter(text: str, name: str) -> dict[Any, Any]:
    if len(text) > _LONGEST_MATTER:
        raise PromptError(
            f"The front matter of the prompt {name} is longer than {_LONGEST_MATTER:,} characters.",
            "Shorten it.",
        )
    try:
        head = yaml.load(text, Loader=_Loader) or {}  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        raise PromptError(
            f"The front matter of the prompt {name} is not YAML.",
            "Check its indentation and quotes.",
            None if line is None else line + 2,
        ) from error
    if not isinstance(head, dict):
        raise PromptError(f"The front matter of the prompt {name} is not a list of `key: value` lines.")
    return head


def _plain_value(value: Any, depth: int = 0) -> Any:
    """What YAML and JSON both write and read back the same; dates become text."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    if depth < 8:
        if isinstance(value, list | tuple):
            return [_plain_value(one, depth + 1) for one in value]
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {key: _plain_value(one, depth + 1) for key, one in value.items()}
    raise ValueError(f"{type(value).__name__} is not plain data")
