"""Where a clip comes from, in one form: the same video has one name whatever its address, part or timestamp.

Knows nothing about datasets or splits.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import parse_qsl, urlsplit

from audioreason.items.schema import Item

# how published sets name their clips: VIDEO_start_end, times as h-m-s or m-s (MMAR) or 30.000 (AudioSet)
_TIMES = r"(?:(?:\d{1,2}-){1,2}\d{1,2}|\d{1,5}\.\d{1,6})"
_CUT = re.compile(rf"(BV[0-9A-Za-z]{{10}}|[0-9A-Za-z_-]{{11}})_(?:{_TIMES}_{_TIMES}|multi_segment)")
_YOUTUBE_ID = re.compile(r"[0-9A-Za-z_-]{11}")
_BILIBILI = re.compile(r"/(BV[0-9A-Za-z]{10}|av\d{1,16})(?:/|$)", re.IGNORECASE)
_VIMEO = re.compile(r"/(\d{6,12})(?:/|$)")
# parameters that say how one came or where to start, never which recording
_PASSING = re.compile(
    r"utm_.*|t|start|end|time_continue|si|feature|fbclid|gclid|ref|share.*|spm.*|list|index", re.I
)


def cluster_of(item: Item) -> str:
    """The group that an item stands or falls with: its source recording, else its clip, else itself.

    Items of one cluster go to the same half of a split and count as one draw in an error bar.
    """
    source = canonical_source(item)
    if source is not None:
        return source
    return f"item:{item.id}" if item.audio_path is None else f"clip:{item.audio_path.removeprefix('./')}"


def canonical_source(item: Item) -> str | None:
    """The recording an item was cut from (`youtube:ID`, `bilibili:ID`, `url:HOST/PATH`), None if unknown.

    The address decides if it names a video. A short link (`b23.tv/...`) names none, so the item's id and
    its clip's name come next, which in MMAR's form begin with the video's; other addresses come last.
    """
    address = source_of_url(item.url) if item.url else None
    if address is not None and not address.startswith("url:"):
        return address
    return source_of_name(item.id) or source_of_name(_stem(item)) or address


def sources(item: Item) -> set[str]:
    """Every recording that an item's address, id or clip name points to: what the guard looks up."""
    found = (
        source_of_url(item.url) if item.url else None,
        source_of_name(item.id),
        source_of_name(_stem(item)),
    )
    return {source for source in found if source is not None}


def source_of_name(name: str) -> str | None:
    """The video that a name of the form VIDEO_start_end begins with."""
    match = _CUT.fullmatch(name)
    if match is None:
        return None
    video = match.group(1)
    return f"bilibili:{video}" if len(video) == 12 else f"youtube:{video}"


def source_of_url(url: str) -> str | None:
    """The recording an address leads to, without timestamps, parts or tracking; None if it leads to none."""
    try:
        parts = urlsplit(url.strip() if "//" in url else f"https://{url.strip()}")
        host = (parts.hostname or "").lower().rstrip(".")
    except ValueError:  # not an address at all, e.g. an open bracket
        return None
    for prefix in ("www.", "m.", "music."):
        host = host.removeprefix(prefix)
    path = re.sub(r"/+", "/", parts.path)
    if host in ("youtube.com", "youtube-nocookie.com", "youtu.be"):
        return _youtube(host, path, parts.query)
    if (host == "bilibili.com" or host.endswith(".bilibili.com") or host == "b23.tv") and (
        match := _BILIBILI.search(path)
    ):
        name = match.group(1)
        return f"bilibili:{bilibili_id(int(name[2:])) if name[:2].lower() == 'av' else 'BV' + name[2:]}"
    if host in ("vimeo.com", "player.vimeo.com") and (match := _VIMEO.search(path)):
        return f"vimeo:{match.group(1)}"
    if "." not in host or path in ("", "/"):
        return None
    query = sorted(pair for pair in parse_qsl(parts.query) if not _PASSING.fullmatch(pair[0]))
    return f"url:{host}{path.rstrip('/')}" + "".join(f"&{key}={value}" for key, value in query)


def bilibili_id(number: int) -> str:
    """The BV name of an old numeric bilibili id, as the site has computed it since 2023.

    Source: the site's own player script, as documented in the community's API notes (bvid_desc).
    """
    alphabet = "FcwAPNKTMug3GV5Lj7EJnHpWsx4tb8haYeviqBz6rkCy12mUSDQX9RdoZf"
    name = list("BV1000000000")
    rest = ((1 << 51) | number) ^ 23442827791579
    position = len(name) - 1
    while rest and position > 2:
        rest, digit = divmod(rest, 58)
        name[position] = alphabet[digit]
        position -= 1
    name[3], name[9] = name[9], name[3]
    name[4], name[7] = name[7], name[4]
    return "".join(name)


def _youtube(host: str, path: str, query: str) -> str | None:
    steps = [step for step in path.split("/") if step]
    if host == "youtu.be":
        candidates = steps[:1]
    else:
        candidates = [value for key, value in parse_qsl(query) if key == "v"]
        if len(steps) > 1 and steps[0] in ("shorts", "embed", "live", "v", "e"):
            candidates.append(steps[1])
    match = _YOUTUBE_ID.match(candidates[0]) if candidates else None
    return f"youtube:{match.group(0)}" if match else None


def _stem(item: Item) -> str:
    return PurePosixPath(item.audio_path.replace("\\", "/")).stem if item.audio_path else ""
