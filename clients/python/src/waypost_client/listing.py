"""Asking the server for people and for lists."""

import uuid
from typing import Any, TypeVar

import msgspec

from .api import Api
from .values import User

T = TypeVar("T")


class _Lookup(msgspec.Struct):
    user: User


class _Found(msgspec.Struct):
    items: tuple[_Lookup, ...] = ()


class _Listed(msgspec.Struct):
    items: list[Any]
    next_cursor: str | None = None
    has_more: bool = False


async def find_user(api: Api, username: str) -> User | None:
    """The user of that name, None when there is none."""
    found = await api.call("POST", "users/lookup", _Found, body={"usernames": [username]})
    return found.items[0].user if found.items else None


async def everything(api: Api, path: str, kind: type[T]) -> list[T]:
    """Every page of a list."""
    items: list[T] = []
    query: dict[str, Any] = {"limit": 100}
    while True:
        page = await api.call("GET", path, _Listed, query=query)
        items += (msgspec.convert(item, kind) for item in page.items)
        if not page.has_more or page.next_cursor is None:
            return items
        query["cursor"] = page.next_cursor


def is_uuid(text: str) -> bool:
    """Whether this is an id of the wire's form rather than a name."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
