"""Unpack a zip or tar without trusting it: no path out of the folder, no links, no bombs.

Knows nothing about what is inside.
"""

from __future__ import annotations

import lzma
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from audioreason.acquire.hub import check_room
from audioreason.errors import ItemError
from audioreason.progress import Progress, Quiet
from audioreason.workspace import FULL, disk_error

MAX_BYTES = 200 << 30
MAX_FILES = 2_000_000
# what the libraries raise for archives that are damaged, encrypted, or packed by an unknown method
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)
_MOST_TIMES = 200  # a zip that grows more than this is none of ours


def unpack(archive: Path, folder: Path, progress: Progress | None = None) -> int:
    """Unpack an archive into `folder`; returns how many files. It appears whole or not at all.

    Links and special files are left out. Phase of `progress`: unpack, in files.

    Raises:
        ItemError: if it is no archive, is damaged, too large, or a path in it leads out of the folder.
        WorkspaceError: if the disk has no room for it.
    """
    progress = progress or Quiet()
    temporary = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    count = 0
    try:
        with _members(archive, temporary) as (total, members):
            progress.phase("unpack", total)
            for name, opened in members:
                target = temporary / _inside(archive, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened, target.open("wb") as file:
                    shutil.copyfileobj(opened, file, 1 << 20)
                count += 1
                progress.done(count)
                if progress.should_stop():
                    raise ItemError("Unpacking was stopped.", "The same command begins it again.")
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise disk_error(temporary, error) from error
        locked = "password" in str(error) or "encrypted" in str(error)
        hint = "Unpack it yourself and give the folder." if locked else "Fetch it again."
        raise ItemError(f"{archive.name} cannot be unpacked ({error}).", hint) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return count


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or a tar, compressed or not."""
    try:
        return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except _DAMAGED:
        return False


def _inside(archive: Path, name: str) -> Path:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name or ":" in path.parts[0]:
        raise ItemError(
            f"{archive.name} has a file that would leave its folder ({name!r}).", "Do not use it."
        )
    return Path(*path.parts)


@contextmanager
def _members(archive: Path, folder: Path) -> Iterator[tuple[int, Iterator[tuple[str, IO[bytes]]]]]:
    """How many files an archive has, and each with its name, opened."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            infos = [
                info for info in packed.infolist() if not info.is_dir() and info.external_attr >> 28 != 0xA
            ]
            _limit(archive, len(infos), sum(info.file_size for info in infos), folder)
            yield len(infos), ((info.filename, packed.open(info)) for info in infos)
        return
    if not is_archive(archive):
        raise ItemError(f"{archive.name} is neither a zip nor a tar.", "Is it the right file?")
    with tarfile.open(archive) as listed:
        members = [member for member in listed if member.isreg()]
        _limit(archive, len(members), sum(member.size for member in members), folder)

        def opened() -> Iterator[tuple[str, IO[bytes]]]:
            for member in members:
                file = listed.extractfile(member)
                if file is not None:
                    yield member.name, file
            # tarfile ends at the first header that is none; the checksum at the end tells damage from the end
            while listed.fileobj is not None and listed.fileobj.read(1 << 20):
                pass

        yield len(members), opened()


def _limit(archive: Path, files: int, size: int, folder: Path) -> None:
    packed = max(archive.stat().st_size, 1)
    if files > MAX_FILES or size > MAX_BYTES or (size > 1 << 30 and size > _MOST_TIMES * packed):
        raise ItemError(
            f"{archive.name} would unpack to {files:,} files and {size / 1e9:,.1f} GB.", "Do not use it."
        )
    check_room(folder.parent, size)
