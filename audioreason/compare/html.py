"""One HTML file that holds a whole comparison: verdicts, charts, and the flips with their sound.

It opens anywhere, asks no network (its CSP forbids it) and runs no script. What models and datasets wrote is
text there, never markup. Sound is Ogg Vorbis, made small to be sent; the exact clip stays in the lab.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from audioreason.compare.charts import chart_as, differences_chart, leaderboard_chart
from audioreason.compare.tables import p_value, percent, points, span
from audioreason.errors import ItemError
from audioreason.items import SAMPLE_RATE, Dataset, Item, load_dataset, read_clip
from audioreason.runs import Catalog, load_record, read_items, records, run_folder
from audioreason.runs.desk import note_opened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from audioreason.compare.comparison import Comparison
    from audioreason.compare.pair import Pair

MOST_FLIPS = 60  # shown of each pair
MOST_AUDIO = 12_000_000  # bytes of sound in the file, as base64
_MOST_TEXT = 6_000  # characters of an answer
_BLOCK = SAMPLE_RATE  # samples handed to the encoder at once: libsndfile's Vorbis crashes on very long ones


def html_report(
    catalog: Catalog,
    found: Comparison,
    *,
    by: str = "subcategory",
    flips: int = MOST_FLIPS,
    audio_bytes: int = MOST_AUDIO,
    sealed: bool = False,
) -> str:
    """The comparison as one self-contained HTML document.

    Args:
        catalog: where the answers are.
        found: the comparison; every figure is its own.
        by: the column that differences are shown by.
        flips: how many flips of each pair are shown, lost ones first.
        audio_bytes: how much sound the file may hold; later flips then come without, which is said.
        sealed: show items of the sealed half too, and record that they were opened.

    Raises:
        RunError: if a run is gone or cannot be read.
    """
    from jinja2 import Environment, StrictUndefined

    folder = files("audioreason.compare")
    style = folder.joinpath("report.css").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(folder.joinpath("report.html").read_text("utf-8"))
    clips = _Clips(catalog, audio_bytes)
    baseline = next(row["label"] for row in records(found.leaderboard) if row["run_id"] == found.baseline)
    return template.render(
        title=f"Comparison with {baseline}",
        about=f"{found.score.capitalize()} score on {found.split}"
        f"{', without marked items' if found.without_errata else ''}."
        f" {found.prompts_tried:,} prompts tried on this dataset.",
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        note=found.note,
        board=_board(found),
        board_chart=_image(leaderboard_chart(found)) if len(found.leaderboard) > 1 else "",
        by=by,
        pairs=[_pair(catalog, pair, by, flips, sealed, clips) for pair in found.pairs],
    )


def _board(found: Comparison) -> str:
    """The table of runs, every cell escaped."""
    from markupsafe import escape

    differences = {pair.run_id: pair for pair in found.pairs}
    lines = ["<table><tr>" + "".join(f"<th>{name}</th>" for name in _HEADINGS) + "</tr>"]
    for row in records(found.leaderboard):
        here = differences.get(row["run_id"])
        cells = [
            row["label"],
            f"{row['n']:,}",
            percent(row["accuracy"]),
            span(row["low"], row["high"], percent),
            points(here.difference.mean) if here else "baseline",
            span(here.difference.low, here.difference.high, points) if here else "",
            p_value(here.p_holm) if here else "",
            f"{row['errors']:,}",
        ]
        lines.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return "\n".join([*lines, "</table>"])


_HEADINGS = ("run", "items", "accuracy", "95% CI", "points", "95% CI", "p (Holm)", "server errors")


def _pair(catalog: Catalog, pair: Pair, by: str, most: int, sealed: bool, clips: _Clips) -> dict[str, Any]:
    """What the template shows of a pair."""
    workspace = catalog.workspace
    record = load_record(workspace, pair.run_id)
    items = {item.id: item for item in read_items(run_folder(workspace, pair.run_id))}
    part = dict(zip(pair.aligned.item_ids, pair.aligned.groups("part"), strict=True))
    flips = [(item_id, cell) for cell in ("lost", "won") for item_id in pair.grid[cell]]
    open_ones = [one for one in flips if sealed or part[one[0]] != "sealed"]
    shown = []
    for item_id, cell in open_ones[:most]:
        if part[item_id] == "sealed":
            note_opened(workspace, record.dataset.name, item_id)
        item = items[item_id]
        audio, note = clips.of(record.dataset.name, item)
        shown.append(
            {
                "item_id": item_id,
                "cell": cell,
                "subcategory": item.subcategory,
                "question": item.question,
                "choices": item.choices,
                "gold": item.gold,
                "audio": audio,
                "audio_note": note,
                "answers": _answers(catalog, pair, item_id),
            }
        )
    hidden = len(flips) - len(open_ones)
    said = [f"{len(shown):,} of {len(flips):,} flips, lost ones first."]
    if hidden:
        said.append(f"{hidden:,} of them are sealed and left out.")
    silent = sum(not flip["audio"] for flip in shown)
    if silent:
        said.append(f"{silent:,} come without sound.")
    return {
        "verdict": pair.verdict,
        "note": pair.note,
        "labels": pair.labels,
        "grid": pair.grid,
        "n": pair.n,
        "mde": pair.mde,
        "chart": _image(differences_chart(pair, by)) if pair.n else "",
        "flips": shown,
        "flips_note": " ".join(said),
    }


def _answers(catalog: Catalog, pair: Pair, item_id: str) -> list[dict[str, Any]]:
    """What baseline and run wrote: of several samples, the first answered one."""
    answers = []
    for run_id, label in zip((pair.baseline, pair.run_id), pair.labels, strict=True):
        samples = catalog.item_predictions(run_id, item_id)
        answered = [one for one in samples if one["outcome"] != "server_error"] or samples
        first = answered[0]
        text = "\n\n".join(str(first[name]) for name in ("reasoning", "content") if first[name])
        cut = f"\n[... {len(text) - _MOST_TEXT:,} more characters]" if len(text) > _MOST_TEXT else ""
        answers.append(
            {
                "label": label,
                "given": first["choice_text"] or "no choice",
                "outcome": str(first["outcome"]).replace("_", " "),
                "right": sum(bool(one["strict"]) for one in answered),
                "of": len(answered),
                "text": text[:_MOST_TEXT] + cut,
            }
        )
    return answers


class _Clips:
    """Clips as data URLs, each encoded once, until the room for sound is used up."""

    def __init__(self, catalog: Catalog, room: int) -> None:
        self._workspace = catalog.workspace
        self._room = room
        self._datasets: dict[str, Dataset | None] = {}
        self._made: dict[tuple[str, str], str] = {}

    def of(self, dataset_name: str, item: Item) -> tuple[str, str]:
        """The clip's data URL, or "" and why there is none."""
        key = (dataset_name, item.id)
        try:
            if key not in self._made:
                dataset = self._dataset(dataset_name)
                path = dataset.clip(item) if dataset else None
                if path is None:
                    return "", "The clip is not in this workspace."
                sound = base64.b64encode(_vorbis(read_clip(path))).decode()
                self._made[key] = f"data:audio/ogg;base64,{sound}"
        except ItemError as error:
            return "", error.message
        url = self._made[key]
        if len(url) > self._room:
            return "", "No room for more sound in this file; the lab plays the clip."
        self._room -= len(url)
        return url, ""

    def _dataset(self, name: str) -> Dataset | None:
        if name not in self._datasets:
            try:
                self._datasets[name] = load_dataset(self._workspace, name)
            except ItemError:  # a run outlives its dataset: the report then comes without sound and says so
                self._datasets[name] = None
        return self._datasets[name]


def _vorbis(samples: NDArray[np.float32]) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", SAMPLE_RATE, 1, format="OGG", subtype="VORBIS") as file:
        for block in _blocks(samples):
            file.write(block)
    return buffer.getvalue()


def _blocks(samples: NDArray[np.float32]) -> Iterable[NDArray[np.float32]]:
    return (samples[start : start + _BLOCK] for start in range(0, len(samples), _BLOCK))


def _image(document: dict[str, Any]) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(chart_as(document, 'svg')).decode()}"
