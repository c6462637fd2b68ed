"""Bring data from the outside world: files of a hub, archives, sound cut out of published recordings.

`hub` downloads a repository's files, `archives` unpacks them, `media` fetches clips by address and timestamp,
`mmar` puts these together for MMAR, `mapping` reads any hub dataset by a mapping file, `combine` makes one
training set of several, `choices` multiple-choice items of free-form questions. Nothing half-made ever
stands under its final name. Knows nothing about models, runs or pages.
"""

from audioreason.acquire.archives import unpack
from audioreason.acquire.choices import Made, check_choices, make_choices
from audioreason.acquire.combine import Combined, Part, combine, parse_part
from audioreason.acquire.hub import HubFile, Snapshot, fetch_snapshot, look
from audioreason.acquire.mapping import Mapping, fetch_mapped, read_mapping
from audioreason.acquire.media import ClipReport, fetch_clips, parse_timestamp
from audioreason.acquire.mmar import MmarReport, fetch_mmar

__all__ = [
    "ClipReport",
    "Combined",
    "HubFile",
    "Made",
    "Mapping",
    "MmarReport",
    "Part",
    "Snapshot",
    "check_choices",
    "combine",
    "fetch_clips",
    "fetch_mapped",
    "fetch_mmar",
    "fetch_snapshot",
    "look",
    "make_choices",
    "parse_part",
    "parse_timestamp",
    "read_mapping",
    "unpack",
]
