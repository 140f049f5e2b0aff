"""The address that a server listens on, taken before anything slow is loaded."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from deft_llm.errors import UserError


def is_local(host: str) -> bool:
    """Whether an address is reachable from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to an address; port 0 takes any free one.

    Raises:
        UserError: If the port is taken or not allowed, or the host is none of this machine's.
    """
    if not 0 <= port < 65536:
        raise UserError(f"port {port}: expected 1 to 65535, or 0 for any that is free")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host,
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
            # The address that a client tries first as well.
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"host {host}: no address of this machine ({error})") from error
    try:
        # Without it, a port stays taken for a minute after its last server ended.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise UserError(f"{host}, port {port}: {error}; give another with --port") from error
    return bound


def url_of(bound: socket.socket) -> str:
    """``http://host:port`` of a bound socket."""
    # IPv6 has two more parts. The number, since port 0 was any.
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
