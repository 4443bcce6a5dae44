"""HTTP to places that clients have named: only https, only where it may lead, never further.

The name is resolved here, and the connection goes to the address that was looked at: there is no second resolution that could answer something else.
TLS still checks the certificate against the name. Redirects are not followed, no proxy of the environment is used, an answer has 5 s and 64 KiB.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import httpcore
from django.conf import settings

from devices.push_endpoints import EndpointRefused, may_be_private, require_endpoint
from messaging.push.addresses import may_be_called

ANSWER_SECONDS = 5.0
ANSWER_BYTES = 64 * 1024
CONNECTIONS = 64
KEPT_SECONDS = 30.0
# Resolvers block; a name server that does not answer keeps these busy and nothing else of the process.
RESOLVERS = 8

FAULTS = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, TimeoutError, OSError)


class NoAnswer(Exception):
    """Nobody answered, or not in time, or not with an answer."""


class Answer(NamedTuple):
    """What matters of an answer."""

    status: int
    retry_after: str | None


class GuardedHttp:
    """One pool of connections, of one event loop."""

    def __init__(self) -> None:
        self._resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="push-resolver")
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_ssl_context(settings.PUSH_CA_FILE),
            max_connections=CONNECTIONS,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=_PinnedBackend(self._resolvers),
        )

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """The answer, whatever its status. Raises EndpointRefused for where the server does not go, NoAnswer."""
        require_endpoint(url)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._post(url, headers, body)
        except _Forbidden as failure:
            raise EndpointRefused from failure
        except FAULTS as failure:
            raise NoAnswer from failure

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        async with self._pool.stream("POST", url, headers=list(headers.items()), content=body) as response:
            size = 0
            async for chunk in response.aiter_stream():
                size += len(chunk)
                if size > ANSWER_BYTES:
                    break
            found = {name.lower(): value for name, value in response.headers}
            return Answer(response.status, found.get(b"retry-after", b"").decode("latin-1") or None)

    async def close(self) -> None:
        """Idempotent."""
        await self._pool.aclose()
        self._resolvers.shutdown(wait=False, cancel_futures=True)


class _Forbidden(Exception):
    """The name leads nowhere the server goes. Not one of httpcore's: those are for the network."""


class _PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to an address that was looked at, instead of to a name."""

    def __init__(self, resolvers: ThreadPoolExecutor) -> None:
        self._resolvers = resolvers
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  (httpcore's signature)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        address = await self._resolve(host, port)
        return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)

    async def _resolve(self, host: str, port: int) -> str:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._resolvers, resolve, host, port)
        is_named = may_be_private(host, port)
        permitted = [address for address in found if may_be_called(address, may_be_private=is_named)]
        if not permitted:
            raise _Forbidden
        return permitted[0]

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as this machine's resolver orders them. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _ssl_context(ca_file: str) -> ssl.SSLContext:
    context = httpcore.default_ssl_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    return context
