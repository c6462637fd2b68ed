"""The second phase of a round: scores of the candidates meet the filter, and a training file comes of it.

Reads the run of candidates, writes candidates.parquet, problems.parquet and training.jsonl. Which candidates
are kept, and why not, `filter` decides; nothing here knows a zone's edges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.errors import RestError
from audioreason.items import Item
from audioreason.progress import Progress
from audioreason.prompts import load_prompt
from audioreason.rest.config import RestConfig
from audioreason.rest.generate import stored_prompt
from audioreason.rest.nothing import other_rules, why_nothing
from audioreason.rest.problems import problems_dataset, right_shares
from audioreason.rest.record import generate_run, round_folder
from audioreason.review.cues import run_cues, why_no_cues
from audioreason.runs import Prediction, read_items, run_folder, score_prediction
from audioreason.runs.rendering import render_for
from audioreason.runs.storage import merged_predictions
from audioreason.train.data import Example, write_examples
from audioreason.workspace import Workspace, write_atomic

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Chosen:
    """What a filter came to: `examples` to learn from, in words; `nothing` is why there are none."""

    examples: int
    words: str
    summary: dict[str, Any]
    nothing: str = ""
    notes: list[str] = field(default_factory=list)


def check_cues(workspace: Workspace, config: RestConfig) -> None:
    """See that the cue gate has something to go by, if it is on.

    Raises:
        RestError: if the dataset does not know its events, the prompt does not ask for them, or the filter's
            settings are wrong.
    """
    from audioreason.rest.filter import filter_config

    if not filter_config(config.filter, config.filter_changes).cues:
        return
    sections = load_prompt(config.prompt, [workspace.prompts]).sections
    dataset = "soundcheck" if config.curriculum else config.dataset
    if why := why_no_cues(workspace, dataset, sections):
        raise RestError(f"The cue gate cannot be used: {why}", "Leave `cues` out of the filter.")


def choose(workspace: Workspace, config: RestConfig, number: int, silent: str, progress: Progress) -> Chosen:
    """Filter a round's candidates and write what it came to.

    `silent` is the run of the round's silent control, empty without one. The same runs and settings give the
    same files.

    Raises:
        RestError: if the filter's settings are wrong.
        WorkspaceError: if the disk is full.
    """
    from audioreason.rest.filter import filter_config, select

    run_id = generate_run(config.name, number)
    folder = run_folder(workspace, run_id)
    items = {item.id: item for item in read_items(folder)}
    progress.phase("filter", len(items) * config.samples)
    order = [(item_id, sample) for item_id in items for sample in range(config.samples)]
    predictions = {one.key: one for one in merged_predictions(folder, order)}
    prompt = stored_prompt(workspace, run_id, config.prompt)
    candidates = candidate_table(predictions.values(), items, prompt.sections)
    rules = filter_config(config.filter, config.filter_changes)
    if rules.cues:
        cues = run_cues(workspace, run_id)
        if cues.why_not:
            raise RestError(f"The cue gate cannot be used: {cues.why_not}", "Leave `cues` out of the filter.")
        named = set(cues.having("mentioned"))
        keys = zip(candidates["item_id"], candidates["sample"], strict=True)
        candidates["mentions"] = [key in named for key in keys]
    problems = problem_table(items.values())
    shares = right_shares(workspace, silent) if silent else None
    result = select(candidates, problems, rules, rehearsal=config.rehearsal, silent=shares, seed=config.seed)
    target = round_folder(workspace, config.name, number)
    for name, table in (("candidates", result.candidates), ("problems", result.problems)):
        _write(target / f"{name}.parquet", table)
    kept = result.candidates[result.candidates["kept"]]
    examples = []
    order_kept = kept.sort_values(["item_id", "sample"])
    for item_id, sample, weight in zip(
        order_kept["item_id"], order_kept["sample"], order_kept["weight"], strict=True
    ):
        item = items[item_id]
        asked = render_for(prompt, item)
        examples.append(
            Example(
                dataset=problems_dataset(config, number),
                item_id=item.id,
                system=asked.system,
                user=asked.user,
                answer=whole_answer(predictions[item.id, sample]),
                weight=float(weight),
            )
        )
    write_examples(target / "training.jsonl", examples)
    progress.done(len(candidates))
    nothing = ""
    if not examples:
        right = result.candidates["strict"].fillna(False).astype(bool)
        others = {
            name: select(candidates, problems, other, silent=shares, seed=config.seed).summary["kept"]
            for name, other in other_rules(config).items()
        }
        counted = result.candidates.loc[right, "reason"].value_counts()
        reasons = {str(reason): int(count) for reason, count in counted.items()}
        nothing = why_nothing(result.summary, reasons, others, config, number)
    return Chosen(len(examples), result.words, result.summary, nothing)


def whole_answer(prediction: Prediction) -> str:
    """What the model wrote; thoughts that a server took out are put back as Qwen's template has them."""
    content = prediction.content or ""
    if not prediction.reasoning:
        return content
    thoughts, said = prediction.reasoning.strip("\n"), content.lstrip("\n")
    return f"<think>\n{thoughts}\n</think>\n\n{said}"


def candidate_table(predictions: Any, items: dict[str, Item], sections: tuple[str, ...]) -> pd.DataFrame:
    """One row a candidate: how it was scored, how long it is, and its text."""
    import pandas as pd

    rows = []
    for one in predictions:
        score = score_prediction(one, items[one.item_id], sections)
        text = whole_answer(one)
        judged = (score.strict, score.outcome, score.choice)
        lengths = (one.completion_tokens, one.tokens_estimated, len(text))
        rows.append((one.item_id, one.sample, *judged, *lengths, text))
    columns = [
        "item_id",
        "sample",
        "strict",
        "outcome",
        "choice",
        "tokens",
        "tokens_estimated",
        "chars",
        "text",
    ]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"strict": "boolean", "choice": "Int64", "tokens": "Int64"})


def problem_table(items: Any) -> pd.DataFrame:
    """One row a problem, in the run's order."""
    import pandas as pd

    rows = [(item.id, item.subcategory, item.layer, item.family, len(item.choices)) for item in items]
    return pd.DataFrame(rows, columns=["item_id", "subcategory", "layer", "family", "n_choices"])


def _write(path: Path, table: pd.DataFrame) -> None:
    import io

    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_atomic(path, buffer.getvalue())
