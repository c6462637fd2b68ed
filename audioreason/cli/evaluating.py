"""The command `eval`: ask a model about a dataset, also in other orders of the choices or without clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from audioreason.cli.endpoints import confirmed
from audioreason.cli.options import settings_of
from audioreason.cli.output import Json, either, emit_json, interval, percent, remark, terminal_progress
from audioreason.cli.running import print_report
from audioreason.errors import EndpointError, RunError
from audioreason.wording import counted
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.inference.endpoint import Endpoint, Sampling
    from audioreason.items import Item
    from audioreason.prompts import Prompt
    from audioreason.runs import EndpointRef, PromptRef, RunRecord


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("eval")(evaluate)


@contextmanager
def endpoint_for(
    workspace: Workspace, where: str | None, model: str | None, earlier: EndpointRef | None = None
) -> Iterator[Endpoint]:
    """The endpoint a command talks to: `where` (a URL or a saved name), else who answered `earlier`, else the
    workspace's default, else the embedded model, whose engine is started for the block and stopped after it.

    Raises:
        EndpointError: if the URL is none, or a model is asked for that nobody was named to serve.
    """
    from audioreason.engines.launch import pocket_folder, start_engine

    found = _find_endpoint(workspace, where, earlier)
    if found is not None:
        found = confirmed(workspace, found)
        yield found.model_copy(update={"model": model}) if model else found
        return
    if model not in (None, pocket_folder().name):
        raise EndpointError(
            f"No endpoint is set that could serve the model {model}.", "Name one with --endpoint URL."
        )
    remark("No endpoint is set: starting the embedded Pocket Listener for this command.")
    with start_engine(allowed_media=[workspace.root], say=remark) as endpoint:
        yield endpoint
    remark("The embedded Pocket Listener is stopped.")


def _find_endpoint(workspace: Workspace, where: str | None, earlier: EndpointRef | None) -> Endpoint | None:
    """The endpoint meant; None for the embedded model. A saved one keeps the name of its key's variable."""
    from audioreason.engines.launch import ENGINE_NAME
    from audioreason.inference.endpoint import Endpoint, default_endpoint, load_endpoints, normalise_url

    if where is None and earlier is None:
        return default_endpoint(workspace)
    if where is None and earlier is not None and earlier.name == ENGINE_NAME:
        return None
    saved = load_endpoints(workspace)
    for endpoint in saved:
        if endpoint.name == (where or (earlier.name if earlier else "")):
            return endpoint
    address = normalise_url(where or (earlier.base_url if earlier else ""))
    known = next((endpoint for endpoint in saved if endpoint.base_url == address), None)
    return known or Endpoint(name="endpoint", base_url=address, model=earlier.model if earlier else "")


