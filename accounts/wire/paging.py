"""Lists: `?cursor=&limit=` in, `{items, next_cursor, has_more}` out.

A view asks its rows after `position_of(query, name)`, `query.limit + 1` of them, and hands them to `page`. Cursors are signed for one
list: nobody can make one up, and none fits another list.
"""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

from django.core import signing
from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from accounts.wire.refusals import InvalidRequest
from accounts.wire.scalars import text as characters

MOST = 100
DEFAULT = 50
_NO_LIMIT = PydanticCustomError("limit", "must be a number from 1 to 100")

Row = TypeVar("Row")
Item = TypeVar("Item")


def _parse_limit(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 3 and 1 <= int(value) <= MOST:
        return int(value)
    raise _NO_LIMIT


Limit = Annotated[
    int,
    BeforeValidator(_parse_limit),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT}),
]


class ListQuery(BaseModel):
    """The query of every list."""

    cursor: Annotated[str, characters(1, 1000)] | None = None
    limit: Limit = DEFAULT


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: str | None = Field(default=None, description="The cursor of the next page; null on the last one.")
    has_more: bool = False


def position_of(query: ListQuery, name: str) -> Any:
    """Where the page begins: what `page` was given for the last row of the former page, None on the first. Raises InvalidRequest."""
    if query.cursor is None:
        return None
    try:
        signed = _signer(name).unsign(query.cursor)
    except signing.BadSignature as failure:
        raise InvalidRequest(sentence="This cursor is not one of this list.", field="cursor") from failure
    return json.loads(base64.urlsafe_b64decode(signed))


def page(
    rows: Sequence[Row], query: ListQuery, name: str, *, show: Callable[[Row], Item], position: Callable[[Row], Any]
) -> Page[Item]:
    """The page of these rows, of which there may be one more than the limit. `position` gives plain JSON values."""
    shown = rows[: query.limit]
    has_more = len(rows) > query.limit
    return Page(
        items=[show(row) for row in shown],
        next_cursor=_cursor(position(shown[-1]), name) if has_more else None,
        has_more=has_more,
    )


def _cursor(position: Any, name: str) -> str:
    text = base64.urlsafe_b64encode(json.dumps(position).encode()).decode()
    return _signer(name).sign(text)


def _signer(name: str) -> signing.Signer:
    return signing.Signer(salt=f"waypost.cursor.{name}", sep=".")
