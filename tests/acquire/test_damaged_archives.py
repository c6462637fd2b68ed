"""Archives that are encrypted, damaged or packed by an unknown method end in a sentence."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from audioreason.acquire.archives import is_archive, unpack
from audioreason.errors import ItemError

TEXT = b"a clip that is none " * 200


def _zip(method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.writestr("a.wav", TEXT)
    return bytearray(target.getvalue())


def _encrypted() -> bytes:
    data = _zip(zipfile.ZIP_STORED)
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def _unknown_method() -> bytes:
    data = _zip(zipfile.ZIP_STORED)
    data[8] = 99
    data[data.index(b"PK\x01\x02") + 10] = 99
    return bytes(data)


def _bad_deflate() -> bytes:
    data = _zip()
    start = 30 + len("a.wav")
    data[start : start + 8] = b"\xff" * 8
    return bytes(data)


def _tar(mode: str, damage: slice) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=f"w:{mode}") as archive:  # type: ignore[call-overload]
        for number in range(20):
            info = tarfile.TarInfo(f"{number}.wav")
            noise = bytes((n * n * 31 + number * n) % 251 for n in range(20_000))
            info.size = len(noise)
            archive.addfile(info, io.BytesIO(noise))
    data = bytearray(target.getvalue())
    data[damage] = bytes(len(data[damage]))
    return bytes(data)


ARCHIVES = {
    "encrypted.zip": _encrypted(),
    "method.zip": _unknown_method(),
    "deflate.zip": _bad_deflate(),
    "middle.tar.xz": _tar("xz", slice(2000, 2400)),
    "start.tar.xz": _tar("xz", slice(12, 60)),
    "middle.tar.gz": _tar("gz", slice(2000, 2400)),
    "middle.tar.bz2": _tar("bz2", slice(2000, 2400)),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_damaged_archive_is_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(ARCHIVES[name])
    assert is_archive(path) in (True, False)
    with pytest.raises(ItemError, match=rf"{name} (cannot be unpacked|is neither)"):
        unpack(path, tmp_path / "clips")
    assert [one.name for one in tmp_path.iterdir() if one.is_dir() and one.name != "workspace"] == []
