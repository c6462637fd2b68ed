"""A clip in two places without using disk twice."""

from __future__ import annotations

import shutil
from pathlib import Path


def link(source: Path, target: Path) -> None:
    """Link a file, or copy it where links cannot be made (another disk); what is there stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
