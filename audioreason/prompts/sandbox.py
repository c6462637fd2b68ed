"""The language of a prompt: Jinja2 cut down to `if`, `for`, `set` and expressions, bounded in size and time.

Three fences. Statements outside a short list are refused when a text is compiled, so nothing recurses, loads
or buffers. Everything that can grow (loops, lists, `~`, `+`, `join`, `replace`) goes through a function that
checks its size first. Every step looks at a clock, which works in any thread: signals reach the main thread
only, and pages run elsewhere. Knows nothing about prompts, items or where a text comes from.
"""

from __future__ import annotations

import functools
import string
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

LARGEST = 200_000  # bytes of one rendered text
SECONDS = 2.0  # to compile, and again to fill in, one text
MOST = 10_000  # values in one list, and numbers in one range
_SMALL = 1e6  # largest number that arithmetic takes

FUNCTIONS = ("range",)
_STATEMENTS = (nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Assign, nodes.With)
_EXPRESSIONS = (
    *(nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.Slice),
    *(nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Test, nodes.Call, nodes.CondExpr, nodes.Concat),
    *(nodes.Compare, nodes.Operand, nodes.BinExpr, nodes.UnaryExpr),
)
_WRITTEN = {  # how a refused node is written in a template, where its name does not say so
    "AssignBlock": "set ... endset",
    "CallBlock": "call",
    "ExprStmt": "do",
    "FilterBlock": "filter",
    "FromImport": "from",
    "NSRef": "namespace",
    "Scope": "autoescape",
}
_KEPT = (
    *("capitalize", "count", "d", "default", "first", "int", "last", "length", "list", "lower", "reverse"),
    *("sort", "title", "trim", "unique", "upper"),
)


FILTERS = tuple(sorted((*_KEPT, "join", "letter", "replace", "string")))


class TooSlowError(BaseException):
    """The clock ran out. Not an Exception, so that nothing inside a template engine can swallow it."""


class RefusedError(Exception):
    """A text uses a statement that prompts do not have."""

    def __init__(self, statement: str, line: int) -> None:
        super().__init__(statement)
        self.statement = statement
        self.line = line


class TimeLimit:
    """While open, template code in this thread has `SECONDS` left.

    Raises:
        TooSlowError: from inside, at the first step after the time is over.
    """

    def __enter__(self) -> None:
        self._token = _deadline.set(time.monotonic() + SECONDS)

    def __exit__(self, *exc: object) -> None:
        _deadline.reset(self._token)


_deadline: ContextVar[float] = ContextVar("deadline", default=float("inf"))


def tick() -> None:
    """Look at the clock.

    Raises:
        TooSlowError: if the time is over.
    """
    if time.monotonic() > _deadline.get():
        raise TooSlowError


def letter(number: int) -> str:
    """1 -> "A", 2 -> "B" ... 26 -> "Z"; beyond, "27"."""
    return string.ascii_uppercase[number - 1] if 1 <= number <= 26 else str(number)


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment that compiles and fills in prompts."""

    intercepted_binops = frozenset(["*", "**", "+", "%"])

    def __init__(self) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
            finalize=_text,
        )
        self.globals.clear()
        self.globals["range"] = _range
        own: dict[str, Callable[..., Any]] = {
            "letter": letter,
            "join": _join,
            "replace": _replace,
            "string": _text,
            # names that no template can write: the compiler puts them around what can grow
            "join!": _concatenate,
            "flat!": _flat,
            "steps!": _steps,
        }
        kept = {name: self.filters[name] for name in _KEPT}
        self.filters = {name: _timed(function) for name, function in (kept | own).items()}

    def build(self, tree: nodes.Template) -> jinja2.Template:
        """A template of a parsed text.

        Raises:
            RefusedError: if it uses a statement outside the list.
        """
        for node in tree.find_all(nodes.Node):
            if not isinstance(node, (*_STATEMENTS, *_EXPRESSIONS)) or getattr(node, "recursive", False):
                kind = type(node).__name__
                written = _WRITTEN.get(kind, "recursive" if kind == "For" else kind.lower())
                raise RefusedError(written, _line(node))
        code = self.compile(_Bounded().visit(tree))
        return jinja2.Template.from_code(self, code, self.make_globals(None))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on small numbers, and `+` on two texts."""
        tick()
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return _concatenate([left, right])
        if not isinstance(left, (int, float)) or not isinstance(right, (int, float)):
            raise SecurityError(f"`{operator}` is for numbers" + (" or two texts" * (operator == "+")))
        if max(abs(left), abs(right)) > (64 if operator == "**" else _SMALL):
            raise SecurityError(f"`{operator}` is for small numbers only")
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> None:
        """Let `str.format` be an attribute like any other, that is, not allowed."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """No attributes but a loop's: values are text and lists, and filters do the rest."""
        return isinstance(obj, LoopContext) and super().is_safe_attribute(obj, attr, value)


