"""Where prompts are found: the workspace's folder first, then those that came with the lab."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from audioreason.errors import PromptError
from audioreason.prompts.template import LONGEST, Prompt, parse_prompt
from audioreason.workspace import read_regular, shipped


def load_prompt(name_or_path: str, folders: Sequence[Path] = ()) -> Prompt:
    """A prompt by name, alias, or path of an `.md` file; `folders` in order, then the shipped ones.

    A name wins over an alias, and an earlier folder's alias over a later one's.

    Raises:
        PromptError: if there is none, or its file is broken.
    """
    if name_or_path.endswith(".md"):
        path = Path(name_or_path)
        if not path.is_file():
            raise PromptError(f"There is no prompt file {path}.")
        return _read(path)
    for path in _files(folders):
        if path.stem == name_or_path:
            return _read(path)
    found = _readable(folders)
    for prompt in found.values():
        if name_or_path in prompt.aliases:
            return prompt
    names = sorted(found)
    close = get_close_matches(name_or_path, names, n=1)
    raise PromptError(
        f"There is no prompt named {name_or_path}.",
        f"Did you mean {close[0]}?" if close else f"There are: {', '.join(names)}.",
    )


def list_prompts(folders: Sequence[Path] = ()) -> list[Prompt]:
    """Every readable prompt by name; one in an earlier folder hides one of the same name in a later folder.

    Broken files are left out: `broken_prompts` says what is wrong with them.
    """
    found = _readable(folders)
    return [found[name] for name in sorted(found)]


def broken_prompts(folders: Sequence[Path] = ()) -> list[PromptError]:
    """What is wrong with each prompt file that cannot be read."""
    errors = []
    for path in _files(folders):
        try:
            _read(path)
        except PromptError as error:
            errors.append(error)
    return errors


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in [*folders, shipped("prompts")]:
        if folder.is_dir():
            yield from sorted(path for path in folder.glob("*.md") if not path.name.startswith("."))


def _readable(folders: Sequence[Path]) -> dict[str, Prompt]:
    """Prompts by name, in the order in which they are found."""
    found: dict[str, Prompt] = {}
    for path in _files(folders):
        if path.stem not in found:
            with contextlib.suppress(PromptError):  # `broken_prompts` reports it
                found[path.stem] = _read(path)
    return found


def _read(path: Path) -> Prompt:
    try:
        if not path.is_file():  # a pipe or a device would never end
            raise PromptError(f"{path} is not a regular file.", "Remove it, or put the prompt's text there.")
        if path.stat().st_size > 4 * LONGEST:  # bytes: parse_prompt counts characters
            raise PromptError(f"{path} is longer than {LONGEST:,} characters.", "Shorten it.")
        # bytes, because reading text would change line endings and with them the version
        text = decode_prompt(read_regular(path), str(path))
    except OSError as error:
        raise PromptError(f"{path} cannot be read ({error.strerror or error}).", "Check the file.") from error
    return _parse(text, path.stem)


def decode_prompt(raw: bytes, name: str) -> str:
    """The text of a prompt's file: UTF-8, or UTF-16 with its byte order mark.

    Raises:
        PromptError: if it is neither; it names the line.
    """
    utf16 = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        if not utf16 and b"\0" in raw[:200]:
            raise PromptError(
                f"{name} cannot be read as text: it looks like UTF-16 without its mark.", "Save it as UTF-8."
            )
        text = raw.decode("utf-16" if utf16 else "utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise PromptError(
            f"Line {line} of {name} cannot be read as text: it is not UTF-8.", "Save it as UTF-8.", line
        ) from error
    if not text:
        raise PromptError(f"{name} cannot be read as text: it is empty.", "Write the prompt into it.")
    return text


@lru_cache(maxsize=512)  # pages list every prompt at every click
def _parse(text: str, name: str) -> Prompt:
    return parse_prompt(text, name)
