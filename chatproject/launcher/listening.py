import errno
import os
import socket
from collections.abc import Mapping

from chatproject.launcher.errors import refuse

BACKLOG = 2048


def listen(environment: Mapping[str, str]) -> socket.socket:
    """Takes HOST and PORT before anything is started; connections wait in the backlog until a worker is there."""
    host = environment.get("HOST") or "127.0.0.1"
    port = whole_number(environment, "PORT", 8000, smallest=0, largest=65_535)
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except socket.gaierror:
        refuse(f"HOST={host} is not an address of this machine.")
    except OSError as error:
        refuse(_explain(error, host, port))
    return listener


def _explain(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is in use: stop what listens there, or choose another one: PORT={port + 1} make run"
        )
    return f"Cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}."


def whole_number(environment: Mapping[str, str], name: str, default: int, *, smallest: int, largest: int) -> int:
    """A number from the environment; LauncherError if it is none."""
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not smallest <= int(text) <= largest:
        refuse(f"{name}={text} is not a number from {smallest} to {largest}.")
    return int(text)


def base_url(listener: socket.socket) -> str:
    """How a browser on this machine reaches it."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{host}:{port}"
