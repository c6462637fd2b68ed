"""Fill a prompt for one item in a sandbox: Jinja2 without side effects, strict, bounded in size and time.

Values (a question, a choice) are inserted as text and never rendered again. Knows nothing about endpoints.
"""

from __future__ import annotations

import re
import string
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import FrameType
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from audioreason.errors import PromptError
from audioreason.prompts.template import Prompt

VARIABLES = ("question", "choices", "letters", "language", "modality")
LARGEST = 200_000  # characters of one rendered text
SECONDS = 2.0  # time limit for one text

_SPECIAL = re.compile(r"<\|[A-Za-z0-9_ ]{1,40}\|>|</?think>")


@dataclass(frozen=True)
class Rendered:
    """What is sent for one item, apart from the clip."""

    system: str
    user: str


def render(prompt: Prompt, *, question: str, choices: Sequence[str], **context: Any) -> Rendered:
    """Render both texts for a question.

    `context` may hold `language` and `modality`; unset ones are None. Line numbers of errors count within
    the text (system or user) that is named.

    Raises:
        PromptError: unknown variable, syntax error, forbidden operation, too large or too slow.
    """
    unknown = set(context) - set(VARIABLES)
    if unknown:
        raise TypeError(f"unknown context: {', '.join(sorted(unknown))}")
    values = {
        "question": question,
        "choices": tuple(choices),
        "letters": tuple(letter(i + 1) for i in range(len(choices))),
        "language": None,
        "modality": None,
    } | context
    return Rendered(
        system=_render(prompt.system, "system text", values), user=_render(prompt.user, "user text", values)
    )


def check(prompt: Prompt) -> tuple[str, ...]:
    """The variables a prompt uses, in the order of `VARIABLES`.

    Raises:
        PromptError: as `render` would, as far as can be told without an item.
    """
    used = set(_compile(prompt.system, "system text")[1]) | set(_compile(prompt.user, "user text")[1])
    return tuple(name for name in VARIABLES if name in used)


def flag_special_tokens(text: str) -> list[str]:
    """Strings in `text` that a careless tokenizer would read as control tokens, each once, in order."""
    return list(dict.fromkeys(match[0] for match in _SPECIAL.finditer(text)))


def letter(number: int) -> str:
    """1 -> "A", 2 -> "B" ... 26 -> "Z"; beyond, "27"."""
    return string.ascii_uppercase[number - 1] if 1 <= number <= 26 else str(number)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Only what a prompt needs: no attributes but a loop's, few filters, arithmetic that cannot explode."""

    intercepted_binops = frozenset(["*", "**", "+", "%"])

    def __init__(self) -> None:
        super().__init__(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True)
        self.globals.clear()
        kept = (
            "upper",
            "lower",
            "capitalize",
            "title",
            "trim",
            "length",
            "first",
            "last",
            "default",
            "list",
            "reverse",
        )
        self.filters = {name: self.filters[name] for name in kept} | {"letter": letter, "join": _join}

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        both_numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return _bounded(left + right)
        if not both_numbers or operator == "**" or max(abs(left), abs(right)) > 1e6:
            raise SecurityError(f"`{operator}` is for small numbers only")
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> None:
        """Let `str.format` be an attribute like any other, that is, not allowed."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return isinstance(obj, LoopContext) and super().is_safe_attribute(obj, attr, value)


def _join(values: Iterable[object], separator: str = "") -> str:
    if isinstance(values, str):
        raise SecurityError("`join` is for lists, not for text")
    return _bounded(str(separator).join(str(value) for value in values))


def _bounded(text: str) -> str:
    if len(text) > LARGEST:
        raise SecurityError(f"the text grows beyond {LARGEST:,} characters")
    return text


_ENVIRONMENT = _Sandbox()


@lru_cache(maxsize=256)
def _compile(source: str, what: str) -> tuple[jinja2.Template, frozenset[str]]:
    try:
        tree = _ENVIRONMENT.parse(source)
        used = meta.find_undeclared_variables(tree)
        used |= {node.name for node in tree.find_all(nodes.Name) if node.name == "self"}
        unknown = sorted(used - set(VARIABLES))
        if unknown:
            line = next((n.lineno for n in tree.find_all(nodes.Name) if n.name == unknown[0]), None)
            raise PromptError(
                f"Line {line} of the {what} uses an unknown variable, `{unknown[0]}`.",
                f"Known are: {', '.join(VARIABLES)}.",
                line,
            )
        forbidden = (
            nodes.Macro,
            nodes.CallBlock,
            nodes.Include,
            nodes.Import,
            nodes.FromImport,
            nodes.Extends,
        )
        for node in tree.find_all(forbidden):
            kind = type(node).__name__.lower()
            raise PromptError(
                f"Line {node.lineno} of the {what} uses `{kind}`, which prompts may not.",
                "Write the text out.",
                node.lineno,
            )
        return _ENVIRONMENT.from_string(source), frozenset(used)
    except jinja2.TemplateSyntaxError as error:
        why = (error.message or "").rstrip(".")
        raise PromptError(
            f"Line {error.lineno} of the {what} is not a valid template: {why}.",
            "Check its braces.",
            error.lineno,
        ) from error
    except RecursionError as error:
        raise PromptError(f"The {what} is nested too deeply.", "Simplify it.") from error


def _render(source: str, what: str, values: dict[str, Any]) -> str:
    template, _ = _compile(source, what)
    try:
        with _TimeLimit():
            parts: list[str] = []
            size = 0
            for part in template.generate(values):
                size += len(part)
                if size > LARGEST:
                    raise SecurityError(f"the text grows beyond {LARGEST:,} characters")
                parts.append(part)
        return "".join(parts)
    except _TooSlowError as error:
        raise PromptError(
            f"The {what} takes longer than {SECONDS:.0f} s to fill in.", "Simplify its loops."
        ) from error
    except (
        jinja2.TemplateError,
        TypeError,
        ValueError,
        ArithmeticError,
        LookupError,
        AttributeError,
    ) as error:
        line = _line(error)
        where = f"Line {line} of the {what}" if line else f"The {what}"
        raise PromptError(f"{where} cannot be filled in: {str(error).rstrip('.')}.", "", line) from error
    except (RecursionError, MemoryError) as error:
        raise PromptError(f"The {what} is too large to fill in.", "Simplify it.") from error


class _TooSlowError(BaseException):
    """Not an Exception, so that nothing inside a template can swallow it."""


class _TimeLimit:
    """Stop template code after SECONDS, in this thread alone, and stop variables that grow too large.

    Signals reach the main thread only and pages run elsewhere, so a trace function looks at each line.
    """

    def __enter__(self) -> None:
        self._deadline = time.monotonic() + SECONDS
        self._previous = sys.gettrace()
        sys.settrace(self._enter_frame)

    def __exit__(self, *exc: object) -> None:
        sys.settrace(self._previous)

    def _enter_frame(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any] | None:
        return self._on_line if frame.f_code.co_filename == "<template>" else None

    def _on_line(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any] | None:
        if event == "line":
            if time.monotonic() > self._deadline:
                raise _TooSlowError
            for value in frame.f_locals.values():
                if isinstance(value, str) and len(value) > LARGEST:
                    raise SecurityError(f"the text grows beyond {LARGEST:,} characters")
        return self._on_line


def _line(error: BaseException) -> int | None:
    """The template's line in the innermost template frame of a traceback; Jinja rewrites these."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            found = trace.tb_lineno
        trace = trace.tb_next
    return found
