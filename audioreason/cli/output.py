"""How commands speak: tables for people, JSON for programs, a progress line for long work.

Results go to stdout; everything else (progress, remarks) goes to stderr, so that `--json` pipes cleanly.
"""

from __future__ import annotations

import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_MOST_FOLDED = 500  # rows that are laid out to the width of a terminal

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def emit_json(value: Any) -> None:
    """Print one JSON document on stdout; values that JSON lacks become text, and NaN or infinity null."""
    document = json.dumps(_finite(value), ensure_ascii=False, indent=2, default=str, allow_nan=False)
    sys.stdout.write(document + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def plain(text: str) -> str:
    """Text as a terminal may print it: what a model wrote must not move the cursor or set the title."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def remark(text: str) -> None:
    """Say something beside the result, on stderr."""
    sys.stderr.write(text + "\n")


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> None:
    """Print an aligned table; columns named in `right` are right-aligned. Cell text is never markup.

    A terminal folds long cells, except in the first column (a name to copy) and numbers. In a pipe, and where
    the table is long, every row is one line.
    """
    texts = [["" if cell is None else plain(str(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty() or len(texts) > _MOST_FOLDED:
        _emit_lines([list(columns), *texts], [column in right for column in columns])
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for index, column in enumerate(columns):
        number = column in right
        table.add_column(
            column, justify="right" if number else "left", overflow="fold", no_wrap=number or index == 0
        )
    for row in texts:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)


def _emit_lines(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    from rich.cells import cell_len

    cells = [[cell.replace("\n", " ").replace("\t", " ") for cell in row] for row in rows]
    sizes = [[len(cell) if cell.isascii() else cell_len(cell) for cell in row] for row in cells]
    widths = [max(column) for column in zip(*sizes, strict=True)]
    lines = []
    for row, size in zip(cells, sizes, strict=True):
        padded = [
            " " * (width - own) + cell if number else cell + " " * (width - own)
            for cell, own, width, number in zip(row, size, widths, right, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    sys.stdout.write("\n".join(lines) + "\n")


def percent(value: float | None) -> str:
    """A fraction as a percentage with one decimal, or a dash."""
    return "–" if value is None else f"{100 * value:.1f}%"


def interval(bounds: Sequence[float] | None) -> str:
    """A pair of fractions as "52.9–59.1"."""
    return "" if not bounds else f"{100 * bounds[0]:.1f}–{100 * bounds[1]:.1f}"


class TerminalProgress:
    """A `Progress` on stderr; Ctrl-C once asks for a graceful stop, twice ends at once."""

    def __init__(self, bar: RichProgress, quiet: bool) -> None:
        self._bar = bar
        self._quiet = quiet
        self._task: TaskID | None = None
        self._stop = False

    def phase(self, name: str, total: int | None = None) -> None:
        """Show a new bar for this phase."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(name, total=total, note="", rate="")

    def done(self, count: int, note: str = "") -> None:
        """Move the bar to `count`."""
        if self._task is None:
            return
        task = next(task for task in self._bar.tasks if task.id == self._task)
        elapsed = time.monotonic() - task.start_time if task.start_time else 0
        rate = f"{count / elapsed:.1f}/s" if elapsed > 0.5 and count else ""
        self._bar.update(self._task, completed=count, note=note, rate=rate)

    def metrics(self, step: int, **values: float) -> None:
        """Metrics have no place on one line; jobs keep them."""

    def should_stop(self) -> bool:
        """True after the first Ctrl-C."""
        return self._stop

    def request_stop(self) -> None:
        """Ask for a graceful stop, saying so."""
        self._stop = True
        if not self._quiet:
            self._bar.console.print(
                "stopping after what is in flight; Ctrl-C again to end at once", style="dim"
            )


@contextmanager
def terminal_progress(quiet: bool = False) -> Iterator[TerminalProgress]:
    """A progress line for the time of the block; SIGINT and SIGTERM ask for a graceful stop first."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    console = Console(stderr=True, quiet=quiet)
    bar = RichProgress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", style="dim"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    progress = TerminalProgress(bar, quiet)
    previous: dict[signal.Signals, Any] = {}

    def on_signal(number: int, _frame: object) -> None:
        if progress.should_stop():
            raise KeyboardInterrupt
        progress.request_stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, on_signal)
    try:
        with bar:
            yield progress
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def either(as_json: bool, value: Any, show: Callable[[], None]) -> None:
    """Print `value` as JSON, or call `show` to print it for people."""
    if as_json:
        emit_json(value)
    else:
        show()
