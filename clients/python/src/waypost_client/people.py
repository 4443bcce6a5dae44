"""What one wants, and how one stands to others: settings, friends, blocks."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

from .api import Api
from .values import User, Value

UserId = Callable[["User | str"], Awaitable[str]]


class Setting(Value, frozen=True, kw_only=True):
    """The value under a key; without `updated_at` it is the server's default."""

    key: str
    value: Any = None
    updated_at: datetime | None = None


class Relationship(Value, frozen=True, kw_only=True):
    """How one stands to somebody: none, requested, incoming, friends or blocked."""

    user_id: str
    state: str
    updated_at: datetime | None = None


class Notifications(Value, frozen=True, kw_only=True):
    """What holds for push to one's devices."""

    push_enabled: bool
    push_previews: bool
    quiet_hours: dict[str, str] | None = None
    webpush_public_key: str | None = None


class _Relationships(Value, frozen=True, kw_only=True):
    items: tuple[Relationship, ...]
    next_cursor: str | None = None


class People:
    """People are given by value, user name or id."""

    def __init__(self, api: Api, user_id_of: UserId) -> None:
        self._api = api
        self._user_id_of = user_id_of

    async def user(self, user_id: str) -> User:
        """Somebody's public profile. Refused, NOT_FOUND, when there is no such person."""
        return await self._api.call("GET", f"users/{user_id}", User)

    async def setting(self, key: str) -> Setting:
        """Refused, NOT_FOUND, for a key that was never set and has no default."""
        return await self._api.call("GET", f"settings/{quote(key, safe='')}", Setting)

    async def set(self, key: str, value: Any) -> Setting:
        """Keep a JSON value; None puts the default back, or removes."""
        return await self._api.call("PUT", f"settings/{quote(key, safe='')}", Setting, body={"value": value})

    async def notifications(self, **changes: Any) -> Notifications:
        """What holds for push, after these changes of push_enabled, push_previews and quiet_hours, if any."""
        verb = "PUT" if changes else "GET"
        return await self._api.call(verb, "notifications/preferences", Notifications, body=changes or None)

    async def relationships(self, state: str | None = None) -> list[Relationship]:
        """Friends, requests and blocks; with `state` those alone."""
        found: list[Relationship] = []
        query: dict[str, Any] = {"limit": 100} | ({"state": state} if state else {})
        while True:
            page = await self._api.call("GET", "relationships", _Relationships, query=query)
            found += page.items
            if page.next_cursor is None:
                return found
            query["cursor"] = page.next_cursor

    async def relationship(self, user: User | str) -> Relationship:
        return await self._api.call("GET", await self._path(user), Relationship)

    async def befriend(self, user: User | str) -> Relationship:
        """Ask for friendship, or accept it."""
        return await self._stand(user, "friends")

    async def block(self, user: User | str) -> Relationship:
        """Block somebody, who is not told. A friendship ends."""
        return await self._stand(user, "blocked")

    async def end(self, user: User | str) -> None:
        """Unfriend, withdraw, decline or unblock."""
        await self._api.call("DELETE", await self._path(user))

    async def _stand(self, user: User | str, state: str) -> Relationship:
        return await self._api.call("PUT", await self._path(user), Relationship, body={"state": state})

    async def _path(self, user: User | str) -> str:
        return f"relationships/{await self._user_id_of(user)}"
