"""Processes of a deployed federation: their environment, ports, and their end."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from deft_llm.errors import UserError
from deft_llm.federated.flower import QUIET

_END_S, _LOOK_S, _START_S = 10.0, 1.0, 60.0
# 1 is PR_SET_PDEATHSIG in Linux' <sys/prctl.h>.
_LIBC, _PDEATHSIG = ctypes.CDLL(None), 1  # loaded before a fork


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "host:port".

    Raises:
        UserError: If it is none.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UserError(f"address {address!r}: expected host:port, for example 127.0.0.1:9321")
    return host, int(port)


def require_free(host: str, port: int) -> None:
    """Check that nobody listens on a port.

    Raises:
        UserError: If somebody does, or the address is not this machine's.
    """
    with socket.socket() as probe:
        # Else a port that was left a minute ago still counts as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"port {port} of {host}: {error.strerror}; stop what uses it, or give another with "
                "--address"
            ) from None


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment_of(home: Path) -> dict[str, str]:
    """Flower's settings, and the folder of this Python's commands first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, **QUIET, "FLWR_HOME": str(home.resolve()), "PATH": path}


def _end_with_us() -> None:
    """End when the command is killed, which cannot end what it started itself."""
    _LIBC.prctl(_PDEATHSIG, signal.SIGTERM)


@contextmanager
def running(
    command: Sequence[str | Path], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process and all that it starts, ended with the block."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [str(part) for part in command],
            env=dict(environment),
            stdout=file,
            stderr=subprocess.STDOUT,
            # A group of its own: what it starts is ended with it.
            start_new_session=True,
            preexec_fn=_end_with_us if sys.platform == "linux" else None,
        )
    try:
        yield process
    finally:
        # SIGKILL in any case: the process may be gone while what it started is not.
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(_END_S)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def wait_for_port(host: str, port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a process listens.

    Raises:
        UserError: If it ends, or does not in time.
    """
    end = time.monotonic() + _START_S
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(_LOOK_S)
            if probe.connect_ex((host, port)) == 0:
                return
        time.sleep(_LOOK_S)
    raise UserError(f"the server did not start ({last_line(log)})")


def last_line(log: Path) -> str:
    """The last line of a log with anything in it, cut to the length of a message."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:200] if said else f"see {log}"
