"""What `audioreason doctor` looks at: one check, one sentence, and what to do when it is not well."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from audioreason.errors import LabError, WorkspaceError
from audioreason.wording import counted
from audioreason.workspace import Workspace, shipped


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report."""

    name: str
    state: Literal["ok", "warn", "fail"]
    sentence: str


def run_checks(workspace: Workspace | WorkspaceError) -> list[Check]:
    """Check python, packages, the embedded model, the workspace, endpoints, and what a GPU machine adds.

    A workspace that cannot be used is given as the reason; the rest is checked all the same.
    """
    return [
        _python(),
        *_packages(),
        _embedded_model(),
        _workspace(workspace),
        *([] if isinstance(workspace, WorkspaceError) else _endpoints(workspace)),
        _gpu(),
        _vllm(),
    ]


def verify_runs(workspace: Workspace) -> list[Check]:
    """Read every file of every run, archived ones too: its checksum, and where it has none, its pages."""
    from audioreason.runs.record import folders_of_runs, read_record
    from audioreason.runs.storage import check_parquet

    damaged: list[Check] = []
    runs, old = 0, 0
    for parent in (workspace.runs, workspace.archive):
        for run_id, folder in folders_of_runs(parent):
            runs += 1
            checks: list[Callable[[], object]] = [partial(read_record, folder)]
            checks += [partial(check_parquet, folder / "items.parquet")]
            checks += [partial(check_parquet, file) for file in folder.glob("predictions.parquet")]
            checks += [partial(check_parquet, file) for file in folder.glob("*/*.parquet")]
            found: list[object] = []
            for check in checks:
                try:
                    found.append(check())
                except LabError as error:
                    damaged.append(Check(f"run {run_id}", "fail", str(error)))
            old += not all(found)
    said = f"{counted(runs, 'run')} read, {len({one.name for one in damaged})} damaged"
    if old:
        said += f"; {old} from before there were checksums: only what cannot be read is found in them"
    return [*damaged, Check("runs", "fail" if damaged else "ok", f"{said}.")]


def _python() -> Check:
    fits = (3, 11) <= sys.version_info < (3, 14)
    sentence = f"Python {platform.python_version()} at {sys.executable}"
    return Check(
        "python", "ok" if fits else "fail", sentence if fits else f"{sentence}; 3.11 to 3.13 is needed."
    )


def _packages() -> Iterator[Check]:
    wanted = {
        "": (
            "streamlit",
            "duckdb",
            "altair",
            "pandas",
            "librosa",
            "openai",
            "soundfile",
            "av",
            "espeakng-loader",
        ),
        "local": ("torch", "transformers"),
        "train": ("peft", "bitsandbytes"),
        "optimize": ("dspy",),
    }
    for extra, names in wanted.items():
        found, missing = [], []
        for name in names:
            try:
                found.append(f"{name} {importlib.metadata.version(name)}")
            except importlib.metadata.PackageNotFoundError:
                missing.append(name)
        title = f"packages [{extra}]" if extra else "packages"
        if not missing:
            yield Check(title, "ok", ", ".join(found))
        elif extra:
            yield Check(
                title, "warn", f"{', '.join(missing)} not installed: pip install 'audioreason[{extra}]'"
            )
        else:
            yield Check(title, "fail", f"{', '.join(missing)} not installed: run `make install` again.")


def _embedded_model() -> Check:
    folder = shipped("pocket-listener")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        return Check("embedded model", "fail", f"No weights in {folder}: the checkout is incomplete.")
    size = sum(path.stat().st_size for path in weights) / 1e6
    if importlib.util.find_spec("torch") is None:
        return Check("embedded model", "warn", "Pocket Listener is here, but torch is not: it cannot run.")
    return Check("embedded model", "ok", f"Pocket Listener, {size:.1f} MB, at {folder}")


def _workspace(workspace: Workspace | WorkspaceError) -> Check:
    if isinstance(workspace, WorkspaceError):
        return Check("workspace", "fail", str(workspace))
    if not os.access(workspace.root, os.W_OK):
        return Check("workspace", "warn", f"{workspace.root} is read-only: it can be read, and nothing else.")
    free = shutil.disk_usage(workspace.root).free / 1e9
    state: Literal["ok", "warn"] = "ok" if free > 2 else "warn"
    return Check("workspace", state, f"{workspace.root}, {free:.1f} GB free")


def _endpoints(workspace: Workspace) -> Iterator[Check]:
    from audioreason.inference.endpoint import load_endpoints
    from audioreason.inference.probe import endpoint_status

    endpoints = load_endpoints(workspace)
    if not endpoints:
        yield Check("endpoints", "ok", "None set: the embedded model answers.")
    for endpoint in endpoints:
        status = endpoint_status(endpoint)
        if status.error is not None:
            yield Check(f"endpoint {endpoint.name}", "warn", status.error)
        else:
            models = ", ".join(status.models) or "no model"
            milliseconds = f" in {1000 * status.seconds:.0f} ms" if status.seconds is not None else ""
            yield Check(f"endpoint {endpoint.name}", "ok", f"{models} answers{milliseconds}")


def _gpu() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check("gpu", "ok", "torch is not installed; not looked for.")
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return Check(
            "gpu", "ok", f"{torch.cuda.get_device_name()}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free"
        )
    return Check("gpu", "ok", "None: the embedded model runs on the processor; the 30B model needs one.")


def _vllm() -> Check:
    path = os.environ.get("AUDIOREASON_VLLM")
    if not path:
        return Check("vllm", "ok", "AUDIOREASON_VLLM is not set; `make vllm` on a GPU machine installs it.")
    if Path(path).is_file() and os.access(path, os.X_OK):
        return Check("vllm", "ok", path)
    return Check("vllm", "fail", f"AUDIOREASON_VLLM names {path}, which is not an executable file.")
