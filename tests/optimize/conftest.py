"""A task model whose answers depend on the prompt, and a proposer that writes from a script."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from audioreason.items import Dataset
from audioreason.optimize.config import OptimizeConfig
from audioreason.optimize.record import Optimization
from audioreason.optimize.search import optimize
from audioreason.progress import Quiet
from audioreason.prompts import Prompt
from audioreason.workspace import Workspace
from tests.servers import FakeServer, Reply, Request, Status, Text

CHOICES = ("one", "two", "three", "four")
SEED = Prompt(
    name="plain",
    title="Plain",
    system="You answer questions.",
    user="{{ question }}\n{% for c in choices %}({{ loop.index | letter }}) {{ c }}\n{% endfor %}",
)
LINES = (
    "Please answer each and every question about the sound that you are given now.",
    "Listen carefully to the whole clip, name what you hear, and then choose an option.",
    "Count {{ everything }} and {% say %} the number of tones that there are in it.",
    "Take the first option that seems right to you and do not think about it more.",
)


def answer(request: Request) -> Text:
    """Right for 1 of 2 items, and for 7 of 8 if the system text says "carefully"."""
    system = request.body["messages"][0]["content"]
    found = re.search(r"in clip (\d+)", request.text)
    if found is None:  # the lab asks how it hears
        return Text("yes")
    index = int(found[1])
    luck = hashlib.sha256(f"{index}".encode()).digest()[0] % 8
    right = luck < (7 if "carefully" in system else 4)
    return Text(f"ANSWER: {CHOICES[(index + (not right)) % 4]}")


def identity(request: Request) -> str:
    """What makes two requests the same one."""
    return hashlib.sha256(json.dumps(request.body, sort_keys=True).encode()).hexdigest()


@dataclass
class Stage:
    """Both servers, and a search on them."""

    workspace: Workspace
    data: Dataset
    task: FakeServer
    writer: FakeServer
    config: OptimizeConfig
    written: list[str] = field(default_factory=list)

    def run(
        self, search: str = "one", resume: bool = False, progress: Quiet | None = None, **changes: object
    ) -> Optimization:
        config = self.config.model_copy(update=changes)
        return optimize(
            self.workspace, self.data, SEED, config, self.task.endpoint, self.writer.endpoint,
            optimization_id=search, resume=resume, progress=progress,
        )  # fmt: skip

    def asked(self) -> list[str]:
        return [identity(one) for server in (self.task, self.writer) for one in server.requests]


@pytest.fixture
def stage(workspace: Workspace, tiny_dataset: Callable[..., Dataset]) -> Iterator[Stage]:
    data = tiny_dataset(n=60)
    config = OptimizeConfig(
        prompt="plain", dataset="tiny", level="own", candidates=4, trials=4, minibatch=8, full_every=2,
        rollouts=80, reflection=3, train_items=16, dev_items=20, test_items=12, concurrency=8,
        proposer="elsewhere", max_tokens=50,
    )  # fmt: skip

    def write(request: Request) -> Reply:
        return Text(f"{LINES[(request.number - 1) % len(LINES)]} Rule {request.number}.")

    with FakeServer(answer) as task, FakeServer(write, models=("writer",), hears=()) as writer:
        yield Stage(workspace, data, task, writer, config)


class StopAfter(Quiet):
    """Asks for a stop once a server has seen so many requests."""

    def __init__(self, server: FakeServer, requests: int) -> None:
        super().__init__()
        self._server, self._requests = server, requests

    def should_stop(self) -> bool:
        return len(self._server.requests) >= self._requests


class OneInThree:
    """503 for every third request, and the true answer when it comes again."""

    def __init__(self, reply: Callable[[Request], Reply]) -> None:
        self._reply = reply
        self._lock = threading.Lock()
        self._count = 0

    def __call__(self, request: Request) -> Reply:
        with self._lock:
            self._count += 1
            if self._count % 3 == 0:
                return Status(503, "busy")
        return self._reply(request)
