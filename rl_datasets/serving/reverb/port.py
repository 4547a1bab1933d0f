"""A check that a port can be listened on, which Reverb does not make."""

from __future__ import annotations

import errno
import socket

from rl_datasets.errors import DatasetError


def check_port(port: int) -> None:
    """Raises `DatasetError` if the port is in use.

    Reverb would share it with the other server, and each would get half of the calls.
    """
    try:
        with _listen(port):
            pass
    except (OSError, OverflowError) as error:
        raise DatasetError(
            f"cannot listen on port {port} ({error}); choose another with --port"
        ) from error


def _listen(port: int) -> socket.socket:
    """Listens on every interface, or only on IPv4 where this machine has no IPv6."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
    return socket.create_server(("", port))
