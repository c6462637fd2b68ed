"""The commands `lab`, `serve` and `endpoints`: who is let in, which key goes where, and how a lab ends."""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from audioreason.inference.endpoint import Endpoint, load_endpoints, save_endpoint
from audioreason.workspace import Workspace
from tests.cli.conftest import PROGRAM, Program, Say, environment
from tests.servers import FakeServer, closed_port

CERTIFICATE = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1")


@contextmanager
def running(workspace: Workspace, *arguments: str, **variables: str) -> Iterator[tuple[psutil.Popen, str]]:
    """A command that keeps running, and what it prints until it listens on the port, its last argument."""
    said = workspace.root / "said.txt"
    with said.open("wb") as out:
        process = psutil.Popen(
            [*PROGRAM, *arguments], env=environment(workspace) | variables, stdout=out, stderr=out
        )
        try:
            deadline = time.monotonic() + 90
            while answer(int(arguments[-1]), "/") == 0:
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < deadline, said.read_text()
                time.sleep(0.2)
            yield process, said.read_text()
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def answer(port: int, path: str, **headers: str) -> int:
    """The status of a GET; 0 if nothing listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def test_the_lab_prints_a_link_with_a_new_token_and_ends_with_its_server(workspace: Workspace) -> None:
    port = closed_port()
    with running(workspace, "lab", "--no-browser", "--port", str(port)) as (process, said):
        token = re.findall(rf"http://127\.0\.0\.1:{port}/\?token=([\w-]{{40,}})", said)[0]
        assert said.count(token) == 1 and token not in " ".join(process.cmdline())
        assert answer(port, "/") == 401
        assert answer(port, "/", Authorization=f"Bearer {token}") == 200
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert answer(port, "/") == 0
        assert not [
            one for one in psutil.process_iter(["cmdline"]) if str(port) in (one.info["cmdline"] or ())
        ]
        assert (workspace.root / "said.txt").read_text().count(token) == 1
    assert not (workspace.root / "open-lab.html").exists()


def test_the_browser_gets_a_private_page_instead_of_the_token(workspace: Workspace, tmp_path: Path) -> None:
    port, browser = closed_port(), tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/opened\n')
    browser.chmod(0o700)
    arguments = ("lab", "--port", str(port))
    with running(workspace, *arguments, BROWSER=f"{browser} %s", AUDIOREASON_TOKEN="fixed-token-1") as (
        process,
        said,
    ):
        assert "fixed-token-1" not in said  # who chose it knows it
        deadline = time.monotonic() + 30
        while not (tmp_path / "opened").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        page = workspace.root / "open-lab.html"
        assert (tmp_path / "opened").read_text().strip() == page.as_uri()
        assert page.stat().st_mode & 0o777 == 0o600 and "fixed-token-1" in page.read_text()
        assert answer(port, "/", Authorization="Bearer fixed-token-1") == 200
        process.terminate()
        process.wait(30)
        assert not page.exists()


def test_an_open_lab_is_for_loopback_alone_and_says_what_it_means(
    workspace: Workspace, program: Program
) -> None:
    port = closed_port()
    with running(workspace, "lab", "--no-browser", "--no-token", "--port", str(port)) as (_, said):
        assert "every user of this machine can open this lab" in said
        assert answer(port, "/") == 200
        assert answer(port, "/", Host="evil.example") == 403
        taken = program("lab", "--no-browser", "--port", port, status=1)
        assert f"port {port}" in taken.stderr and "--port" in taken.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--no-token", "--host", "0.0.0.0"), "needs a token"),
        (("--no-token", "--token", "x"), "A token is given too"),
        (("--token", "two words"), "no spaces"),
        (("--certfile", "cert.pem"), "Give both"),
        (("--certfile", "cert.pem", "--keyfile", "key.pem"), "There is no file cert.pem"),
    ],
)
def test_what_would_open_the_lab_to_others_is_refused(
    say: Say, arguments: tuple[str, ...], words: str
) -> None:
    _, said = say("lab", "--no-browser", *arguments, status=2)
    assert words in " ".join(said.split())


@pytest.mark.slow
def test_a_lab_on_the_network_is_https_and_answers_to_its_names(workspace: Workspace, tmp_path: Path) -> None:
    port = closed_port()
    files = (str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
    subprocess.run(
        ["openssl", *CERTIFICATE, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True
    )
    said = workspace.root / "said.txt"
    command = [*PROGRAM, "lab", "--no-browser", "--host", "0.0.0.0", "--token", "t0ken", "--port", str(port)]
    command += ["--allow-host", "lab.example", "--certfile", files[0], "--keyfile", files[1]]
    with said.open("wb") as out:
        process = subprocess.Popen(command, env=environment(workspace), stdout=out, stderr=out)
    try:
        import ssl

        context = ssl._create_unverified_context()

        def status(host: str, **headers: str) -> int:
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
            try:
                connection.request("GET", "/", headers={"Host": f"{host}:{port}", **headers})
                return connection.getresponse().status
            except OSError:
                return 0

        deadline = time.monotonic() + 90
        while status("127.0.0.1") == 0 and time.monotonic() < deadline:
            time.sleep(0.2)
        token = {"Authorization": "Bearer t0ken"}
        assert status("lab.example", **token) == status("127.0.0.1", **token) == 200
        assert status("lab.example") == 401 and status("evil.example", **token) == 403
        assert "plain HTTP" not in said.read_text()
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_an_engine_that_is_served_by_hand_has_a_key_that_this_workspace_knows(
    workspace: Workspace, program: Program
) -> None:
    port = closed_port()
    with running(workspace, "serve", "--port", str(port)) as (process, said):
        deadline = time.monotonic() + 60
        while not load_endpoints(workspace) and time.monotonic() < deadline:
            time.sleep(0.2)
        (endpoint,) = load_endpoints(workspace)
        key = endpoint.api_key() or ""
        assert len(key) >= 32 and key not in said + " ".join(process.cmdline())
        assert answer(port, "/v1/models") == 401
        assert answer(port, "/v1/models", Authorization=f"Bearer {key}") == 200
        address = f"http://127.0.0.1:{port}/v1"
        done = program(
            "eval", "--dataset", "soundcheck", "--limit", "1", "--endpoint", address, "--json", seconds=300
        )
        assert json.loads(done.stdout)["answered"] == 1
        process.terminate()
        process.wait(30)
    assert load_endpoints(workspace) == ()


def test_an_endpoint_is_added_with_a_key_only_after_a_confirmation(say: Say, workspace: Workspace) -> None:
    _, said = say("endpoints", "add", "a", "http://host:1", "--key-env", "MY_KEY", status=1)
    assert "Send the value of MY_KEY to http://host:1/v1 with every request?" in said
    assert load_endpoints(workspace) == ()
    say("endpoints", "add", "a", "http://host:1", "--key-env", "MY_KEY", "--yes")
    say("endpoints", "add", "b", "http://host:2", "--key-env", "HF_TOKEN", "--yes")
    assert [endpoint.key_confirmed for endpoint in load_endpoints(workspace)] == [True, True]
    out, _ = say("endpoints", "list")
    assert "MY_KEY" in out and "not confirmed" not in out
    say("endpoints", "choose", "b")
    rows = json.loads(say("endpoints", "list", "--json")[0])
    assert [(row["name"], row["default"]) for row in rows] == [("a", False), ("b", True)]
    say("endpoints", "remove", "a")
    assert "There is no endpoint named a." in say("endpoints", "remove", "a", status=1)[1]


def test_a_changed_address_is_asked_about_in_the_terminal(workspace: Workspace, tmp_path: Path) -> None:
    with FakeServer(require_key="hunter2hunter2") as server:
        endpoint = Endpoint(name="a", base_url="http://127.0.0.1:1", model="fake-model", api_key_env="MY_KEY",
                            transport="input_audio")  # fmt: skip
        save_endpoint(workspace, endpoint.model_copy(update={"base_url": server.base_url}))
        given = environment(workspace) | {"MY_KEY": "hunter2hunter2"}
        command = [*PROGRAM, "eval", "--limit", "1", "--endpoint", "a"]
        done = subprocess.run(
            command, env=given, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        assert done.returncode == 1 and "audioreason endpoints confirm a MY_KEY" in done.stderr
        assert server.requests == []

        parent, child = pty.openpty()
        process = subprocess.Popen(
            command, env=given, stdin=child, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        os.close(child)
        os.write(parent, b"y\n")
        out, _ = process.communicate(timeout=120)
        os.close(parent)
        asked = f"Send the value of MY_KEY to {server.base_url} with every request?"
        assert asked in out.decode() and process.returncode == 0, out.decode()
        assert server.requests
    assert load_endpoints(workspace)[0].key_confirmed
