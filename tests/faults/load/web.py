"""The HTTP side: calls that end with an answer or with none, and never later than the plan's patience."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from tests.faults.history import AnyEvent, HttpAnswered

# Documented, and never right.
INTERNAL_ERROR = 500
ANY_FAULT = 500
REFUSED = 400
# What is cut off while the library closes a connection is never closed.
CLOSING_SECONDS = 1.0
Json = dict[str, Any]


class NoAnswer(Exception):
    """The server did not answer, or not in time. What was asked for may have happened."""


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: Json

    @property
    def code(self) -> str:
        """The refusal's code, "" for an answer that is none."""
        return str(self.body.get("error_code", "")) if self.status >= REFUSED else ""

    @property
    def is_temporary(self) -> bool:
        return self.code in ("STORAGE_UNAVAILABLE", "RATE_LIMITED", "SOURCE_READ_ONLY") or self.status >= ANY_FAULT


class Web:
    """Calls to the servers, in turn."""

    def __init__(
        self,
        urls: tuple[str, ...],
        patience: float,
        record: Callable[[AnyEvent], None],
        lost: Callable[[str], None],
    ) -> None:
        """`lost` hears why there was no answer."""
        self._urls = itertools.cycle(urls)
        self._patience = patience
        self._record = record
        self._lost = lost
        # No limit that calls would have to wait for: that would be the client's time, and look like the server's.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=16, keepalive_expiry=20)
        self._client = httpx.AsyncClient(timeout=patience, limits=limits, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def call(
        self, method: str, path: str, body: Json | None = None, *, token: str | None = None, **query: Any
    ) -> Answer:
        """One attempt. `path` below /api/v1. Raises NoAnswer."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        content = None if method == "GET" else msgspec.json.encode(body or {})
        url = f"{next(self._urls)}/api/v1/{path}"
        try:
            async with asyncio.timeout(self._patience + CLOSING_SECONDS):
                response = await self._client.request(
                    method, url, content=content, params=query or None, headers=headers
                )
        except (httpx.HTTPError, OSError, TimeoutError) as failure:
            self._lost(type(failure).__name__)
            raise NoAnswer(type(failure).__name__) from failure
        answer = Answer(response.status_code, _object(response.content))
        self._note(method, path, answer)
        return answer

    def _note(self, method: str, path: str, answer: Answer) -> None:
        is_documented = answer.status < REFUSED or (_is_refusal(answer.body) and answer.status != INTERNAL_ERROR)
        if answer.status >= ANY_FAULT or not is_documented:
            route = f"{method} {path.partition('/')[0]}"
            self._record(HttpAnswered(route=route, status=answer.status, documented=is_documented, code=answer.code))


def _object(content: bytes) -> Json:
    try:
        body = msgspec.json.decode(content) if content else {}
    except msgspec.DecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _is_refusal(body: Json) -> bool:
    return isinstance(body.get("error"), str) and isinstance(body.get("error_code"), str)
