"""What stands between a job's output and its log: keys are taken out, whoever of the job wrote them.

`python -m audioreason.jobs.sieve` copies standard input to standard output until nobody holds the other end
any more. It is a process of its own, in nobody's session: the last words of a worker that is killed still
reach the log. Knows nothing about jobs, lines or levels.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from audioreason.jobs.redact import last_change, secret_values, stand_in

_BLOCK = 1 << 16


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
    while data := os.read(0, _BLOCK):
        if (now := last_change()) != seen:  # a server was given its key, or an endpoint was added
            seen = now
            sieve.learn(secret_values())
        _write(sieve.feed(data))
    _write(sieve.rest())
    return 0


def _write(data: bytes) -> None:
    while data:
        try:
            data = data[os.write(1, data) :]
        except OSError:  # a full disk must not end the work through its log
            return


if __name__ == "__main__":
    sys.exit(main())