class _Bounded(NodeTransformer):
    """Put a checking function around every part of a tree that can grow."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "steps!")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "join!")

    def visit_List(self, node: nodes.List) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, "flat!")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, "flat!")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, "flat!") if node.ctx == "load" else node


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(cast(nodes.Expr, node), name, [], [], None, None, lineno=node.lineno)


def _line(node: nodes.Node) -> int:
    """A node's line; Jinja leaves it out of nodes that it makes itself, but not of those inside."""
    lines = [one.lineno for one in (node, *node.find_all(nodes.Node)) if one.lineno is not None]
    return lines[0] if lines else 1


def _timed(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)  # which keeps Jinja's mark of what is passed first
    def timed(*args: Any, **kwargs: Any) -> Any:
        tick()
        return function(*args, **kwargs)

    return timed


def _steps(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        tick()
        yield value


def _range(*bounds: int) -> Sequence[int]:
    numbers = range(*bounds)
    if len(numbers) > MOST:
        raise SecurityError(f"a range has at most {MOST:,} numbers")
    return numbers


def _flat(values: Any) -> Any:
    """The list itself, if what it holds at all depths is few."""
    _measure(values)
    return values


def _text(value: Any) -> str:
    """A value as it is written into the text: nothing for None, Python's notation for a list."""
    if value is None:
        return ""
    if isinstance(value, list | tuple | dict | range):
        _measure(value)
    elif not isinstance(value, str | int | float | jinja2.Undefined):
        raise SecurityError("this value is not text: add `| join(', ')` or `| list`")
    return str(value)


def _join(values: Iterable[Any], separator: Any = "") -> str:
    if isinstance(values, str):
        raise SecurityError("`join` is for lists, not for text")
    return _glue([_text(value) for value in _steps(values)], _text(separator))


def _concatenate(values: Sequence[Any]) -> str:
    return _glue([_text(value) for value in values], "")


def _glue(texts: Sequence[str], separator: str) -> str:
    _bound(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def _replace(text: Any, old: Any, new: Any) -> str:
    text, old, new = _text(text), _text(old), _text(new)
    _bound(len(text) + text.count(old) * len(new))
    return str.replace(text, old, new)


def _measure(value: Any) -> None:
    """Walk a list at all depths; stop at the first sign that it is too large to write."""
    size = count = 0
    pending = [value]
    while pending:
        one = pending.pop()
        count += 1
        if count > MOST:
            raise SecurityError(f"a list holds at most {MOST:,} values")
        if isinstance(one, dict):
            pending += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | range):
            if len(one) > MOST:
                raise SecurityError(f"a list holds at most {MOST:,} values")
            pending += one
        elif isinstance(one, str):
            size += len(one)
            _bound(size)


def _bound(size: int) -> None:
    if size > LARGEST:
        raise SecurityError(f"the text grows beyond {LARGEST:,} characters")
