"""What runs a job: `python -m audioreason.jobs.worker JOBDIR`, in its own session, started by the queue.

It takes the job's lock before anything else and keeps it until its process image is replaced by a
reconciler (`jobs.queue`), so that lock, GPU memory and sockets go at the same moment.
"""

from __future__ import annotations

import array
import fcntl
import logging
import os
import signal
import stat
import sys
import termios
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from audioreason.workspace import FileLock, Workspace, private_files

if TYPE_CHECKING:
    from audioreason.jobs.live import JobProgress
    from audioreason.jobs.spec import Ending

_LOCK_SECONDS = 10.0  # whoever asks whether a worker lives holds the lock for microseconds

_DONE = {"finished": "finished its work", "failed": "failed", "stopped": "was stopped"}

log = logging.getLogger("audioreason.jobs")


def main(arguments: list[str]) -> int:
    """Run one job and become a reconciler; returns, with a status, only if this process was not wanted."""
    private_files()
    folder = Path(arguments[0]).resolve()
    if not folder.is_dir():
        return 2  # deleted meanwhile
    lock = FileLock(folder / "lock")
    give_up = time.monotonic() + _LOCK_SECONDS
    while not lock.acquire():
        if time.monotonic() > give_up:
            return 3  # another worker lives: this one is not needed
        time.sleep(0.02)
    workspace = Workspace(folder.parent.parent)

    from audioreason.jobs.processes import TOKEN_VARIABLE

    token = os.environ.get(TOKEN_VARIABLE, "")
    row = _claim(workspace, folder.name, token)
    if row is None:
        return 4  # the transaction that started this process never came to be
    attempt, grace = row
    work(workspace, folder, token, attempt, grace)
    return _become_reconciler(workspace)


def _claim(workspace: Workspace, job_id: str, token: str) -> tuple[int, float] | None:
    """Attempt and grace time, once the queue has confirmed that this process is the job's worker."""
    from audioreason.jobs import rows
    from audioreason.jobs.processes import identity

    with rows.queue_table(workspace) as connection:
        row = rows.row(connection, job_id)
        if row is None or row.state != "running" or row.token != token:
            return None
        rows.update(connection, job_id, pid=os.getpid(), started=identity(os.getpid()))
        return row.attempt, row.grace


def work(workspace: Workspace, folder: Path, token: str, attempt: int, grace: float) -> None:
    """Do the job in `folder`, whose lock this process holds, and write how it ended into its state."""
    from audioreason.errors import LabError
    from audioreason.jobs.live import JobProgress, StoppedEarly
    from audioreason.jobs.spec import read_spec

    _log_to_stdout()
    progress = JobProgress(folder, token, attempt)
    _stop_on_signal(progress, grace)
    try:
        progress.open()
        progress.phase("start")
        spec = read_spec(folder)
        log.info("job %s, attempt %d, process %d", spec.id, attempt, os.getpid())

        from audioreason.jobs.kinds import kind_of

        kind, settings = kind_of(spec)
        progress.uses(kind.uses(settings, workspace))
        result = kind.run(settings, workspace, progress)
    except StoppedEarly as stopped:
        log.info("stopped: %s", stopped)
        _close(workspace, progress, "stopped", error=str(stopped))
    except LabError as error:
        log.error("%s", error)  # noqa: TRY400 - a LabError's sentence says it all
        log.debug("where it happened", exc_info=True)
        _close(workspace, progress, "failed", error=error.message, hint=error.hint)
    except KeyboardInterrupt:
        _close(workspace, progress, "stopped", error="It was interrupted.")
    except BaseException as error:
        log.exception("the job failed")
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        said = f"It failed: {what.splitlines()[0]}"
        _close(workspace, progress, "failed", error=said, hint="The log has the details.")
    else:
        log.info("finished")
        _close(workspace, progress, "finished", result=result)


def _close(workspace: Workspace, progress: JobProgress, ending: Ending, **values: Any) -> None:
    from audioreason.errors import WorkspaceError
    from audioreason.jobs import rows

    _let_the_log_catch_up()
    try:
        progress.close(ending, **values)
    except WorkspaceError as error:  # a full disk, or no folder any more: perhaps the database has room
        log.exception("the end of the job could not be written")
        said = values.get("error") or f"It {_DONE[ending]}."
        try:
            with rows.queue_table(workspace) as connection:
                reason = f"{said} Its folder could not take this: {error.message}"
                rows.update(connection, progress.job_id, ending=ending, reason=reason)
        except WorkspaceError:  # whoever settles the job will find it gone, and the disk full
            log.exception("nor could it be written into the queue")


def _stop_on_signal(progress: JobProgress, grace: float) -> None:
    """SIGTERM asks the work to stop; if it has not after the grace time, the whole group goes."""

    def end_group() -> None:
        time.sleep(grace)
        log.error("it did not stop within %.0f s: ending it", grace)
        logging.shutdown()
        os.killpg(os.getpgid(0), signal.SIGKILL)

    def on_signal(number: int, _frame: object) -> None:
        if not progress.should_stop():
            progress.request_stop()
            threading.Thread(target=end_group, name="grace", daemon=True).start()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


class _Unbroken:
    """Standard output or error of the worker; the work does not end with whoever writes its log."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            return 0
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _log_to_stdout() -> None:
    """Everything said goes to log.txt, what is logged with time and level; keys are taken out on the way."""
    sys.stdout, sys.stderr = _Unbroken(sys.stdout), _Unbroken(sys.stderr)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
    )
    level = os.environ.get("AUDIOREASON_LOG_LEVEL", "INFO").upper()
    logging.basicConfig(
        level=level if level in logging.getLevelNamesMapping() else "INFO", handlers=[handler]
    )
    logging.captureWarnings(True)


def _let_the_log_catch_up() -> None:
    """Whoever sees the end of the job shall see its last words as well."""
    if not stat.S_ISFIFO(os.fstat(1).st_mode):
        return
    waiting = array.array("i", [0])
    give_up = time.monotonic() + 0.5
    while time.monotonic() < give_up:
        fcntl.ioctl(1, termios.FIONREAD, waiting)
        if not waiting[0]:
            return
        time.sleep(0.005)


def _become_reconciler(workspace: Workspace) -> NoReturn:
    """Replace this process by one that settles this job and starts what waits; the lock is gone with it."""
    logging.shutdown()
    command = [sys.executable, "-P", "-m", "audioreason.jobs.queue", str(workspace.root)]
    os.execv(sys.executable, command)  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
