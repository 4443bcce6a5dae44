"""The HTTP side: calls with a deadline, refusals as exceptions, and an access token that is always fresh."""

import email.utils
import time
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec

from .clock import ServerClock
from .errors import NotRegistered, Refused, SignedOut, UnexpectedAnswer, Unreachable
from .locks import FolderLock
from .state import State
from .values import Tokens

TIMEOUT = httpx.Timeout(15, connect=5)
REFRESH_BEFORE = 60.0
T = TypeVar("T")


class Api:
    """Calls on behalf of one profile. Every call ends within its time limit with a value or a WaypostError."""

    def __init__(self, state: State, server: str, clock: ServerClock) -> None:
        self._state = state
        self._clock = clock
        self._lock = FolderLock(state.folder, "tokens")
        self.server = server.rstrip("/")
        # Loading the certificates of all authorities takes longer than most calls; without TLS nobody asks for them.
        encrypted = self.server.startswith("https://")
        self._http = httpx.AsyncClient(base_url=f"{self.server}/api/v1/", timeout=TIMEOUT, verify=encrypted)

    async def close(self) -> None:
        await self._http.aclose()

    @property
    def socket_url(self) -> str:
        parts = urlsplit(self.server)
        return urlunsplit(("wss" if parts.scheme == "https" else "ws", parts.netloc, parts.path + "/ws", "", ""))

    async def call(
        self, method: str, path: str, answer: type[T] | None = None, *, body: Any = None, query: Any = None
    ) -> T:
        """Ask as this device. An access token that the server no longer takes is refreshed once."""
        token = await self.access_token()
        try:
            return await self._ask(method, path, answer, body=body, query=query, shown=f"Bearer {token}")
        except Refused as refusal:
            if refusal.status != 401 or refusal.code != "INVALID_TOKEN":
                raise
        token = await self.access_token(other_than=token)
        return await self._ask(method, path, answer, body=body, query=query, shown=f"Bearer {token}")

    async def ask(
        self,
        method: str,
        path: str,
        answer: type[T] | None = None,
        *,
        body: Any = None,
        claim_secret: str | None = None,
    ) -> T:
        """Ask as nobody, or as whoever has claimed a link."""
        shown = f"Link {claim_secret}" if claim_secret else None
        return await self._ask(method, path, answer, body=body, query=None, shown=shown)

    async def access_token(self, *, other_than: str | None = None) -> str:
        """A token with a minute of life at least, and not the one that was just refused. SignedOut when there is none."""
        if token := self._fresh_token(other_than):
            return token
        async with self._lock.held(within=30):
            # Another process of this profile may have refreshed while this one waited.
            return self._fresh_token(other_than) or await self._refresh()

    def keep_tokens(self, tokens: Tokens) -> None:
        """Remember a new pair. Belongs to the caller's transaction."""
        self._state.remember(
            access_token=tokens.access_token,
            access_expires_at=time.time() + tokens.access_expires_in_seconds,
            refresh_token=tokens.refresh_token,
            signed_out=0,
        )

    def _fresh_token(self, other_than: str | None) -> str | None:
        if self._state.fact("device_id") is None:
            raise NotRegistered
        if self._state.fact("signed_out"):
            raise SignedOut
        token = self._state.fact("access_token")
        fresh = float(self._state.fact("access_expires_at") or 0) > time.time() + REFRESH_BEFORE
        return str(token) if token and fresh and token != other_than else None

    async def _refresh(self) -> str:
        """Trade the refresh token. The new pair is on disk before it is used: until then the old one still works."""
        body = {"refresh_token": self._state.fact("refresh_token")}
        try:
            tokens = await self.ask("POST", "auth/refresh", Tokens, body=body)
        except Refused as refusal:
            if refusal.status != 401:
                raise
            self._state.remember(signed_out=1)
            raise SignedOut from None
        with self._state.transaction():
            self.keep_tokens(tokens)
        return tokens.access_token

    async def _ask(
        self, method: str, path: str, answer: type[T] | None, *, body: Any, query: Any, shown: str | None
    ) -> T:
        headers = {"Content-Type": "application/json"} | ({"Authorization": shown} if shown else {})
        content = None if method == "GET" else msgspec.json.encode({} if body is None else body)
        try:
            response = await self._http.request(method, path, content=content, params=query, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise Unreachable(f"The server at {self.server} cannot be reached ({type(error).__name__}).") from error  # noqa: EM102 - names the server
        self._read_clock(response)
        if response.status_code >= 400:
            raise _refused(response)
        return _value(response, answer)

    def _read_clock(self, response: httpx.Response) -> None:
        """Until a socket has said the time to the millisecond, the Date header serves."""
        date = response.headers.get("Date")
        if date and self._state.fact("clock_offset") is None:
            self._clock.set(email.utils.parsedate_to_datetime(date))


def _value(response: httpx.Response, answer: type[T] | None) -> T:
    """What the server said, of the type asked for; without one nobody looks at it."""
    try:
        value: T = msgspec.json.decode(response.content, type=answer) if answer else None  # type: ignore[assignment]  # as said
    except msgspec.DecodeError:
        raise UnexpectedAnswer from None
    return value


def _refused(response: httpx.Response) -> Refused:
    try:
        facts = msgspec.json.decode(response.content, type=dict[str, Any])
    except msgspec.DecodeError:
        facts = {}
    facts.setdefault("retry_after_seconds", _number(response.headers.get("Retry-After")))
    code = str(facts.pop("error_code", "UNEXPECTED"))
    sentence = str(facts.pop("error", "")) or f"The server answered {response.status_code}."
    return Refused(code, sentence, status=response.status_code, facts=facts)


def _number(header: str | None) -> int | None:
    return int(header) if header and header.isdigit() else None
