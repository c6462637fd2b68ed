"""Every page's action as a command. Contents: `evaluating` (eval), `running` (runs, score, show, import,
export), `comparing` (compare, paper, stability, contribution), `reviewing` (errors, annotate), `prompting`
(prompts), `optimizing` (optimize), `datasets` (data, soundcheck), `system` (lab, serve, doctor), `training`
(teach, train, merge), `endpoints` (endpoints), `resting` (rest), `working` (jobs), `clustering` (cluster),
`challenging` (submit, rubrics).

Commands import what they need when they run, so that `audioreason --help` answers at once.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from audioreason.cli import (
    challenging,
    clustering,
    comparing,
    datasets,
    endpoints,
    evaluating,
    optimizing,
    prompting,
    resting,
    reviewing,
    running,
    system,
    training,
    working,
)
from audioreason.errors import LabError
from audioreason.workspace import FULL, disk_error, private_files

app = typer.Typer(
    name="audioreason",
    help="A lab for making audio language models reason better.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _options(
    workspace: Annotated[
        str | None,
        typer.Option(
            "--workspace", "-w", help="The lab's folder (default ./workspace or AUDIOREASON_WORKSPACE)."
        ),
    ] = None,
) -> None:
    if workspace:
        os.environ["AUDIOREASON_WORKSPACE"] = workspace


system.register(app)
evaluating.register(app)
running.register(app)
comparing.register(app)
reviewing.register(app)
training.register(app)
app.add_typer(prompting.app, name="prompts")
app.add_typer(datasets.app, name="data")
app.add_typer(datasets.soundcheck, name="soundcheck")
app.add_typer(endpoints.app, name="endpoints")
app.add_typer(optimizing.app, name="optimize")
app.add_typer(resting.app, name="rest")
app.add_typer(working.app, name="jobs")
app.add_typer(clustering.app, name="cluster")
app.add_typer(challenging.submit, name="submit")
app.add_typer(challenging.rubrics, name="rubrics")


def main() -> None:
    """Run the command line. What went wrong becomes a sentence on stderr and the exit status.

    1: the lab or the disk refused; 2: the command was mistyped; 130: interrupted.
    """
    private_files()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without some character shows "?"
    try:
        app(prog_name="audioreason")
    except LabError as error:
        sys.stderr.write(f"{error.message}\n")
        if error.hint:
            sys.stderr.write(f"  {error.hint}\n")
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # after BrokenPipeError, which is one
        if error.errno in (*FULL, errno.EROFS):
            said = disk_error(Path(error.filename or os.environ.get("AUDIOREASON_WORKSPACE", ".")), error)
            sys.stderr.write(f"{said.message}\n  {said.hint}\n")
            sys.exit(1)
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"{place}{error.strerror or error}.\n")
        sys.exit(1)
    except RecursionError:
        sys.stderr.write("The input is nested too deeply to be read.\n")
        sys.exit(1)
    except UnicodeEncodeError as error:
        sys.stderr.write(f"The input has a character that is none ({error.object[error.start]!a}).\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
