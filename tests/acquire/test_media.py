"""Clips by address and timestamp through the real yt-dlp, from a host on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from audioreason.acquire import fetch_clips, parse_timestamp
from audioreason.acquire.downloader import is_public, public_only
from audioreason.errors import ItemError
from audioreason.items import Item, read_clip, wav_bytes
from tests.acquire.outside import Outside

SR = 16_000


def recording(seconds: int = 20) -> bytes:
    """A recording whose loudness names the second: second n has a tone of n * 100 + 200 Hz."""
    time = np.arange(SR) / SR
    return wav_bytes(
        np.concatenate([0.3 * np.sin(2 * np.pi * (200 + 100 * n) * time) for n in range(seconds)]).astype(
            np.float32
        )
    )


def pitch(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * SR / len(samples))


@pytest.fixture
def host() -> Iterator[Outside]:
    with Outside(recordings={"a.wav": recording(), "b.wav": recording(5)}) as outside:
        yield outside


def item(item_id: str, url: str | None, timestamp: str | None) -> Item:
    return Item(
        id=item_id,
        question="?",
        choices=("x", "y"),
        answer="x",
        audio_path=f"./audio/{item_id}.wav",
        url=url,
        timestamp=timestamp,
    )


def test_parts_are_cut_where_the_timestamp_says_and_each_recording_is_fetched_once(
    host: Outside, tmp_path: Path
) -> None:
    url = f"{host.url}/media/a.wav"
    items = [
        item("one", url, "0:03,0:04"),
        item("two", url, "00:00:10,00:00:11;0:05,0:06"),
        item("all", url, None),
    ]
    report = fetch_clips(items, tmp_path, pause=0, allow_private=True)
    assert sorted(report.fetched) == ["all", "one", "two"] and not report.lost
    one, two = read_clip(tmp_path / "audio/one.wav"), read_clip(tmp_path / "audio/two.wav")
    assert len(one) == SR and pitch(one) == pytest.approx(500, abs=5)
    assert len(two) == 2 * SR
    assert [pitch(two[:SR]), pitch(two[SR:])] == [pytest.approx(1200, abs=5), pytest.approx(700, abs=5)]
    assert len(read_clip(tmp_path / "audio/all.wav")) == 20 * SR
    assert (
        sum(method == "GET" and not wanted for method, _, wanted in host.asked) <= 2
    )  # yt-dlp looks, then loads
    again = fetch_clips(items, tmp_path, pause=0, allow_private=True)
    assert sorted(again.there) == ["all", "one", "two"] and not again.fetched


def test_what_cannot_be_had_is_told_item_by_item_and_leaves_nothing_half(
    host: Outside, tmp_path: Path
) -> None:
    host.busy["b.wav"] = 1
    host.cut["b.wav"] = 1
    items = [
        item("late", f"{host.url}/media/b.wav", "0:04,0:09"),
        item("good", f"{host.url}/media/b.wav", "0:01,0:02"),
        item("gone", f"{host.url}/media/nothing.wav", "0:00,0:01"),
        item("nowhere", None, "0:00,0:01"),
        item("odd", f"{host.url}/media/a.wav", "from the start"),
    ]
    report = fetch_clips(items, tmp_path, pause=0, allow_private=True)
    assert report.fetched == ["good"]
    assert "ends after 5 s" in report.lost["late"] and "cannot be had" in report.lost["gone"]
    assert report.lost["nowhere"] == "No address is known." and "START,END" in report.lost["odd"]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["good.wav"]


def test_addresses_of_this_network_are_refused_also_behind_a_redirect(host: Outside, tmp_path: Path) -> None:
    for url in (
        f"{host.url}/media/a.wav",
        "file:///etc/passwd",
        "ftp://example.org/a.wav",
        "http://user:word@example.org/",
    ):
        report = fetch_clips([item("x", url, None)], tmp_path, pause=0)
        assert not report.fetched and not (tmp_path / "audio").exists()
    assert host.asked == []
    with pytest.raises(OSError, match="address of this network"):
        public_only("127.0.0.1", 80, type=socket.SOCK_STREAM)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("00:01:32,00:02:02", [(92.0, 122.0)]),
        ("1:51,2:01;3:14,3:24", [(111.0, 121.0), (194.0, 204.0)]),
        ("0:30,0:52\n0:00,0:10", [(30.0, 52.0), (0.0, 10.0)]),
        ("0.5,1.25", [(0.5, 1.25)]),
        ("", []),
    ],
)
def test_timestamps_as_mmar_writes_them(text: str, parts: list[tuple[float, float]]) -> None:
    assert parse_timestamp(text) == parts


@pytest.mark.parametrize("text", ["1:00", "2:00,1:00", "a,b", "0:00,9:00:00"])
def test_other_timestamps_are_refused(text: str) -> None:
    with pytest.raises(ItemError, match="timestamp"):
        parse_timestamp(text)


def test_every_timestamp_of_mmar_is_understood(mmar_meta: Path) -> None:
    import json

    for line in mmar_meta.read_text().splitlines():
        assert parse_timestamp(json.loads(line)["timestamp"])


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("64:ff9b::808:808", True),  # NAT64 of 8.8.8.8
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),  # of 169.254.169.254
        ("64:ff9b:1::1", False),
        ("2002:808:808::1", True),  # 6to4 of 8.8.8.8
        ("2002:7f00:1::", False),
        ("2002:c0a8:101::1", False),
        ("::7f00:1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.1.2.3", False),
        ("fec0::1", False),
        ("::ffff:0:7f00:1", False),
        ("ff02::1", False),
        ("224.0.1.1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::", False),
        ("0.0.0.0", False),
        ("169.254.169.254", False),
    ],
)
def test_addresses_of_this_network_are_known_in_every_spelling(address: str, public: bool) -> None:
    assert is_public(address) is public
