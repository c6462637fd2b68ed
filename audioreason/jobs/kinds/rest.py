"""The kind `rest`: self-training, round after round, on one GPU or the CPU.

Knows nothing about rounds: that is the room `rest`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from audioreason.errors import JobError, RestError
from audioreason.jobs.kinds import Check, Kind, Plan
from audioreason.jobs.live import JobProgress, StoppedEarly
from audioreason.jobs.spec import Needs
from audioreason.rest.config import PRESETS, RestConfig
from audioreason.wording import counted
from audioreason.workspace import Workspace

_GIB = 2**30


def run(spec: RestConfig, workspace: Workspace, progress: JobProgress) -> dict[str, Any]:
    """Begin the experiment, or go on with it where the attempt before was interrupted."""
    from audioreason.jobs.serving import serving
    from audioreason.rest.loop import run as run_loop
    from audioreason.rest.phases import Interrupted

    config = named(spec, progress.job_id)
    try:
        found = run_loop(
            workspace,
            config,
            serve=serving(workspace, config, progress),
            resume=progress.attempt > 1,
            progress=progress,
        )
    except Interrupted as error:
        raise StoppedEarly("Nothing was begun yet.") from error
    if found.state != "finished":
        raise StoppedEarly("The experiment goes on where it stopped.")
    last = found.rounds[-1]
    return {
        "experiment": found.id,
        "rounds": last.number,
        "model": last.model or found.rounds[0].model,
        "folder": last.folder,
        "evaluations": last.evaluations,
        "stop": found.stop,
    }


def named(spec: RestConfig, job_id: str) -> RestConfig:
    """The settings with a name: their own, else the job's id."""
    return spec if spec.name else spec.model_copy(update={"name": job_id[:60]})


