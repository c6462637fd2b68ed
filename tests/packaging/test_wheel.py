"""The lab as a wheel: installed into a new environment elsewhere, it opens and finds what it ships."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

TOKEN = "wheel-test-token"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--installer", "uv", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_wheel_holds_the_lab_under_its_own_package_only(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"audioreason"}
    assert "audioreason/_lab/app/main.py" in names
    assert "audioreason/_lab/.streamlit/config.toml" in names
    assert any(name.startswith("audioreason/_data/prompts/") for name in names)
    assert any(name.startswith("audioreason/_data/pocket-listener/") for name in names)
    assert "audioreason/_data/mappings/musicbench.yaml" in names


@pytest.mark.slow
def test_wheel_in_a_new_environment_elsewhere_opens_the_lab(wheel: Path, tmp_path: Path) -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    assert uv, "uv comes with the environment that `make test-slow` makes"
    environment = tmp_path / "env"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(environment)], check=True)
    subprocess.run(
        [uv, "pip", "install", "-q", "--python", str(environment / "bin" / "python"), str(wheel)], check=True
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "AUDIOREASON"))}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = environment / "bin" / "audioreason"
    listed = subprocess.run(
        [command, "prompts", "list"], cwd=elsewhere, env=clean, check=True, capture_output=True, text=True
    )
    assert "structured-reasoning" in listed.stdout

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lab = subprocess.Popen(
        [command, "lab", "--port", str(port), "--no-browser", "--token", TOKEN],
        cwd=elsewhere,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        assert _answers(f"http://127.0.0.1:{port}/_stcore/health", seconds=60), "the lab did not open"
        font = f"http://127.0.0.1:{port}/app/static/ibm-plex-sans-latin-400-normal.woff2"
        assert _answers(font, seconds=10), "the lab's fonts are not served"
        assert (elsewhere / "workspace").is_dir()
    finally:
        os.killpg(lab.pid, 15)
        lab.wait(timeout=20)


def _answers(url: str, seconds: float) -> bool:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=2) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    return False
