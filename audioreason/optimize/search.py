"""One search from its plan to a saved prompt: what the command and the job both call.

Knows the order of the steps. A stop keeps the best so far; resuming replays the search from its start with
every answer and every proposal that is on disk, and goes on from there.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audioreason.errors import LabError, OptimizeError
from audioreason.inference.endpoint import Endpoint
from audioreason.items import Dataset
from audioreason.optimize.asking import Asker, Ledger, prepare_clips, ready
from audioreason.optimize.candidates import Candidates
from audioreason.optimize.config import OptimizeConfig
from audioreason.optimize.halting import Broken, HaltError, Stopped
from audioreason.optimize.outcome import check_name, prompt_name, save_prompt, test_runs
from audioreason.optimize.parts import Parts, deal
from audioreason.optimize.plan import gepa_rollouts, make_plan, mipro_sizes
from audioreason.optimize.record import (
    Optimization,
    Recorder,
    now,
    optimization_folder,
    read_optimization,
    read_splits,
    spent_at_least,
)
from audioreason.optimize.shapes import Phase, Result, SearchPlan, State
from audioreason.optimize.texts import Texts
from audioreason.optimize.trials import Trials
from audioreason.progress import Progress, Quiet
from audioreason.prompts import Prompt, dump_prompt, parse_prompt
from audioreason.workspace import Workspace, write_atomic

if TYPE_CHECKING:
    from audioreason.optimize.seam import Seam, Taken

_SEED_FILE = "seed.md"


def plan_search(dataset: Dataset, config: OptimizeConfig) -> SearchPlan:
    """What a search would do at most; asks nobody.

    Raises:
        OptimizeError: if the dataset has too few items for it.
    """
    return make_plan(config, deal(dataset, config))


def optimize(
    workspace: Workspace,
    dataset: Dataset,
    seed: Prompt,
    config: OptimizeConfig,
    endpoint: Endpoint,
    proposer: Endpoint,
    *,
    optimization_id: str,
    resume: bool = False,
    progress: Progress | None = None,
) -> Optimization:
    """Search for a better prompt than `seed`, save the best, and measure both on the test items.

    Phases of `progress`: prepare (clips), search (trials), then those of the two test runs. A stop asked for
    there ends it with the best so far saved; `resume` goes on, also after a crash.

    Returns:
        The search as it is on disk; `standing` says how it ended.

    Raises:
        OptimizeError: if the id is taken, the proposer cannot write, or nothing is there to resume.
        EndpointError: if a server is not there or fails for good; nothing was scored for it.
        ItemError: if a clip is missing.
        WorkspaceError: if the disk is full.
    """
    folder = optimization_folder(workspace, optimization_id)
    _check_start(folder / "config.json", optimization_id, resume)
    with Recorder(folder) as recorder:
        if resume:
            found = read_optimization(workspace, optimization_id)
            config, state = found.config, found.state
            seed = parse_prompt((folder / _SEED_FILE).read_text(encoding="utf-8"), seed.name)
            if state.ending in ("finished", "budget") and state.phase == "done":
                return found
            update = {"attempt": state.attempt + 1, "ending": None, "error": ""}
            state = state.model_copy(update=update | {"spent": spent_at_least(folder, state)})
            parts = _stored(folder, dataset, config)
        else:
            check_name(workspace, prompt_name(config, optimization_id, seed), optimization_id)
            parts = deal(dataset, config)
            state = State(began=now())
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / _SEED_FILE, dump_prompt(seed))
            recorder.write("splits.json", parts.to_json())
            recorder.write("plan.json", make_plan(config, parts))
            recorder.write("config.json", config)
        search = _Search(
            workspace, dataset, seed, config, parts, recorder, state, progress or Quiet(), optimization_id
        )
        search.run(endpoint, proposer)
    return read_optimization(workspace, optimization_id)


@dataclass
class _Search:
    """One attempt."""

    workspace: Workspace
    dataset: Dataset
    seed: Prompt
    config: OptimizeConfig
    parts: Parts
    recorder: Recorder
    state: State
    progress: Progress
    id: str

    def run(self, endpoint: Endpoint, proposer: Endpoint) -> None:
        """From clips to the test.

        Raises:
            LabError: what ended it; `state.json` says so too.
        """
        try:
            self._run(endpoint, proposer)
        except Stopped as stopped:
            self._end(stopped.ending)
        except Broken as broken:
            self._fail(broken.error)
            raise broken.error from broken
        except LabError as error:
            self._fail(error)
            raise

    def _run(self, endpoint: Endpoint, proposer: Endpoint) -> None:
        self._phase("prepare")
        seen = [item.id for item in self.dataset.items if item.id in self.parts.seen]
        cache = self.workspace.cache
        clips = prepare_clips(self.dataset, seen, cache, self.progress)
        endpoint = ready(endpoint, self.workspace.clips, self.progress)
        proposer = ready(proposer, None, self.progress)
        ledger = Ledger(self.state.spent, self.config, self.progress)
        asker = Asker(self.recorder, self.dataset, clips, endpoint, self.config, ledger)
        trials = Trials(self.recorder, self.parts, self.state, ledger, self.progress)
        with _quietly(self.workspace):
            from audioreason.optimize.proposing import ProposerModel, Scribe
            from audioreason.optimize.seam import Seam

            scribe = Scribe(self.recorder, proposer, self.config, ledger)
            candidates = Candidates(self.recorder, self.seed, self.config.optimizer, scribe.link)
            items = [self.dataset[item_id] for item_id in self.parts.train[:4]]
            texts = Texts(self.seed, self.config.part == "both", items)
            seam = Seam(self.dataset, self.parts, self.config, texts, asker, candidates, trials)
            writer = ProposerModel(scribe, self.config.proposer_temperature, self.config.proposer_tokens)
            ending, note = "finished", ""
            try:
                self._phase("propose")
                scribe.check()
                seed = seam.take(texts.system, texts.user if texts.both else None, ())
                seam.judge(seed, self.parts.train)  # at once; what bootstraps demos finds them there
                self._phase("search", make_plan(self.config, self.parts).trials)
                _compile(seam, writer, self.config, self.parts)
            except Stopped as stopped:
                ending, note = stopped.ending, stopped.note
            finally:
                _shield(trials)
            result, winner = self._result(seam, trials, ending, note)
        self._phase("save")
        self._save(winner, result, ending)
        if ending == "stopped":
            raise Stopped("stopped")
        self._phase("test")
        result = test_runs(
            self.workspace, self.dataset, self.parts, self.config, endpoint, winner, self.seed, self.id,
            result, self.progress,
        )  # fmt: skip
        self._save(winner, result, ending)
        self.state.phase = "done"
        self._end("budget" if ending == "budget" else "finished")

    def _result(self, seam: Seam, trials: Trials, ending: str, note: str) -> tuple[Result, Prompt]:
        """The best of the full evaluations, and what is known of it."""
        best = trials.best or self.state.best or self.seed.version
        seed_version = self.seed.version
        if best == seed_version:
            winner = self.seed
            note = f"{note} No candidate was better than the seed on dev, so the seed stays.".strip()
        else:
            found = seam.candidates.get(best)
            winner = self.seed.model_copy(update={"system": found.system, "user": found.user})
        train = None
        if ending != "stopped":
            with contextlib.suppress(Stopped):  # the budget ends before it: then it stays unknown
                train = self._train(seam, winner, best)
        result = Result(
            prompt=self.seed.name if best == seed_version else prompt_name(self.config, self.id, self.seed),
            candidate=best,
            train=train,
            dev=trials.full.get(best, self.state.best_score),
            seed_dev=trials.full.get(seed_version),
            note=note,
        )
        return result, winner

    def _train(self, seam: Seam, winner: Prompt, candidate_id: str) -> float | None:
        from audioreason.optimize.seam import Taken

        taken: Taken = Taken(seam.candidates.get(candidate_id), winner)
        judged = seam.judge(taken, self.parts.train)
        return sum(one.value for one in judged) / len(judged) if judged else None

    def _save(self, winner: Prompt, result: Result, ending: str) -> None:
        self.state.result = result
        if winner.version != self.seed.version:
            save_prompt(
                self.workspace, winner, self.seed, self.config, self.dataset, self.parts, self.id, result,
                ending,
            )  # fmt: skip
        self.recorder.state(self.state)

    def _phase(self, phase: Phase, total: int | None = None) -> None:
        self.state.phase = phase
        self.recorder.state(self.state)
        if phase in ("propose", "search", "save"):
            self.progress.phase(phase, total)

    def _end(self, ending: Any) -> None:
        self.state.ending = ending
        self.recorder.state(self.state)

    def _fail(self, error: LabError) -> None:
        self.state.ending, self.state.error = "failed", str(error)
        with contextlib.suppress(LabError):  # a full disk: the error itself says so
            self.recorder.state(self.state)


def _compile(seam: Seam, writer: Any, config: OptimizeConfig, parts: Parts) -> None:
    """Run the optimiser. Its own verdict is not needed: every full evaluation is among the trials.

    Raises:
        HaltError: a stop, the budget, or what broke.
    """
    import dspy

    from audioreason.optimize.seam import TaskAdapter, TaskModel, Watch

    task = TaskModel(seam.asker.endpoint.model)
    trainset, devset = seam.examples(parts.train, gold=True), seam.examples(parts.dev, gold=False)
    with dspy.context(lm=task, adapter=TaskAdapter(seam), callbacks=[Watch(seam)], disable_history=True):
        try:
            if config.optimizer == "mipro":
                _mipro(seam, writer, task, config, trainset, devset)
            else:
                _gepa(seam, writer, config, trainset, devset)
        except HaltError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise Broken(
                OptimizeError(
                    f"The optimiser failed: {what}.", "What it asked is kept; resume goes on from there."
                )
            ) from error


def _mipro(
    seam: Seam, writer: Any, task: Any, config: OptimizeConfig, trainset: Sequence[Any], devset: Sequence[Any]
) -> None:
    import dspy

    sizes = mipro_sizes(config, len(devset))
    own = config.level == "own"
    optimizer = dspy.MIPROv2(
        metric=seam.metric,
        prompt_model=writer,
        task_model=task,
        max_bootstrapped_demos=config.demos,
        max_labeled_demos=config.demos,
        auto=None if own else config.level,
        num_candidates=sizes.candidates if own else None,
        num_threads=1,  # every evaluation was answered as a batch; DSPy only walks through it
        seed=config.seed,
        init_temperature=config.proposer_temperature,
    )
    optimizer.compile(
        seam.program(),
        trainset=list(trainset),
        valset=list(devset),
        num_trials=sizes.trials if own else None,
        minibatch=sizes.minibatch is not None,
        minibatch_size=sizes.minibatch or len(devset),
        minibatch_full_eval_steps=config.full_every,
        program_aware_proposer=False,  # the program is one question: its source tells nothing
    )


def _gepa(
    seam: Seam, writer: Any, config: OptimizeConfig, trainset: Sequence[Any], devset: Sequence[Any]
) -> None:
    import dspy

    from audioreason.optimize.reflecting import Reflecting

    optimizer = dspy.GEPA(
        metric=seam.metric,
        max_metric_calls=gepa_rollouts(config, len(devset)),
        reflection_minibatch_size=config.reflection,
        reflection_lm=writer,
        instruction_proposer=Reflecting(seam),
        use_merge=config.merge and config.part == "both",  # one text alone has nothing to merge with
        num_threads=1,
        seed=config.seed,
        warn_on_score_mismatch=False,
    )
    optimizer.compile(seam.program(), trainset=list(trainset), valset=list(devset))


@contextlib.contextmanager
def _quietly(workspace: Workspace) -> Iterator[None]:
    """DSPy without telemetry, network look-ups, progress bars, or a cache in the home folder."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_TELEMETRY", "False")
    os.environ.setdefault("DSPY_CACHEDIR", str(workspace.cache / "dspy"))
    try:
        import dspy
        import optuna
    except ImportError as error:
        raise OptimizeError(
            f"Optimising prompts needs {error.name}, which is not installed.",
            'Install it with: pip install "audioreason[optimize]"',
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("dspy").setLevel(logging.ERROR)  # it warns of every field it does not use
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _without_bars():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """No progress bars of DSPy's and GEPA's: neither can be told, and ours counts trials."""
    from tqdm.std import tqdm  # type: ignore[import-untyped]

    original = tqdm.__init__

    def silent(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **{**options, "disable": True})

    tqdm.__init__ = silent
    try:
        yield
    finally:
        tqdm.__init__ = original


def _shield(trials: Trials) -> None:
    """Write how far it came, whatever ends it; a full disk has its own sentence already."""
    with contextlib.suppress(LabError):
        trials.save()


def _check_start(config: Any, optimization_id: str, resume: bool) -> None:
    if resume and not config.is_file():
        raise OptimizeError(
            f"There is no search {optimization_id} to resume.", "See them with: audioreason optimize list"
        )
    if not resume and config.is_file():
        raise OptimizeError(
            f"There is a search {optimization_id} already.",
            "Continue it with --resume, or choose another id.",
        )


def _stored(folder: Any, dataset: Dataset, config: OptimizeConfig) -> Parts:
    """The parts that the search began with.

    Raises:
        OptimizeError: if the dataset has lost some of their items.
    """
    found = read_splits(folder)
    gone = [item_id for ids in found.values() for item_id in ids if item_id not in dataset]
    if gone or set(found) != {"train", "dev", "test"}:
        raise OptimizeError(
            f"The dataset {dataset.info.name} has changed since the search began"
            + (f": the item {gone[0]} is gone." if gone else "."),
            "Start a new search.",
        )
    split = None if config.dealing == "paper" else "sealed" if dataset.info.kind == "benchmark" else "test"
    return Parts(found["train"], found["dev"], found["test"], split)