def evaluate(
    context: typer.Context,
    dataset: Annotated[str, typer.Option(help="Dataset to ask about.")] = "soundcheck",
    prompt: Annotated[str, typer.Option(help="Prompt name, alias or .md file.")] = "structured-reasoning",
    split: Annotated[str, typer.Option(help="explore, sealed, train, dev, test or full.")] = "full",
    endpoint: Annotated[
        str | None, typer.Option(help="Base URL, e.g. http://127.0.0.1:8000/v1, or a saved endpoint's name.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model name at the endpoint (default: its first).")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Predictions per item.")] = 1,
    per_request: Annotated[
        int,
        typer.Option(
            min=1, max=128, help="Predictions of an item that one request asks for: its clip is sent once."
        ),
    ] = 1,
    temperature: Annotated[float, typer.Option(min=0, max=10, help="0 is greedy.")] = 0.1,
    top_p: Annotated[float | None, typer.Option(help="Default: the server's, like those below.")] = None,
    top_k: Annotated[int | None, typer.Option(min=-1)] = None,
    min_p: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    repetition_penalty: Annotated[float | None, typer.Option()] = None,
    no_repeat_ngram_size: Annotated[
        int | None, typer.Option(min=1, help="For servers that take it; vLLM ignores it.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="Text at which an answer ends; may be repeated.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 10_000,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Most predictions in flight, of all requests together.")
    ] = 64,
    server_wait: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Seconds to wait for a server that went away or restarts. [default: 60; as long as its job"
            " waits, if this workspace serves it]",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N items.")] = None,
    items: Annotated[
        str | None, typer.Option(help="Only these items: ids with commas, or a file with one a line.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Each seed gives other samples of the same items.")] = 0,
    permute: Annotated[
        int | None,
        typer.Option(min=2, max=24, help="Ask with the choices in K orders: K runs, named ID-order0 and on."),
    ] = None,
    ablate: Annotated[
        Literal["silence", "noise", "swap", "text"] | None,
        typer.Option(help="Ask without the real clip: silence, noise, another clip, or the text alone."),
    ] = None,
    run_id: Annotated[
        str | None, typer.Option(help="Name of the run (default: made from time and prompt).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run named by --run-id, with its settings.")
    ] = False,
    json: Json = False,
) -> None:
    """Ask a model about every item of a dataset and keep the answers as a run."""
    from audioreason.evaluate import check_free, choose_items, evaluate_orders
    from audioreason.evaluate import evaluate as run_evaluation
    from audioreason.items import load_dataset
    from audioreason.jobs.endpoints import wait_for
    from audioreason.prompts import load_prompt, remarks
    from audioreason.runs import load_record, score_report

    workspace = Workspace.open()
    if resume and run_id is None:
        raise typer.BadParameter("Name the run with --run-id.", param_hint="--resume")
    first = f"{run_id}-order0" if permute else run_id
    stored = load_record(workspace, first) if resume and first else None
    given = _settings(context, stored)
    if stored is not None and stored.prompt is not None and not _typed(context, "prompt"):
        template = _prompt_of(stored.prompt)
    else:
        template = load_prompt(prompt, [workspace.prompts])
    for said in remarks(template):
        remark(f"! {said}")
    sampling = _sampling(given)
    _check_groups(context, sampling, stored)
    data = load_dataset(workspace, given["dataset"])
    # an engine takes seconds to start: a wrong name should not wait for it
    chosen = choose_items(data, None if given["split"] == "full" else given["split"], given["item_ids"])
    if permute:
        _say_kept(chosen[: given["limit"]])
    if first is not None and not resume:
        check_free(workspace, first)
    earlier = stored.endpoint if stored else None
    with endpoint_for(workspace, endpoint, model, earlier) as server, terminal_progress() as progress:
        options: dict[str, Any] = {
            "split": None if given["split"] == "full" else given["split"],
            "limit": given["limit"],
            "item_ids": given["item_ids"],
            "run_id": run_id,
            "resume": resume,
            "seed": given["seed"],
            "concurrency": concurrency,
            "ablation": given["ablate"],
            "server_wait_seconds": wait_for(workspace, server.base_url)
            if server_wait is None
            else server_wait,
            "progress": progress,
        }
        if permute:
            records = evaluate_orders(workspace, data, template, server, sampling, orders=permute, **options)
        else:
            order = stored.permutation if stored else None
            records = [
                run_evaluation(workspace, data, template, server, sampling, permutation=order, **options)
            ]
        stopped = progress.should_stop()
    reports = [score_report(workspace, record.run_id) for record in records]
    if permute:
        _report_orders(workspace, reports, json)
    else:
        either(json, reports[0], lambda: print_report(reports[0]))
    if stopped:
        again = f"--run-id {run_id or records[0].run_id.removesuffix('-order0')} --permute {permute}"
        name = again if permute else f"--run-id {records[0].run_id}"
        remark(f"Stopped. Continue with: audioreason eval {name} --resume")
        raise typer.Exit(130)


def _say_kept(items: Sequence[Item]) -> None:
    """Name the items some of whose choices no order moves, because they refer to other choices."""
    from audioreason.items.variants import kept_places

    kept = [item.id for item in items if kept_places(item)]
    if kept:
        more = f" and {len(kept) - 3} more" if len(kept) > 3 else ""
        remark(
            f"{counted(len(kept), 'item')} with choices that refer to other choices"
            f" ({', '.join(kept[:3])}{more}): these choices keep their places in every order."
        )


def _report_orders(workspace: Workspace, reports: Sequence[dict[str, Any]], json: bool) -> None:
    """What came of the runs of a permuted evaluation, and how steady their choices are."""
    from audioreason.cli.comparing import print_stability, stability_value
    from audioreason.compare import choice_stability
    from audioreason.runs import Catalog

    names = [report["run"] for report in reports]
    found = choice_stability(Catalog(workspace), names) if len(names) > 1 else None
    if json:
        emit_json({"runs": reports, "stability": stability_value(found) if found else None})
        return
    for report in reports:
        strict = report["strict"]
        print(f"{report['run']}: strict {percent(strict['accuracy'])} {interval(strict['ci95'])}")
    if found:
        print_stability(found)


def _typed(context: typer.Context, name: str) -> bool:
    """Whether an option was given on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _settings(context: typer.Context, stored: RunRecord | None) -> dict[str, Any]:
    """The options of `eval`; a run that is resumed gives those that were not typed."""
    from audioreason.evaluate import read_item_ids

    named = context.params["items"]
    params = context.params | {"item_ids": None if named is None else read_item_ids(named)}
    if stored is None:
        return params
    recipe: dict[str, Any] = {
        "dataset": stored.dataset.name,
        "split": stored.split or "full",
        "limit": stored.limit,
        "item_ids": params["item_ids"] if _typed(context, "items") else stored.item_ids,
        "seed": stored.seed,
        "ablate": stored.ablation,
        **(stored.sampling.model_dump() if stored.sampling else {}),
    }
    return params | {name: value for name, value in recipe.items() if not _typed(context, name)}


def _sampling(given: dict[str, Any]) -> Sampling:
    from audioreason.inference.endpoint import Sampling

    return settings_of(Sampling, {name: given[name] for name in Sampling.model_fields if name in given})


def _check_groups(context: typer.Context, sampling: Sampling, stored: RunRecord | None) -> None:
    """Say where a run cannot be asked in the groups that were typed.

    Raises:
        RunError: if it began in others: its seeds depend on them.
    """
    if not _typed(context, "per_request"):
        return
    if stored is None and sampling.per_request > 1 and sampling.temperature == 0:
        remark("At temperature 0 every prediction is the same: each request asks for one.")
    begun = stored.sampling.per_request if stored and stored.sampling else 1
    if stored is not None and sampling.fitted().per_request != begun:
        raise RunError(
            f"The run {stored.run_id} began with {begun} predictions a request, and its seeds depend on it.",
            "Leave --per-request out.",
        )


def _prompt_of(stored: PromptRef) -> Prompt:
    """A run's own prompt, whatever has become of its file since."""
    from audioreason.prompts import Prompt

    return Prompt(name=stored.name, system=stored.system, user=stored.user, sections=stored.sections)
