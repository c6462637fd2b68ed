"""What an endpoint accepts, where it is, that no key is ever written, that the store survives rivals."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from audioreason.errors import EndpointError, WorkspaceError
from audioreason.inference.endpoint import (
    Endpoint,
    Sampling,
    choose_endpoint,
    default_endpoint,
    is_protected,
    load_endpoints,
    normalise_url,
    remove_endpoint,
    save_endpoint,
    server_key,
)
from audioreason.inference.seeds import sample_seed
from audioreason.workspace import Workspace


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        (" http://localhost:8000/ ", "http://localhost:8000/v1"),
        ("http://[::1]:8000/v1/", "http://[::1]:8000/v1"),
        ("https://API.example.com/openai/v1/chat/completions", "https://api.example.com/openai/v1"),
        ("http://host/Team/v1", "http://host/Team/v1"),
        ("http://vllm_server-1:8000", "http://vllm_server-1:8000/v1"),
        ("http://bücher.example.", "http://bücher.example./v1"),
    ],
)
def test_url_is_normalised_once_and_for_all(written: str, meant: str) -> None:
    assert normalise_url(written) == meant
    assert normalise_url(meant) == meant


@pytest.mark.parametrize(
    "written",
    [
        "",
        "ftp://host",
        "http://",
        "http://host:99999",
        "http://[bad",
        "file:///etc",
        "http://a..b",
        "a b.com",
        "<script>",
        "http://<script>alert(1)</script>",
        "http://host;rm",
        "http://-host",
        "http://*.example.com",
        "http://[::zz]",
    ],
)
def test_what_is_no_url_is_refused_in_one_sentence(written: str) -> None:
    with pytest.raises(EndpointError, match="not an http or https URL"):
        Endpoint(name="x", base_url=written)


@pytest.mark.parametrize("written", ["http://user:hunter2@host/v1", "http://host/v1?key=hunter2"])
def test_secret_in_url_is_refused_and_not_repeated(written: str) -> None:
    with pytest.raises(EndpointError) as caught:
        Endpoint(name="x", base_url=written)
    assert "hunter2" not in str(caught.value)


def test_pasted_key_is_refused_and_not_repeated() -> None:
    with pytest.raises(EndpointError) as caught:
        Endpoint(name="x", base_url="http://host", api_key_env="sk-hunter2")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ValidationError) as refused:
        Endpoint.model_validate({"name": "x", "base_url": "http://host", "api_key": "sk-hunter2"})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("[::1]", True),
        ("[::ffff:127.0.0.1]", True),
        ("lab.localhost", True),
        ("192.168.1.7", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("gpu-box", False),
    ],
)
def test_local_means_audio_stays_on_this_machine(host: str, local: bool) -> None:
    endpoint = Endpoint(name="x", base_url=f"http://{host}:8000")
    assert endpoint.local is local
    assert ("not on this machine" in endpoint.describe()) is not local


def test_key_comes_from_the_environment_and_is_never_serialised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TEST_KEY", "hunter2")
    endpoint = Endpoint(name="x", base_url="http://host", api_key_env="LAB_TEST_KEY")
    assert endpoint.api_key() == "hunter2"
    assert "hunter2" not in endpoint.model_dump_json() + repr(endpoint)


def test_key_comes_from_the_secrets_file_too(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    monkeypatch.chdir(workspace.root)
    (workspace.root / ".streamlit").mkdir()
    (workspace.root / ".streamlit" / "secrets.toml").write_text('LAB_TEST_KEY = "hunter3"\n')
    assert Endpoint(name="x", base_url="http://host", api_key_env="LAB_TEST_KEY").api_key() == "hunter3"


def test_missing_key_says_which_variable(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    monkeypatch.chdir(workspace.root)
    monkeypatch.delenv("LAB_TEST_KEY", raising=False)
    with pytest.raises(EndpointError, match="LAB_TEST_KEY"):
        Endpoint(name="x", base_url="http://host", api_key_env="LAB_TEST_KEY").api_key()


def test_sampling_extras_are_top_level_fields_and_unset_ones_absent() -> None:
    for value in (float("inf"), float("nan"), 0.0):
        with pytest.raises(ValidationError):
            Sampling(repetition_penalty=value)
    body = Sampling(top_k=20, min_p=0.05, repetition_penalty=1.1, samples=4).body()
    assert body == {
        "temperature": 0.1,
        "max_tokens": 10_000,
        "top_k": 20,
        "min_p": 0.05,
        "repetition_penalty": 1.1,
    }


def test_store_keeps_order_replaces_by_name_and_forgets(workspace: Workspace) -> None:
    assert load_endpoints(workspace) == ()
    assert default_endpoint(workspace) is None
    first, second = (Endpoint(name=name, base_url=f"http://{name}:1") for name in ("a", "b"))
    save_endpoint(workspace, first)
    save_endpoint(workspace, second)
    assert default_endpoint(workspace) == first
    choose_endpoint(workspace, "b")
    moved = first.model_copy(update={"model": "m"})
    save_endpoint(workspace, moved)
    assert load_endpoints(workspace) == (moved, second)
    assert default_endpoint(workspace) == second
    remove_endpoint(workspace, "b")
    assert load_endpoints(workspace) == (moved,)
    assert default_endpoint(workspace) is None
    with pytest.raises(EndpointError, match="no endpoint named b"):
        choose_endpoint(workspace, "b")


def test_broken_store_is_named_and_left_alone(workspace: Workspace) -> None:
    path = workspace.root / "endpoints.json"
    path.write_text('{"endpoints": [{"name": ')
    with pytest.raises(WorkspaceError, match=r"endpoints\.json"):
        save_endpoint(workspace, Endpoint(name="x", base_url="http://host"))
    assert path.read_text() == '{"endpoints": [{"name": '


def test_rivals_lose_no_endpoint(workspace: Workspace) -> None:
    def save(number: int) -> None:
        save_endpoint(workspace, Endpoint(name=f"e{number}", base_url=f"http://host:{8000 + number}"))

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {endpoint.name for endpoint in load_endpoints(workspace)} == {f"e{number}" for number in range(8)}
    assert "default" in json.loads((workspace.root / "endpoints.json").read_text())


def test_seeds_are_what_they_always_were() -> None:
    assert [sample_seed(0, "soundcheck-001", sample) for sample in range(3)] == [
        474319423,
        1257552790,
        1680702870,
    ]


@given(st.integers(), st.text(), st.integers(0, 10_000))
def test_seed_fits_31_bits_and_repeats(run_seed: int, item_id: str, sample: int) -> None:
    seed = sample_seed(run_seed, item_id, sample)
    assert 0 <= seed < 2**31
    assert seed == sample_seed(run_seed, item_id, sample)


def test_neighbours_do_not_share_seeds() -> None:
    seeds = {
        sample_seed(run, f"item-{item}", sample)
        for run in range(2)
        for item in range(100)
        for sample in range(16)
    }
    assert len(seeds) == 2 * 100 * 16
    assert sample_seed(1, "11", 1) != sample_seed(11, "1", 1) != sample_seed(1, "1", 11)


def test_a_key_goes_to_the_address_it_was_named_for_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TEST_KEY", "hunter2")
    endpoint = Endpoint(name="x", base_url="http://host", api_key_env="LAB_TEST_KEY")
    moved = endpoint.model_copy(update={"base_url": "http://elsewhere/v1"})
    with pytest.raises(EndpointError, match="has not been confirmed for http://elsewhere/v1") as refused:
        moved.api_key()
    assert "hunter2" not in str(refused.value)
    assert moved.confirm_key().api_key() == "hunter2"


@pytest.mark.parametrize(
    ("change", "confirmed"),
    [
        ({}, True),
        ({"base_url": "http://elsewhere/v1"}, False),
        ({"api_key_env": "HF_TOKEN"}, False),
        ({"api_key_env": "OTHER_KEY"}, False),
        ({"key_for": None}, False),
        ({"key_for": "LAB_TEST_KEY http://elsewhere/v1"}, False),
    ],
)
def test_a_saved_endpoint_whose_address_was_changed_by_hand_sends_no_key(
    workspace: Workspace, change: dict[str, str | None], confirmed: bool
) -> None:
    save_endpoint(workspace, Endpoint(name="x", base_url="http://host", api_key_env="LAB_TEST_KEY"))
    path = workspace.root / "endpoints.json"
    store = json.loads(path.read_text())
    store["endpoints"][0] |= change
    path.write_text(json.dumps(store))
    assert load_endpoints(workspace)[0].key_confirmed is confirmed


def test_an_endpoint_of_an_older_lab_is_read_and_its_key_confirmed_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {
        "name": "x",
        "base_url": "http://host/v1",
        "model": "",
        "transport": "auto",
        "api_key_env": "LAB_TEST_KEY",
    }
    (workspace.root / "endpoints.json").write_text(json.dumps({"default": "x", "endpoints": [old]}))
    monkeypatch.setenv("LAB_TEST_KEY", "hunter2")
    (endpoint,) = load_endpoints(workspace)
    with pytest.raises(EndpointError, match="audioreason endpoints confirm x LAB_TEST_KEY"):
        endpoint.api_key()
    save_endpoint(workspace, endpoint.confirm_key())
    assert load_endpoints(workspace)[0].api_key() == "hunter2"


@pytest.mark.parametrize(
    "variable",
    ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS",
     "GITHUB_TOKEN", "AZURE_CLIENT_SECRET", "GH_TOKEN", "AUDIOREASON_TOKEN", "aws_session_token"],
)  # fmt: skip
def test_a_credential_of_another_service_is_not_sent_unless_it_is_confirmed_by_name(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "hunter2")
    endpoint = Endpoint(name="x", base_url="http://host", api_key_env=variable)
    with pytest.raises(EndpointError, match="was not sent"):
        endpoint.api_key()
    assert endpoint.confirm_key().api_key() == "hunter2"  # what the command line does
    assert not any(
        map(is_protected, ("OPENAI_API_KEY", "MY_SERVER_KEY", "VLLM_API_KEY", "TOKEN", "SHF_TOKEN"))
    )


def test_the_key_of_a_server_of_the_lab_is_in_a_private_file_and_stays_on_this_machine(
    workspace: Workspace,
) -> None:
    path = server_key(workspace, "job")
    assert path.stat().st_mode & 0o777 == 0o600 and len(path.read_text()) >= 32
    assert server_key(workspace, "job").read_text() == path.read_text()
    assert server_key(workspace, "other").read_text() != path.read_text()
    local = Endpoint(name="x", base_url="http://127.0.0.1:8000", api_key_file=path)
    save_endpoint(workspace, local)
    assert load_endpoints(workspace)[0].api_key() == path.read_text()
    assert path.read_text() not in (workspace.root / "endpoints.json").read_text()
    assert local.model_copy(update={"base_url": "http://elsewhere/v1"}).api_key() is None
    path.unlink()
    with pytest.raises(EndpointError, match="cannot be read"):
        local.api_key()


def test_a_key_in_memory_is_neither_written_nor_shown() -> None:
    endpoint = Endpoint(name="x", base_url="http://127.0.0.1:1").with_key("hunter2")
    assert endpoint.model_copy(update={"model": "m"}).api_key() == "hunter2"
    assert endpoint.model_copy(update={"base_url": "http://elsewhere/v1"}).api_key() is None
    assert "hunter2" not in endpoint.model_dump_json() + repr(endpoint)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "\ufeff" + text, ""),
        (lambda text: ",]".join(text.rsplit("]", 1)), "trailing comma at line"),
        (lambda text: text.replace('"model"', '"modle"', 1), "endpoints.0.modle: there is no such field"),
        (lambda text: text.replace("http:", "ftp:", 1), "not an http or https URL"),
        (lambda text: text[:20], "EOF while parsing"),
    ],
)
def test_a_store_edited_by_hand_is_read_or_its_place_is_named(
    workspace: Workspace, change: Callable[[str], str], words: str
) -> None:
    save_endpoint(workspace, Endpoint(name="a", base_url="http://127.0.0.1:1/v1", model="m"))
    path = workspace.root / "endpoints.json"
    path.write_text(change(path.read_text()), encoding="utf-8")
    if not words:
        assert [endpoint.name for endpoint in load_endpoints(workspace)] == ["a"]
        return
    with pytest.raises(WorkspaceError) as refused:
        load_endpoints(workspace)
    assert words in refused.value.message