def plan(spec: RestConfig, workspace: Workspace) -> Plan:
    """Problems, requests, tokens and time of each phase, and what disk and GPUs must have.

    Raises:
        LabError: if a dataset, a prompt or the model is missing, or a name is taken.
    """
    from audioreason.engines.weights import Shards
    from audioreason.evaluate import choose_items
    from audioreason.items import load_dataset
    from audioreason.jobs.past import Asked, expect
    from audioreason.jobs.phase_times import Asks, phase_times
    from audioreason.prompts import load_prompt
    from audioreason.rest.curriculum import all_cells
    from audioreason.rest.loop import check_names
    from audioreason.rest.phases import base_folder, merges
    from audioreason.rest.record import experiment_folder

    if spec.name:
        if (experiment_folder(workspace, spec.name) / "config.json").exists():
            raise RestError(
                f"There is an experiment {spec.name} already.",
                f"Go on with it: audioreason rest run {spec.name} --resume; or choose another name.",
            )
        check_names(workspace, spec)

    def chosen(dataset: str, split: str, limit: int | None) -> int:
        return len(choose_items(load_dataset(workspace, dataset), None if split == "full" else split)[:limit])

    folder = base_folder(spec)
    problems = spec.curriculum or chosen(spec.dataset, spec.split, spec.limit)
    measured = chosen(spec.eval_dataset, spec.eval_split, spec.eval_limit)
    prompts = [load_prompt(name, [workspace.prompts]).name for name in spec.eval_prompts]
    asked = [load_prompt(spec.prompt, [workspace.prompts]).name]
    candidates, answers = spec.rounds * problems * spec.samples, (spec.rounds + 1) * measured
    silent = spec.rounds * problems * spec.control
    probed = 2 * spec.rounds * len(all_cells()) * spec.probe * spec.probe_samples if spec.curriculum else 0
    if spec.curriculum and spec.tries > 1:
        probed += spec.rounds * spec.curriculum * spec.tries * spec.try_samples
    answers *= spec.evaluation_samples
    again = measured * spec.evaluation_samples if spec.answers_drawn else 0
    whom = [Asked(folder.name)]
    judged = [load_prompt(spec.retention_prompt, [workspace.prompts]).name]
    parts = [
        expect(workspace, asked, whom, candidates + silent + probed),
        expect(workspace, prompts, whom, answers),
    ]
    parts += [expect(workspace, judged, whom, again)] if again else []
    tokens = [part.tokens for part in parts if part.tokens is not None]
    merged = sum(merges(spec, number) for number in range(1, spec.rounds + 1))
    size = Shards(folder).size()
    asks = Asks(candidates + probed, silent, answers + again // len(prompts), tuple(prompts))
    times = phase_times(workspace, spec, folder, asks, merged)
    return Plan(
        items=problems,
        requests=_requests(spec, problems) + answers * len(prompts) + again,
        tokens=sum(tokens) if len(tokens) == len(parts) else None,
        seconds=times.total,
        basis=times.basis,
        notes=(
            f"Candidates: {counted(spec.rounds, 'round')} x {counted(problems, 'problem')} x {spec.samples} ="
            f" {candidates:,}."
            + (f" Silent control: {silent:,}." if silent else "")
            + (f" The curriculum asks {probed:,} times before." if probed else "")
            + f" Evaluations: {spec.rounds + 1} models x {counted(measured, 'item')} x"
            f" {counted(len(prompts), 'prompt')} x {spec.evaluation_samples} = {answers * len(prompts):,}"
            + (f"; the base once more, for luck: {again:,}." if again else "."),
            times.sentence(),
            *(
                [f"Benchmark items may train it: {spec.override_reason}"]
                if spec.override_reason.strip()
                else []
            ),
        ),
        checks=(_disk(merged * size, merged, workspace), *_gpu_checks(spec, folder, workspace)),
        command=f"audioreason rest run {spec.name or 'NAME'} --config FILE",
    )


def _requests(spec: RestConfig, problems: int) -> int:
    """Requests for candidates, in silence too, and for a curriculum: one asks for several answers."""
    from audioreason.rest.curriculum import all_cells
    from audioreason.rest.generate import drawn

    def groups(samples: int) -> int:
        return drawn(spec, samples).requests if samples else 0

    each = problems * (groups(spec.samples) + groups(spec.control))
    if spec.curriculum:
        each += 2 * len(all_cells()) * spec.probe * groups(spec.probe_samples)
        each += spec.curriculum * spec.tries * groups(spec.try_samples) if spec.tries > 1 else 0
    return spec.rounds * each


def _disk(needed: int, merged: int, workspace: Workspace) -> Check:
    free = shutil.disk_usage(workspace.root).free
    sentence = (
        f"Merging takes {needed / _GIB:.2f} GiB for {counted(merged, 'model')};"
        f" {free / _GIB:.1f} GiB are free."
        if merged
        else f"No model is merged; {free / _GIB:.1f} GiB are free."
    )
    return Check("disk", "ok" if free > needed + _GIB else "fail", sentence)


def _gpu_checks(spec: RestConfig, folder: Path, workspace: Workspace) -> list[Check]:
    """Whether the phases on GPUs fit, each with its arithmetic."""
    from audioreason.jobs.serving import vllm_form
    from audioreason.jobs.vllm import preflight

    checks = []
    if spec.engine == "vllm":
        form = vllm_form(spec, folder)
        checks = [c for c in preflight(form, workspace) if c.name in ("vLLM", "model", "GPU memory")]
        longest = max(spec.max_tokens, spec.eval_max_tokens)
        if longest >= spec.max_length:
            checks.append(
                Check(
                    "length",
                    "fail",
                    f"Answers of up to {longest:,} tokens and their questions do not fit into max_length"
                    f" {spec.max_length:,}: raise it, or lower max_tokens and eval_max_tokens.",
                )
            )
    return [*checks, *_training_fits(spec, folder)]


def _training_fits(spec: RestConfig, folder: Path) -> list[Check]:
    """Whether examples of the greatest length can be trained on; nothing is known of their length yet."""
    from audioreason.engines.gpus import gpus_now
    from audioreason.engines.pocket import read_config
    from audioreason.rest.training import round_recipe
    from audioreason.train.preflight import estimate

    gpus = gpus_now()
    if not spec.gpus or not gpus:
        return []
    needed = estimate(read_config(folder), round_recipe(spec, 1), "cuda", spec.longest)
    total = max(gpu.total for gpu in gpus) / 1024
    sentence = f"Training takes up to {needed.sentence()}; a GPU has {total:.1f} GiB."
    if needed.bytes <= total * _GIB:
        return [Check("training", "ok", sentence)]
    advice = (
        "Lower the rank." if spec.quantize == "nf4" else "Hold the frozen experts in 4 bits (quantize: nf4)."
    )
    return [Check("training", "fail", f"{sentence} {advice}")]


def check_resume(spec: RestConfig, workspace: Workspace, job_id: str) -> None:
    """An experiment goes on with the model, the datasets and the settings that it began with.

    Raises:
        LabError: if one of them is gone or has changed.
    """
    from audioreason.rest.phases import base_folder
    from audioreason.rest.record import experiment_folder, read_experiment
    from audioreason.rest.settling import check_kept

    config = named(spec, job_id)
    base_folder(config)
    if not (experiment_folder(workspace, config.name) / "config.json").exists():
        return
    if changed := read_experiment(workspace, config.name).config.differences(config):
        raise JobError(f"The experiment began otherwise: {'; '.join(changed)}.", "Start another one.")
    check_kept(workspace, config)


def needs(spec: RestConfig) -> Needs:
    """Its GPUs, or a CPU slot."""
    return Needs(gpus=spec.gpus, cpus=0 if spec.gpus else 1)


def label(spec: RestConfig) -> str:
    """Such as "3 rounds on soundcheck-train"."""
    return f"{counted(spec.rounds, 'round')} on {spec.dataset}"


KIND = Kind(
    name="rest",
    title="Self-training (ReST)",
    about="Generate candidates, keep those worth learning, train on them, evaluate, and again.",
    spec=RestConfig,
    run=run,
    plan=plan,
    needs=needs,
    label=label,
    check_resume=check_resume,
    presets=PRESETS,
    grace=180.0,
)
