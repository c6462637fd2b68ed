"""Ray's Jobs API, as little of it as the lab needs: submit, status, logs, stop, delete.

Over HTTP (docs.ray.io, "Ray Jobs REST API"), so that neither the lab nor a command imports ray.
`AUDIOREASON_RAY_ADDRESS` is the dashboard's URL, `RAY_AUTH_TOKEN` its token (Ray 2.52 and later,
`RAY_AUTH_MODE=token`). Knows nothing about workspaces.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from audioreason.errors import JobError
from audioreason.jobs.spec import JobSpec

ADDRESS_VARIABLE = "AUDIOREASON_RAY_ADDRESS"
TOKEN_OF_RAY = "RAY_AUTH_TOKEN"  # noqa: S105 - a variable's name
_PATIENCE = 20.0  # seconds for an answer
_STARTING = 60.0  # seconds that a head may take before it can start jobs
_NO_AGENT = "No available agent"


@dataclass(frozen=True)
class Status:
    """What the cluster says of a submission: Ray's word for it, and its message."""

    word: str
    message: str = ""


class Cluster:
    """A Ray cluster's Jobs API.

    Raises:
        JobError: (each method) if it cannot be reached, wants another token, or refuses.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise JobError(
                f"{address[:100]!r} is not the address of a Ray cluster.",
                f"Set {ADDRESS_VARIABLE} to its dashboard's URL, such as http://127.0.0.1:8265.",
            )
        self.address = address.rstrip("/")

    def submit(self, submission: str, entrypoint: str, environment: Mapping[str, str], spec: JobSpec) -> None:
        """Give a job to the cluster; a head that has just been started may take a moment to be ready."""
        body = {
            "submission_id": submission,
            "entrypoint": entrypoint,
            "runtime_env": {"env_vars": dict(environment)},
            "metadata": {"audioreason": spec.id, "title": spec.title[:200]},
            "entrypoint_num_cpus": spec.needs.cpus,
            "entrypoint_num_gpus": spec.needs.gpus,
        }
        give_up = time.monotonic() + _STARTING
        while True:
            try:
                self._ask("POST", "/api/jobs/", body)
            except JobError as error:
                if _NO_AGENT not in error.message or time.monotonic() > give_up:
                    raise
                time.sleep(1.0)
            else:
                return

    def status(self, submission: str) -> Status | None:
        """What it says of a submission; None if it knows none."""
        found = self._ask("GET", f"/api/jobs/{quote(submission, safe='')}", missing=True)
        return None if found is None else Status(str(found.get("status")), str(found.get("message") or ""))

    def everything(self) -> dict[str, Status]:
        """Every submission that it knows."""
        found = self._ask("GET", "/api/jobs/") or []
        return {
            str(one["submission_id"]): Status(str(one.get("status")), str(one.get("message") or ""))
            for one in found
            if one.get("submission_id")
        }

    def logs(self, submission: str) -> str:
        """What Ray kept of a submission's output."""
        found = self._ask("GET", f"/api/jobs/{quote(submission, safe='')}/logs", missing=True)
        return "" if found is None else str(found.get("logs") or "")

    def stop(self, submission: str) -> None:
        """SIGTERM, and after the grace time SIGKILL."""
        self._ask("POST", f"/api/jobs/{quote(submission, safe='')}/stop", missing=True)

    def delete(self, submission: str) -> None:
        """Forget a submission that is over."""
        self._ask("DELETE", f"/api/jobs/{quote(submission, safe='')}", missing=True)

    def _ask(self, method: str, path: str, body: Any = None, missing: bool = False) -> Any:
        headers = {"Content-Type": "application/json", "User-Agent": "audioreason"}
        if token := os.environ.get(TOKEN_OF_RAY):
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310 - checked above
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            words = error.read(2000).decode(errors="replace")
            if error.code in (401, 403):
                raise JobError(
                    f"The cluster at {self.address} wants another token.", f"Set {TOKEN_OF_RAY}."
                ) from error
            if missing and error.code == http.HTTPStatus.NOT_FOUND:
                return None
            lines = [line for line in words.splitlines() if len(line.strip()) > 3] or [str(error.reason)]
            line = lines[-1].strip()[:300]
            raise JobError(f"The cluster at {self.address} refused ({error.code}): {line}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise JobError(
                f"The cluster at {self.address} cannot be reached ({reason}).",
                f"Is it up? {ADDRESS_VARIABLE} names its dashboard.",
            ) from error


def the_cluster() -> Cluster:
    """The cluster of the environment.

    Raises:
        JobError: if none is named.
    """
    address = os.environ.get(ADDRESS_VARIABLE, "")
    if not address:
        raise JobError("No cluster is named.", f"Set {ADDRESS_VARIABLE}, such as http://127.0.0.1:8265.")
    return Cluster(address)
