"""A deployed federation: Flower's server and nodes as processes, over TLS."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deft_llm.errors import UserError
from deft_llm.federated.engine import RuleRun
from deft_llm.federated.exchange import size_in_words
from deft_llm.federated.flower import needed
from deft_llm.federated.flower.certificates import (
    AUTHORITY,
    CERTIFICATE,
    KEY,
    require_signed,
    require_trusted,
    require_valid,
)
from deft_llm.federated.flower.job import Job
from deft_llm.federated.flower.processes import (
    environment_of,
    free_port,
    last_line,
    require_free,
    running,
    split_address,
    wait_for_port,
)
from deft_llm.files import write_text

logger = logging.getLogger(__name__)
_LINK = "deft"  # name of the connection in Flower's own configuration
_LEAVE_S, _LOOK_S = 30.0, 1.0
_APP = {
    "pyproject.toml": """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "deft-federation"
version = "1.0.0"
description = "Runs what is installed on each side"
license = "Apache-2.0"
dependencies = []

[tool.hatch.build.targets.wheel]
packages = ["."]

[tool.flwr.app]
publisher = "deft"

[tool.flwr.app.components]
serverapp = "server_side:app"
clientapp = "client_side:app"
""",
    "server_side.py": "from deft_llm.federated.flower import server_app\n\napp = server_app.app\n",
    # Nodes never load this: see node.py.
    "client_side.py": "from flwr.clientapp import ClientApp\n\napp = ClientApp()\n",
}


def run_server(job: Job, address: str, certificates: Path) -> RuleRun:
    """Serve the rounds of one rule to clients, and return when they are done.

    Args:
        job: Recipe, rule and folder.
        address: "host:port" to listen on.
        certificates: Folder of ``federate certificates``.

    Raises:
        UserError: If Flower is missing, a certificate cannot be used, the port is taken, or the
            rounds fail.
    """
    needed()
    from deft_llm.federated.flower.server_app import FAILED
    from deft_llm.federated.flower.serving import SCORES, finished

    host, port = split_address(address)
    require_signed(certificates / CERTIFICATE, certificates / AUTHORITY)
    if not (certificates / KEY).is_file():
        raise UserError(f"{certificates / KEY}: no such file; give the folder of the certificates")
    require_free(host, port)
    recipe = job.claim()
    folder = job.kept
    if _rounds(folder) >= recipe.rounds and (folder / SCORES).is_file():
        return finished(job.rule, folder)
    home = Path(job.folder) / "flower"
    # What is left of a server that was killed belongs to a run that cannot be continued.
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (folder / FAILED).unlink(missing_ok=True)  # of an earlier attempt
    environment = {**environment_of(home), **job.write(home / "job.json")}
    link: list[str | Path] = [
        *("flower-superlink", "--host", host, "--port", str(port)),
        *("--ssl-ca-certfile", certificates / AUTHORITY, "--ssl-certfile"),
        *(certificates / CERTIFICATE, "--ssl-keyfile", certificates / KEY),
        *("--database", home / "state.db", "--disable-runtime-dependency-installation"),
    ]
    with running(link, environment, home / "server.log") as server:
        # 0.0.0.0 means every address of this machine; one can listen at it and not connect to it.
        wait_for_port("127.0.0.1" if host == "0.0.0.0" else host, port, server, home / "server.log")
        _submit(home, host, port, certificates / AUTHORITY, environment)
        logger.info("waiting for %d sites at %s", len(recipe.sites), address)
        _follow(server, folder, recipe.rounds, (SCORES, FAILED), home)
    if (folder / FAILED).is_file():
        # Raised in a process of Flower, told here.
        raise UserError(json.loads((folder / FAILED).read_text(encoding="utf-8"))["error"])
    return finished(job.rule, folder)


def run_client(job: Job, address: str, authority: Path) -> None:
    """Take part in a federation until the process is stopped, or the last round is done.

    Args:
        job: Recipe, rule, site and folders.
        address: "host:port" of the server.
        authority: Its ``ca.crt``.

    Raises:
        UserError: If Flower is missing, the certificate cannot be used, the site's clips cannot be
            read, or the connection ends.
    """
    needed()
    from deft_llm.federated.flower.node import open_own, write_commands
    from deft_llm.federated.run import described

    require_valid(authority)
    require_trusted(*split_address(address), authority)
    # Before any connection: what is wrong with the clips is told here, not in a round.
    site = open_own(job)
    logger.info("%s", described(site))
    recipe, folder = job.claim(), job.kept
    home = Path(job.folder) / "flower"
    home.mkdir(parents=True, exist_ok=True)
    environment = {**environment_of(home), **job.write(home / "job.json")}
    # First in PATH, so that Flower starts our programs by the names of its own (node.py).
    environment["PATH"] = f"{write_commands(home / 'bin')}{os.pathsep}{environment['PATH']}"
    node: list[str | Path] = [
        *("flower-supernode", "--root-certificates", authority, "--superlink", address),
        *("--node-config", f"partition-id={job.number()}", "--port", str(free_port())),
    ]
    with running(node, environment, home / "client.log") as process:
        logger.info("site %s: connecting to %s (log: %s)", job.site, address, home / "client.log")
        while process.poll() is None:
            if (folder / "final").is_dir() and _last_memory(folder) >= recipe.rounds:
                time.sleep(_LEAVE_S)  # lets the last answer leave
                return
            time.sleep(_LOOK_S)
    raise UserError(
        f"site {job.site}: the connection to {address} ended ({last_line(home / 'client.log')}); "
        "check the address and that ca.crt is the server's; the same command joins again"
    )


def _submit(
    home: Path, host: str, port: int, authority: Path, environment: Mapping[str, str]
) -> None:
    """Give the server its run."""
    reached = "127.0.0.1" if host == "0.0.0.0" else host
    write_text(
        home / "config.toml",
        f'[superlink]\ndefault = "{_LINK}"\n\n[superlink.{_LINK}]\n'
        f'address = "{reached}:{port}"\nroot-certificates = "{authority.resolve()}"\n',
    )
    app = home / "app"
    app.mkdir()
    for name, text in _APP.items():
        write_text(app / name, text)
    done = subprocess.run(
        ["flwr", "run", str(app), _LINK],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).split())[-300:]
        raise UserError(f"Flower did not take the run ({said})")


def _follow(
    server: subprocess.Popen[bytes], folder: Path, rounds: int, ends: Sequence[str], home: Path
) -> None:
    """Log finished rounds until one of the files ``ends`` is written."""
    shown = _rounds(folder)
    while not any((folder / name).is_file() for name in ends):
        if server.poll() is not None:
            raise UserError(f"the server ended ({last_line(home / 'server.log')})")
        while shown < _rounds(folder):
            row = json.loads((folder / "log.jsonl").read_text("utf-8").splitlines()[shown])
            shown += 1
            logger.info(
                "round %d of %d · UF1 %.3f · %s · %.1f s",
                *(row["round"], rounds, row["uf1"], size_in_words(row["bytes"]), row["seconds"]),
            )
        time.sleep(_LOOK_S)


def _rounds(folder: Path) -> int:
    """Number of finished rounds in a rule's folder."""
    log = folder / "log.jsonl"
    return len(log.read_text(encoding="utf-8").splitlines()) if log.is_file() else 0


def _last_memory(folder: Path) -> int:
    kept = sorted(folder.glob("memory-*.safetensors"))
    return int(kept[-1].stem.partition("-")[2]) if kept else 0
