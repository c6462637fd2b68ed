"""The last phase of a round: ask with every prompt, and count what was known before and is no more.

"Prompt switching" is this: the model is trained on one prompt and asked with several, as the base was.
"""

from __future__ import annotations

from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.progress import Progress
from audioreason.rest.config import RestConfig
from audioreason.rest.generate import ask
from audioreason.rest.record import evaluation_run
from audioreason.runs import scored
from audioreason.workspace import Workspace


def evaluate_round(
    workspace: Workspace, config: RestConfig, number: int, endpoint: Endpoint, progress: Progress
) -> dict[str, str]:
    """Make a round's evaluations, or the rest of them; returns run ids by prompt.

    Raises:
        Interrupted: if a stop was asked for.
        LabError: as `evaluate`.
    """
    sampling = Sampling(temperature=config.eval_temperature, max_tokens=config.eval_max_tokens)
    made = {}
    for prompt in config.eval_prompts:
        made[prompt] = evaluation_run(config.name, number, prompt)
        ask(
            workspace,
            config,
            made[prompt],
            prompt,
            endpoint,
            sampling,
            progress,
            dataset=config.eval_dataset,
            split=config.eval_split,
            limit=config.eval_limit,
            seed=config.seed,
            kind="eval",
        )
    return made


def retention_prompt(config: RestConfig) -> str:
    """The prompt by which forgetting is judged: the one that is trained on if it is asked, else the first."""
    return config.prompt if config.prompt in config.eval_prompts else config.eval_prompts[0]


def forgotten(workspace: Workspace, base_run: str, run: str) -> tuple[int, int]:
    """(lost, of): items right in the base's run, and how many of them are wrong in the other.

    A server error in either leaves the item out.
    """
    before = {one.item_id for one in scored(workspace, base_run) if one.strict}
    now = [one.strict for one in scored(workspace, run) if one.item_id in before and one.strict is not None]
    return sum(not right for right in now), len(now)
