"""One web process, on a listening socket that was opened for it or on one of its own."""

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import socket
import threading
import time

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

GRACE_SECONDS = 20
BACKLOG = 2048
# Longer than uvicorn waits for the other side's half of the closing handshake.
CUT_SECONDS = 12.0
# A client's time for its half of the closing handshake when the process stops. Cut before, with something of the client's unread, TCP may take the
# close code and the advice away from it.
GOODBYE_SECONDS = 2.0


class DeviceProtocol(WebSocketsSansIOProtocol):
    """uvicorn's websocket, which would stay open for as long as its client leaves the last bytes unread."""

    async def run_asgi(self) -> None:
        await super().run_asgi()
        self.loop.call_later(CUT_SECONDS, self.transport.abort)


class Server(uvicorn.Server):
    """Says that it is ready by one byte on a pipe: the workers share one address, so nobody can ask one of them alone.

    Asked to stop it lets nobody new in, and leaves it to the application to send its sockets away in good order before it closes what is left.
    """

    def __init__(self, config: uvicorn.Config, ready: int | None) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _leave_out_what_is_loaded()
        if self.started and self.ready is not None:
            os.write(self.ready, b"1")
            os.close(self.ready)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        farewell = getattr(self.config.loaded_app, "farewell", None)
        if farewell is not None and not self.force_exit:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(farewell(), GRACE_SECONDS)
                await asyncio.wait_for(self._goodbyes(), GOODBYE_SECONDS)
        await super().shutdown(sockets)

    async def _goodbyes(self) -> None:
        """Return when everybody who was sent away has hung up."""
        while any(getattr(one, "close_sent", False) for one in self.server_state.connections):  # noqa: ASYNC110  (uvicorn tells nobody)
            await asyncio.sleep(0.02)


def _leave_out_what_is_loaded() -> None:
    """The collector does not look through what was loaded at start any more.

    Each time it would hold up every socket: 142,000 objects took 105 ms on a busy machine. And as it waits for a quarter more than it knows, it would
    come seldom, while what exceptions and requests leave behind piles up. The second collection has it count anew.
    """
    gc.collect()
    gc.freeze()
    gc.collect()


def main(application: str = "chatproject.asgi:application") -> None:
    """Serve until told to stop. A benchmark has an application of its own served in the same way."""
    arguments = _arguments()
    if arguments.life_fd is not None:
        threading.Thread(target=_leave_with_parent, args=[arguments.life_fd], daemon=True).start()
    config = uvicorn.Config(
        application,
        loop="uvloop",
        ws=DeviceProtocol,
        ws_per_message_deflate=False,
        ws_max_size=262_144,
        ws_ping_interval=25,
        ws_ping_timeout=20,
        timeout_graceful_shutdown=GRACE_SECONDS,
        lifespan="on",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_config=None,
    )
    # socket.socket finds out the address family by itself; Config(fd=…) would take the socket for a UNIX one.
    Server(config, arguments.ready_fd).run(sockets=[_listener(arguments)])


def _listener(arguments: argparse.Namespace) -> socket.socket:
    if arguments.fd is not None:
        return socket.socket(fileno=arguments.fd)
    family = socket.AF_INET6 if ":" in arguments.host else socket.AF_INET
    return socket.create_server((arguments.host, arguments.port), family=family, backlog=BACKLOG)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chatproject.serve", description=__doc__)
    parser.add_argument("--fd", type=int, help="the listening socket, where somebody else has opened it")
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on without --fd (default %(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=8000, help="the port to listen on without --fd (default %(default)s)"
    )
    parser.add_argument("--ready-fd", type=int, help="gets one byte when requests are answered")
    parser.add_argument("--life-fd", type=int, help="a pipe whose other end closes when the parent is gone")
    return parser.parse_args()


def _leave_with_parent(life: int) -> None:
    """A launcher that was killed stops nobody; its end of the pipe closes all the same."""
    os.read(life, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS + 5)
    os._exit(1)


if __name__ == "__main__":
    main()
