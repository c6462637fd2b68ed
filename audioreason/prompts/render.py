"""Fill a prompt for one item in a sandbox: Jinja2 without side effects, strict, bounded in size and time.

Values (a question, a choice) are inserted as text and never rendered again. Knows nothing about endpoints.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import meta, nodes

from audioreason.errors import PromptError
from audioreason.prompts.sandbox import (
    FILTERS,
    FUNCTIONS,
    LARGEST,
    SECONDS,
    RefusedError,
    Sandbox,
    TimeLimit,
    TooSlowError,
    letter,
    tick,
)
from audioreason.prompts.template import LONGEST, Prompt

VARIABLES = ("question", "choices", "letters", "language", "modality", "category", "subcategory")
# what a benchmark says about its own items: a prompt with these is told more than the question
REVEALING = ("category", "subcategory")

_RAW = "Literal braces are written between {% raw %} and {% endraw %}."
_SINGLE = re.compile(r"(?<![{%#\w])\{\s*([A-Za-z_]+)\s*\}(?!\})")
_MEANT = (*VARIABLES, "options", "audio", "question_text", "choice", "option")
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_RAW_BLOCK = re.compile(r"\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}", re.DOTALL)

# control tokens of the model families that hear: Qwen (<|...|>, <tts_pad>, <think>, <tool_call>), Llama and
# Mistral (<s>, [INST]), Gemma (<start_of_turn>), DeepSeek (full-width bars)
_SPECIAL = re.compile(
    r"<[|｜][^<>|｜\s][^<>|｜]{0,40}[|｜]>|</?(?:think|tool_call|tool_response|tools)>|<tts_[a-z_]{1,30}>"
    r"|</?s>|\[/?INST\]|<</?SYS>>|<(?:bos|eos|pad|unk|start_of_turn|end_of_turn|audio_soft_token)>"
)


@dataclass(frozen=True)
class Rendered:
    """What is sent for one item, apart from the clip."""

    system: str
    user: str


def render(prompt: Prompt, *, question: str, choices: Sequence[str], **context: Any) -> Rendered:
    """Render both texts for a question.

    `context` may hold `language`, `modality`, `category` and `subcategory`; unset ones are None. Line numbers
    of errors count within the text (system or user) that is named.

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
        **dict.fromkeys(VARIABLES[3:]),
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


def revealed(prompt: Prompt) -> tuple[str, ...]:
    """Which of `REVEALING` a prompt uses; none if it is no valid template."""
    try:
        return tuple(name for name in check(prompt) if name in REVEALING)
    except PromptError:
        return ()


def remarks(prompt: Prompt) -> tuple[str, ...]:
    """What a prompt that can be rendered most likely does not mean, each in a sentence with its line.

    Raises:
        PromptError: as `check`.
    """
    used = check(prompt)
    found = []
    for what, source in (("system text", prompt.system), ("user text", prompt.user)):
        plain = _blanked(source, _RAW_BLOCK)
        found += [
            f"Line {_line_of(source, comment.start())} of the {what}: what stands between {{# and #}} is a"
            f" comment and is not sent. {_RAW}"
            for comment in _COMMENT.finditer(plain)
            if comment[0][2:-2].strip()
        ]
        found += [
            f"Line {_line_of(source, name.start())} of the {what}: {name[0]} is sent as it stands."
            f" A variable has two braces: {{{{ {name[1]} }}}}."
            for name in _SINGLE.finditer(_blanked(plain, _COMMENT))
            if name[1].lower() in _MEANT
        ]
    if "question" not in used:
        found.append("The prompt never uses {{ question }}: the question is not asked.")
    if not {"choices", "letters"} & set(used):
        found.append("The prompt never uses {{ choices }}: the model does not see what it can choose.")
    if told := revealed(prompt):
        found.append(
            f"The prompt tells the model each item's {' and '.join(told)}, which only the benchmark knows;"
            " say so where you report its accuracy."
        )
    return tuple(found)


def _blanked(source: str, pattern: re.Pattern[str]) -> str:
    """A text with spaces where a pattern is found, so that places stay."""
    return pattern.sub(lambda match: " " * len(match[0]), source)


def _line_of(source: str, place: int) -> int:
    return source.count("\n", 0, place) + 1


def flag_special_tokens(text: str) -> list[str]:
    """Strings in `text` that a careless tokenizer would read as control tokens, each once, in order."""
    return list(dict.fromkeys(match[0] for match in _SPECIAL.finditer(text)))


_ENVIRONMENT = Sandbox()


@lru_cache(maxsize=256)
def _compile(source: str, what: str) -> tuple[jinja2.Template, frozenset[str]]:
    """A section's template and the variables it uses."""
    if len(source) > LONGEST:
        raise PromptError(f"The {what} is longer than {LONGEST:,} characters.", "Shorten it.")
    try:
        with TimeLimit():
            tree = _ENVIRONMENT.parse(source)
            used = meta.find_undeclared_variables(tree) - set(FUNCTIONS)
            _refuse_unknown(tree, used - set(VARIABLES), what)
            return _ENVIRONMENT.build(tree), frozenset(used)
    except RefusedError as error:
        raise PromptError(
            f"Line {error.line} of the {what} uses `{error.statement}`, which prompts may not.",
            "Use `if`, `for`, `set` and expressions.",
            error.line,
        ) from error
    except jinja2.TemplateSyntaxError as error:
        why = (error.message or "").rstrip(".")
        hint = f"There are: {', '.join(FILTERS)}." if "No filter" in why else f"Check its braces. {_RAW}"
        raise PromptError(
            f"Line {error.lineno} of the {what} is not a valid template: {why}.", hint, error.lineno
        ) from error
    except ValueError as error:  # Python reads 4,300 digits at most
        raise PromptError(f"The {what} holds a number that is too long.", "Shorten it.") from error
    except TooSlowError as error:
        raise PromptError(f"The {what} takes longer than {SECONDS:.0f} s to read.", "Simplify it.") from error
    except TypeError as error:  # a constant expression that cannot be computed, such as {[1]: 2}
        raise PromptError(
            f"The {what} holds an expression that cannot be computed ({error}).", f"Correct it. {_RAW}"
        ) from error
    except (RecursionError, MemoryError, SyntaxError) as error:  # Python's own limits on nesting
        raise PromptError(f"The {what} is nested too deeply.", "Simplify it.") from error


def _refuse_unknown(tree: nodes.Template, unknown: set[str], what: str) -> None:
    strange = [node for node in tree.find_all(nodes.Name) if node.name in unknown or node.name == "self"]
    if strange:
        first = min(strange, key=lambda node: node.lineno)
        raise PromptError(
            f"Line {first.lineno} of the {what} uses an unknown variable, `{first.name}`.",
            f"Known are: {', '.join(VARIABLES)}. {_RAW}",
            first.lineno,
        )


def _render(source: str, what: str, values: dict[str, Any]) -> str:
    template, _ = _compile(source, what)
    parts: list[str] = []
    size = 0
    try:
        with TimeLimit():
            for part in template.generate(values):
                tick()
                size += len(part.encode("utf-8", "surrogatepass"))
                if size > LARGEST:
                    raise PromptError(f"The {what} grows beyond {LARGEST // 1000} kB.", "Simplify its loops.")
                parts.append(part)
    except TooSlowError as error:
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
    return "".join(parts)


def _line(error: BaseException) -> int | None:
    """The template's line in the innermost template frame of a traceback; Jinja rewrites these."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            found = trace.tb_lineno
        trace = trace.tb_next
    return found
