"""The numbers of the page, as it draws and as it exports them: one source for both. Draws nothing."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from app.compare import look, words
from app.compare.address import GROUPS
from app.compare.charts import tone
from app.compare.look import Question
from audioreason.compare import Comparison


def board(found: Comparison, called: Mapping[str, str]) -> pd.DataFrame:
    """The leaderboard, best first, with `label`, and `change` and its `tone` against the baseline."""
    frame = found.leaderboard.dropna(subset=["accuracy"]).sort_values("accuracy", ascending=False)
    pairs = {pair.run_id: pair for pair in found.pairs}
    changes, tones = [], []
    for run_id in frame["run_id"]:
        if (pair := pairs.get(run_id)) is None:
            changes.append("baseline")
            tones.append("")
        else:
            here = pair.difference
            change = f"{words.points(here.mean)} {words.bounds(here.low, here.high)}".strip()
            changes.append(change or "no shared item")
            tones.append(tone(pair.significant, here.mean))
    return frame.assign(label=[called[one] for one in frame["run_id"]], change=changes, tone=tones)


def groups(asked: Question, run_id: str, by: str) -> pd.DataFrame:
    """Differences of one pair by one of `GROUPS`: greatest gain first, or in the groups' own order."""
    frame = look.by(asked, run_id, GROUPS[by][1])
    if by == "position":
        named = [f"gold is {chr(ord('A') + int(one))}" if one.isdigit() else one for one in frame["group"]]
        return frame.assign(group=named).sort_values("group")
    if by == "difficulty":
        named = [f"difficulty {one}" if one.isdigit() else one for one in frame["group"]]
        return frame.assign(group=named).sort_values("group")
    return frame.sort_values("delta", ascending=False)


def scores(asked: Question) -> pd.DataFrame:
    """Accuracy of each run by both scores and on every part: run_id, then one column a figure.

    Both scores are over the split that the page shows; full and the parts are by the score that it shows.
    """
    found = look.comparison(asked)
    views = found.views()
    views = views[views["errata"] == ("without" if asked.without_errata else "with")]
    frame = pd.DataFrame({"run_id": found.leaderboard.sort_values("accuracy", ascending=False)["run_id"]})
    here = views[views["split"] == asked.split]
    for score in ("strict", "official"):
        frame[score] = frame["run_id"].map(here[here["score"] == score].set_index("run_id")["accuracy"])
    by_part = views[views["score"] == asked.score]
    for part in dict.fromkeys(by_part["split"]):
        if part != asked.split:
            frame[part] = frame["run_id"].map(
                by_part[by_part["split"] == part].set_index("run_id")["accuracy"]
            )
    return frame
