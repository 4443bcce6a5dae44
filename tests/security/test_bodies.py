"""Nonsense for every operation: whatever stands in whichever field, the answer is a refusal and never an error of the server."""

import asyncio
import copy
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.security.operations import Field, Operation, operations
from tests.security.rows import ROWS
from tests.security.test_matrix import listed
from tests.security.world import Asker, Ids, World

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])

AT_ONCE = 2
DEPTH = 40
LONG = 70_000
OF_EACH_TYPE: dict[str, Any] = {
    "integer": 5,
    "string": "text",
    "boolean": True,
    "number": 1.5,
    "array": [],
    "object": {},
}
# Nothing may be any of these, whatever its type.
NEVER: dict[str, str] = {
    "NUL": json.dumps("a\0b"),
    "lone surrogate": '"\\ud800"',
    "too deep": "[" * DEPTH + "]" * DEPTH,
    "too long": json.dumps("x" * LONG),
    "no number": "NaN",
    "a number without end": "1" * 5000,
}
# Whole bodies that are no object of JSON, and how they are refused.
BODIES: dict[bytes, int] = {
    b"[]": 400,
    b"5": 400,
    b"null": 400,
    b'"text"': 400,
    b"{": 400,
    b"\xff\xfe": 400,
    b"\xef\xbb\xbf{}": 400,
    b'{"a": "\\ud800"}': 400,
    b'{"a": NaN}': 400,
    b'{"a":' * DEPTH + b"1" + b"}" * DEPTH: 400,
    b"x" * (2 * 1024 * 1024 + 1): 413,
}
HOLE = "a hole for nonsense"
PATHS = ("nonsense", "%00", "%ED%A0%80", "x" * 3000, "%2e%2e%2f", "9" * 30, "-1", "%F0%9F%92%A9", "'; --", "null")
QUERIES = ("nonsense", "-1", "\0", "\u00ff", "x" * 3000, "9" * 30, "[]", "1.5", "٣")


REFUSED = range(400, 500)
NO_ERROR = range(200, 500)


@dataclass(frozen=True)
class Call:
    """One call with something wrong in it, and what it may be answered with."""

    what: str
    operation: Operation
    path: str
    raw: bytes = b""
    query: dict[str, str] = field(default_factory=dict)
    allowed: Collection[int] = REFUSED


async def faults(asker: Asker, calls: Sequence[Call]) -> list[Any]:
    """What was answered otherwise. So many are asked at once as a server likes."""
    hands = asyncio.Semaphore(AT_ONCE)

    async def ask(call: Call) -> Any:
        async with hands:
            answer = await asker.ask_raw(call.operation.method, call.path, call.raw, call.query)
        if answer.status in call.allowed:
            return None
        return call.operation.name, call.what, answer.status, answer.content[:200]

    return [fault for fault in await asyncio.gather(*map(ask, calls)) if fault is not None]


async def test_nonsense_in_any_field_body_path_or_query_is_refused(world: World) -> None:
    asker = world.askers["user"]
    ids = asker.ids["own"]
    calls = [call for operation in operations().values() for call in wrong_calls(operation, ids)]
    assert len(calls) > 800
    wrong = await faults(asker, calls)
    assert not wrong, listed(wrong)


async def test_a_field_that_is_null_is_no_error_of_the_server(world: World) -> None:
    asker = world.askers["user"]
    ids = asker.ids["own"]
    kept = [operation for operation in operations().values() if not ROWS[operation.name].is_fresh]
    calls = [call for operation in kept for call in with_nulls(operation, ids)]
    assert len(calls) > 60
    wrong = await faults(asker, calls)
    assert not wrong, listed(wrong)


def wrong_calls(operation: Operation, ids: Ids) -> Iterator[Call]:
    """The operation with each field, the body, each id of the path and each query as it must not be."""
    path, query = ids.path(operation.path), ROWS[operation.name].query
    for place in operation.fields():
        for what, raw in nonsense(operation, place, ids):
            yield Call(f"{place.name}: {what}", operation, path, raw, query)
    for raw, status in BODIES.items() if operation.schema else ():
        yield Call(f"body {raw[:20]!r}", operation, path, raw, query, {status})
    body = json.dumps(whole(operation, ids)).encode() if operation.schema else b""
    # Keys of settings are the caller's to choose.
    for name in set(operation.parameters) - {"key"}:
        for text in PATHS:
            mangled = ids.path(operation.path.replace(f"{{{name}}}", text))
            yield Call(f"{name}={text[:20]}", operation, mangled, body, query)
    for name in operation.queries:
        for text in QUERIES:
            yield Call(f"?{name}={text[:20]!r}", operation, path, body, query | {name: text})


def with_nulls(operation: Operation, ids: Ids) -> Iterator[Call]:
    body = whole(operation, ids)
    for place in operation.fields():
        if has_place(body, place):
            raw = json.dumps(put(body, place, None)).encode()
            yield Call(f"{place.name}: null", operation, ids.path(operation.path), raw, allowed=NO_ERROR)


def nonsense(operation: Operation, place: Field, ids: Ids) -> Iterator[tuple[str, bytes]]:
    body = whole(operation, ids)
    if not has_place(body, place):
        return
    text = json.dumps(put(body, place, HOLE))
    wrong = [(kind, json.dumps(value)) for kind, value in OF_EACH_TYPE.items() if place.refuses(kind)]
    for what, value in (*wrong[:3], *NEVER.items()):
        yield what, text.replace(json.dumps(HOLE), value).encode()


def whole(operation: Operation, ids: Ids) -> Any:
    make = ROWS[operation.name].body
    return make(ids) if make is not None else {}


def has_place(body: Any, place: Field) -> bool:
    """Whether the objects that the field stands in are there."""
    for step in place.steps[:-1]:
        if not (step in body if isinstance(body, dict) else len(body) > int(step)):
            return False
        body = body[step]
    return True


def put(body: Any, place: Field, value: Any) -> Any:
    """The body with this in the field's place."""
    changed = inner = copy.deepcopy(body)
    for step in place.steps[:-1]:
        inner = inner[step]
    inner[place.steps[-1]] = value
    return changed
