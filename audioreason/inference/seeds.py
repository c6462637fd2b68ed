"""One seed per sample, so that a sample can be drawn again alone, in any order, after any interruption."""

from __future__ import annotations

import hashlib


def sample_seed(run_seed: int, item_id: str, sample: int) -> int:
    """The seed of one prediction: 31 bits (0 to 2**31 - 1), which every server takes.

    The first four bytes of SHA-256 over run seed, item id and sample index, separated by a character that no
    number contains. Python's own `hash` differs between processes.
    """
    digest = hashlib.sha256(f"{run_seed}\x1f{item_id}\x1f{sample}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF
