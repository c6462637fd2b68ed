"""Downloads from a hub on loopback: whole, resumed after a break, asked again after 429, checked, refused."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from audioreason.acquire import fetch_snapshot, look
from audioreason.errors import ItemError, WorkspaceError
from audioreason.progress import Quiet
from tests.acquire.outside import Outside
from tests.servers import closed_port

# huggingface_hub keeps a broken file in steps of 10 MB
BIG = hashlib.shake_256(b"clips").digest(1 << 20) * 24


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    with Outside(files={"data/clips.bin": BIG, "meta.json": b"[]", "README.md": b"# hi"}) as outside:
        monkeypatch.setenv("HF_ENDPOINT", outside.url)
        yield outside


def test_what_matches_is_fetched_and_not_fetched_again(hub: Outside, tmp_path: Path) -> None:
    found = fetch_snapshot("BoJack/MMAR", tmp_path, ["*.bin", "*.json"])
    assert [file.path for file in found.files] == ["data/clips.bin", "meta.json"] and found.size == len(
        BIG
    ) + 2
    assert (tmp_path / "data" / "clips.bin").read_bytes() == BIG
    assert not (tmp_path / "README.md").exists()
    before = len(hub.asked)
    fetch_snapshot("BoJack/MMAR", tmp_path, ["*.bin", "*.json"])
    assert len(hub.asked) == before


def test_a_broken_connection_and_a_busy_hub_are_survived(hub: Outside, tmp_path: Path) -> None:
    hub.cut["data/clips.bin"] = 2
    hub.busy["meta.json"] = 2
    fetch_snapshot("BoJack/MMAR", tmp_path, ["*.bin", "*.json"])
    assert (tmp_path / "data" / "clips.bin").read_bytes() == BIG and (
        tmp_path / "meta.json"
    ).read_bytes() == b"[]"
    resumed = [
        wanted for method, path, wanted in hub.asked if method == "GET" and path.endswith(".bin") and wanted
    ]
    assert any(not wanted.startswith("bytes=0-") for wanted in resumed)  # it went on, not from the start


def test_a_file_that_is_not_what_the_hub_says_is_removed(
    hub: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audioreason.acquire.hub._ATTEMPTS", 1)
    hub.said["meta.json"] = "0" * 64
    with pytest.raises(ItemError, match=r"meta\.json has another checksum"):
        fetch_snapshot("BoJack/MMAR", tmp_path, ["meta.json"])
    assert not (tmp_path / "meta.json").exists()


def test_a_full_disk_is_said_before_the_first_byte(
    hub: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(WorkspaceError, match="are to come"):
        fetch_snapshot("BoJack/MMAR", tmp_path, ["*"])
    assert [path for _, path, _ in hub.asked] == []


def test_a_stop_leaves_what_is_whole_and_the_next_call_goes_on(hub: Outside, tmp_path: Path) -> None:
    progress = Quiet()
    progress.stop()
    with pytest.raises(ItemError, match="stopped"):
        fetch_snapshot("BoJack/MMAR", tmp_path, ["*"], progress=progress)
    assert len(fetch_snapshot("BoJack/MMAR", tmp_path, ["*"]).files) == 3


@pytest.mark.parametrize(
    ("repo", "patterns", "sentence"),
    [("some/where", ["*"], "There is no dataset some/where"), ("BoJack/MMAR", ["*.tar"], "has no file like")],
)
def test_what_is_not_there_is_one_sentence(
    hub: Outside, repo: str, patterns: list[str], sentence: str
) -> None:
    with pytest.raises(ItemError, match=sentence):
        look(repo, patterns)


def test_a_hub_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(ItemError, match="cannot be reached"):
        look("BoJack/MMAR")
