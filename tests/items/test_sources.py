"""One recording has one name, whatever its address, part or timestamp."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioreason.items import Item, canonical_source, cluster_of
from audioreason.items.sources import bilibili_id, source_of_name, source_of_url, sources


def item(**fields: str) -> Item:
    return Item(**{"id": "x", "question": "q", "choices": ("a", "b"), "answer": "a", **fields})


@pytest.mark.parametrize(
    "url",
    [
        "https://www.youtube.com/watch?v=qx8hrhBZJ98",
        "https://www.youtube.com/watch?v=qx8hrhBZJ98&list=RDQMaID4naqyfpY&start_radio=1",
        "https://www.youtube.com/watch?list=RD&v=qx8hrhBZJ98&t=92s",
        "http://m.youtube.com/watch?v=qx8hrhBZJ98#t=1m32s",
        "https://music.youtube.com/watch?v=qx8hrhBZJ98&si=abc",
        "https://youtu.be/qx8hrhBZJ98?t=92",
        "youtu.be/qx8hrhBZJ98",
        "https://youtube.com/shorts/qx8hrhBZJ98?si=1Nqe",
        "https://www.youtube-nocookie.com/embed/qx8hrhBZJ98?start=92",
        "https://www.youtube.com/live/qx8hrhBZJ98",
        " https://www.youtube.com/watch?v=qx8hrhBZJ98\n",
    ],
)
def test_every_address_of_a_youtube_video_is_one_source(url: str) -> None:
    assert source_of_url(url) == "youtube:qx8hrhBZJ98"


@pytest.mark.parametrize(
    "url",
    [
        "https://www.bilibili.com/video/BV17x411w7KC",
        "https://www.bilibili.com/video/BV17x411w7KC/?spm_id_from=333.337&vd_source=80a9",
        "https://m.bilibili.com/video/BV17x411w7KC?p=5&t=30",
        "https://b23.tv/BV17x411w7KC",
        "https://www.bilibili.com/video/av170001",
        "https://www.bilibili.com/video/AV170001/",
    ],
)
def test_every_address_of_a_bilibili_video_is_one_source(url: str) -> None:
    assert source_of_url(url) == "bilibili:BV17x411w7KC"


def test_old_bilibili_numbers_become_the_names_the_site_gives_them() -> None:
    assert [bilibili_id(number) for number in (2, 170001)] == ["BV1xx411c7mD", "BV17x411w7KC"]


def test_other_addresses_lose_scheme_timestamp_and_tracking_but_not_what_names_the_recording() -> None:
    first = source_of_url("https://www.freesound.org/people/a/sounds/12/?utm_source=x&t=3#start")
    assert (
        first
        == source_of_url("http://freesound.org/people/a/sounds/12")
        == "url:freesound.org/people/a/sounds/12"
    )
    assert source_of_url("https://e.org/get?file=1&t=9") != source_of_url("https://e.org/get?file=2&t=9")
    assert source_of_url("https://vimeo.com/123456789?share=copy") == "vimeo:123456789"


@pytest.mark.parametrize(
    "url", ["", "https://example.org", "https://example.org/", "not an address", "http://[bad"]
)
def test_an_address_of_nothing_in_particular_is_no_source(url: str) -> None:
    assert source_of_url(url) is None


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading_of_addresses(text: str) -> None:
    source = source_of_url(text)
    assert source is None or ":" in source
    assert cluster_of(item(url=text, id=text))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("qx8hrhBZJ98_00-01-32_00-02-02", "youtube:qx8hrhBZJ98"),
        ("-_8hrhBZJ98_1-32_2-02", "youtube:-_8hrhBZJ98"),
        ("BV1kx411m7UN_2-45_3-15", "bilibili:BV1kx411m7UN"),
        ("BV1wv4y1f7Mh_multi_segment", "bilibili:BV1wv4y1f7Mh"),
        ("--PJHxphWEs_30.000_40.000", "youtube:--PJHxphWEs"),
        ("environment_3_17", None),
        ("qx8hrhBZJ98", None),
    ],
)
def test_published_clip_names_tell_their_video(name: str, source: str | None) -> None:
    assert source_of_name(name) == source


def test_a_short_link_is_resolved_by_the_items_id_and_still_known_to_the_guard() -> None:
    short = item(id="BV1sg4y127nr_00-05-24_00-05-46", url="https://b23.tv/KPi36Ce")
    assert canonical_source(short) == "bilibili:BV1sg4y127nr"
    assert sources(short) == {"bilibili:BV1sg4y127nr", "url:b23.tv/KPi36Ce"}


def test_questions_on_one_clip_are_one_cluster_and_items_without_both_stand_alone() -> None:
    assert cluster_of(item(id="1", audio_path="./audio/a.wav")) == cluster_of(
        item(id="2", audio_path="audio/a.wav")
    )
    assert cluster_of(item(id="1")) != cluster_of(item(id="2"))


def test_mmar_has_911_recordings_behind_913_addresses(mmar_meta: Path) -> None:
    items = [Item.model_validate_json(line) for line in mmar_meta.read_bytes().splitlines()]
    assert len({source_of_url(item.url or "") for item in items}) == 913
    # two of the short links lead to videos that other items name in full
    assert len({cluster_of(item) for item in items}) == 911
    assert all(cluster_of(item).startswith(("youtube:", "bilibili:")) for item in items)
