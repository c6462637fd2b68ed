"""Where prompts are found: the workspace's folder first, then those that came with the lab."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from audioreason.errors import PromptError
from audioreason.prompts.template import Prompt, parse_prompt
from audioreason.workspace import shipped


def load_prompt(name_or_path: str, folders: Sequence[Path] = ()) -> Prompt:
    """A prompt by name, alias, or path of an `.md` file; `folders` in order, then the shipped ones.

    A name wins over an alias.

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
    prompts = list_prompts(folders)
    for prompt in prompts:
        if name_or_path in prompt.aliases:
            return prompt
    names = [prompt.name for prompt in prompts]
    close = get_close_matches(name_or_path, names, n=1)
    raise PromptError(
        f"There is no prompt named {name_or_path}.",
        f"Did you mean {close[0]}?" if close else f"There are: {', '.join(names)}.",
    )


def list_prompts(folders: Sequence[Path] = ()) -> list[Prompt]:
    """Every readable prompt by name; one in an earlier folder hides one of the same name in a later folder.

    Broken files are left out: `broken_prompts` says what is wrong with them.
    """
    found: dict[str, Prompt] = {}
    for path in _files(folders):
        if path.stem not in found:
            try:
                found[path.stem] = _read(path)
            except PromptError:
                continue
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


def _read(path: Path) -> Prompt:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{path} cannot be read as text ({type(error).__name__}).") from error
    return parse_prompt(text, path.stem)
