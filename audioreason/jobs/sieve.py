"""What stands between a job's output and its log: keys are taken out, whoever of the job wrote them.

`python -m audioreason.jobs.sieve LOG` copies standard input to standard output, which appends to the file
LOG, until nobody holds the other end any more. A log that has grown long becomes `log.1.txt`, in place of an
earlier one, and a line that does not end is cut. It is a process of its own, in nobody's session: the last
words of a worker that is killed still reach the log. Knows nothing about jobs, lines or levels.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from audioreason.jobs.logs import EARLIER
from audioreason.jobs.redact import last_change, secret_values, stand_in

_BLOCK = 1 << 16
_LONGEST_LINE = 1 << 20  # bytes of one line that reach the log
MOST_BYTES = 50 << 20  # of one log


class Sieve:
    """Takes keys out of a stream, also those that come in pieces.

    Args:
        secrets: name and value of each key, longest value first.
    """

    def __init__(self, secrets: Sequence[tuple[str, str]]) -> None:
        self._held = b""
        self.learn(secrets)

    def learn(self, secrets: Sequence[tuple[str, str]]) -> None:
        """Take these keys out from now on."""
        self._secrets = [(value.encode(), stand_in(name).encode()) for name, value in secrets]

    def feed(self, data: bytes) -> bytes:
        """What may be written now; an end that a key could begin with waits for what follows."""
        text = self._held + data
        for value, instead in self._secrets:
            text = text.replace(value, instead)
        held = max((_overlap(text, value) for value, _ in self._secrets), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def rest(self) -> bytes:
        """What was held back, once nothing follows."""
        held, self._held = self._held, b""
        return held


class LineCutter:
    """Cuts lines in a stream that are longer than `most` bytes, and says how much is missing."""

    def __init__(self, most: int = _LONGEST_LINE) -> None:
        self._most = most
        self._length = 0  # of the line so far

    def feed(self, data: bytes) -> bytes:
        """What may be written of `data`."""
        kept = []
        for piece in data.splitlines(keepends=True):
            ended = piece.endswith((b"\n", b"\r"))  # a bar that is drawn again begins a line
            room = max(0, self._most - self._length)
            self._length += len(piece)
            kept.append(piece[:room])
            if ended:
                missing = self._length - self._most
                if missing > 0:
                    kept.append(b" [cut: %d bytes more]\n" % missing)
                self._length = 0
        return b"".join(kept)


def _overlap(text: bytes, value: bytes) -> int:
    """Bytes at the end of `text` that `value` begins with; a whole `value` does not count."""
    for length in range(min(len(value) - 1, len(text)), 0, -1):
        if text.endswith(value[:length]):
            return length
    return 0


def main() -> int:
    """Copy until the end."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    seen, sieve = last_change(), Sieve(secret_values())
    log = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else None
    cutter = LineCutter()
    while data := os.read(0, _BLOCK):
        if (now := last_change()) != seen:  # a server was given its key, or an endpoint was added
            seen = now
            sieve.learn(secret_values())
        _write(cutter.feed(sieve.feed(data)))
        if log is not None:
            rotate(log)
    _write(cutter.feed(sieve.rest()))
    return 0


def rotate(log: Path) -> None:
    """Have standard output and error append to a new file, once the log is long."""
    try:
        if os.fstat(1).st_size < MOST_BYTES:
            return
        log.replace(log.with_name(EARLIER))
        fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.close(fd)
    except OSError:  # the job's folder is gone, or the disk full: the old file is written on
        return


def _write(data: bytes) -> None:
    while data:
        try:
            data = data[os.write(1, data) :]
        except OSError:  # a full disk must not end the work through its log
            return


if __name__ == "__main__":
    sys.exit(main())
