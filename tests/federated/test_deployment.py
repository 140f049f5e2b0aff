"""A deployed federation: certificates, what is refused before it starts, and real processes."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("flwr", reason="extra federated")

from deft_llm.data.features import Features
from deft_llm.errors import UserError
from deft_llm.federated import checkpoint
from deft_llm.federated.engine import run_rule
from deft_llm.federated.flower import certificates as made
from deft_llm.federated.flower import deployment, node, processes
from deft_llm.federated.flower.job import Job
from deft_llm.federated.run import open_sites, recipe_of
from tests.recognizers.conftest import write_folder


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    made.make_certificates(folder, ["10.0.0.7", "hospital.example"])
    return folder


@pytest.fixture
def job(tmp_path: Path, make_features: Callable[[int], Features]) -> Job:
    folders = {name: str(write_folder(tmp_path / name, make_features, name)) for name in "ab"}
    values = {
        "output": str(tmp_path / "run"),
        "recognizer": "ststnet",
        "rounds": 2,
        "sites": folders,
        "at_least": 2,
        "round_seconds": 300,
        "local": {"epochs": 1, "batch_size": 4},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return Job(str(path), (), "p_fedprox", str(tmp_path / "run"))


def test_certificates_are_made_once_and_checked(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (keys / made.KEY).stat().st_mode & 0o077 == 0
    made.require_signed(keys / made.CERTIFICATE, keys / made.AUTHORITY)
    with pytest.raises(UserError, match="holds certificates already"):
        made.make_certificates(keys, [])
    made.make_certificates(tmp_path / "other", [])
    with pytest.raises(UserError, match="was not signed by"):
        made.require_signed(keys / made.CERTIFICATE, tmp_path / "other" / made.AUTHORITY)
    long_ago = SimpleNamespace(now=lambda zone: datetime.now(zone) - timedelta(days=800))
    with monkeypatch.context() as patch:
        patch.setattr(made, "datetime", long_ago)
        made.make_certificates(tmp_path / "old", [])
    with pytest.raises(UserError, match="expired on"):
        made.require_valid(tmp_path / "old" / made.AUTHORITY)
    (tmp_path / "text.crt").write_text("no certificate")
    with pytest.raises(UserError, match="no certificate in PEM"):
        made.require_valid(tmp_path / "text.crt")
    with pytest.raises(UserError, match="no such file; deft-llm federate certificates"):
        made.require_valid(tmp_path / "none.crt")


def test_the_key_is_private_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever opens a file before its permissions are set can read it for good.
    monkeypatch.setattr(os, "chmod", lambda *_, **__: None)
    before = os.umask(0)
    try:
        made.make_certificates(tmp_path, [])
    finally:
        os.umask(before)
    assert (tmp_path / made.KEY).stat().st_mode & 0o777 == 0o600


def test_a_client_trusts_its_authority_alone(keys: Path, tmp_path: Path) -> None:
    made.make_certificates(tmp_path / "other", [])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / made.CERTIFICATE, keys / made.KEY)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]

        def answer() -> None:
            for _ in range(2):
                plain, _ = listening.accept()
                with contextlib.suppress(OSError), plain:
                    context.wrap_socket(plain, server_side=True).close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        made.require_trusted("127.0.0.1", port, keys / made.AUTHORITY)
        with pytest.raises(UserError, match=r"certificate is not accepted .*take the ca\.crt of"):
            made.require_trusted("127.0.0.1", port, tmp_path / "other" / made.AUTHORITY)
        thread.join(10)
    # Nobody is there yet: the node waits.
    made.require_trusted("127.0.0.1", port, keys / made.AUTHORITY)


def test_a_server_is_refused_before_it_starts(job: Job, keys: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=r"port .* of 127\.0\.0\.1: Address already in use"):
            deployment.run_server(job, address, keys)
    with pytest.raises(UserError, match="expected host:port"):
        deployment.run_server(job, "localhost", keys)
    with pytest.raises(UserError, match="no such file"):
        deployment.run_server(job, "127.0.0.1:9321", tmp_path / "none")


def test_a_client_is_refused_before_it_connects(job: Job, keys: Path, tmp_path: Path) -> None:
    stranger = Job(job.recipe, (), job.rule, str(tmp_path / "c"), site="west")
    with pytest.raises(UserError, match="site 'west': the recipe names a, b"):
        deployment.run_client(stranger, "127.0.0.1:9321", keys / made.AUTHORITY)
    empty = Job(job.recipe, (), job.rule, str(tmp_path / "c"), "a", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match=r"nothing.*no such file"):
        deployment.run_client(empty, "127.0.0.1:9321", keys / made.AUTHORITY)


def test_a_node_never_runs_what_the_server_sends(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_clientapp = import_module("flwr.supernode.runtime.run_clientapp")
    command = import_module("flwr.supernode.cli.flwr_clientapp")
    names = ("install_from_fab", "get_project_dir", "install_app_dependencies")
    for name in (*names, "get_load_client_app_fn"):
        monkeypatch.setattr(run_clientapp, name, getattr(run_clientapp, name))
    seen: dict[str, Any] = {}

    def run() -> None:
        # As Flower does it for an app that the server sent.
        seen["installed"] = run_clientapp.install_from_fab(b"import os; os.abort()", True)
        load = run_clientapp.get_load_client_app_fn("", None, multi_app=True)
        seen["app"] = load("publisher/evil", "1.0.0", "hash")

    monkeypatch.setattr(command, "flwr_clientapp", run)
    mine = Job(job.recipe, (), job.rule, str(tmp_path / "c"), site="a")
    for variable, path in mine.write(tmp_path / "job.json").items():
        monkeypatch.setenv(variable, path)
    node.main()
    assert seen["installed"] is None and seen["app"] is not None
    with pytest.raises(UserError, match="install packages; that is refused"):
        run_clientapp.install_app_dependencies()
    from flwr.supercore.constant import TASK_TYPE_TO_COMMAND

    # Whatever kind of task a server asks for, the program that Flower starts is ours.
    folder = node.write_commands(tmp_path / "bin")
    assert {path.name for path in folder.iterdir()} == set(TASK_TYPE_TO_COMMAND.values())
    ran = [p.name for p in folder.iterdir() if "import main" in p.read_text(encoding="utf-8")]
    assert ran == [node.COMMAND]
    with pytest.raises(SystemExit, match="something else than a client; that is refused"):
        node.refuse()
    with pytest.raises(UserError, match="could run code of the server"):
        node._replace(SimpleNamespace(), "gone", print)


@pytest.mark.slow
def test_processes_over_tls_give_the_weights_of_one_process(job: Job, keys: Path) -> None:
    folder = Path(job.folder).parent
    port = processes.free_port()
    address = f"127.0.0.1:{port}"
    common = [sys.executable, "-m", "deft_llm", "federate"]
    clients = [
        subprocess.Popen(
            [
                *(*common, "client", job.recipe, "--site", site, "--server", address),
                *("--certificates", str(keys / made.AUTHORITY), "-o", str(folder / f"c-{site}")),
            ],
            env={**os.environ, "DEFT_CACHE": str(folder)},
        )
        for site in "ab"
    ]
    try:
        run = deployment.run_server(job, address, keys)
    finally:
        for client in clients:
            client.terminate()
            client.wait(60)
    assert [s.site for s in run.scores] == ["a", "b"]
    recipe = recipe_of(Path(job.recipe))
    run_rule(recipe, job.rule, open_sites(recipe), folder / "here")
    here, there = (checkpoint.load(place, {}).order.state for place in (folder / "here", job.kept))
    for name, values in here.items():
        np.testing.assert_allclose(there[name], values, atol=1e-6)
    assert (folder / "c-a" / job.rule / "final" / "model.safetensors").is_file()
