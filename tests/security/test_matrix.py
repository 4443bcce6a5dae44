"""The matrix: every operation, asked by everybody, about what is one's own, another's, nobody's, and what has ended.

Rows are in `rows.py`, operations come from the API's own description: one without a row fails here.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from tests.cast import Installation
from tests.security.operations import Operation, operations
from tests.security.rows import ROWS, Row
from tests.security.world import Answer, Asker, Ids, World, make_admin

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])

COLUMNS = ("own", "another's", "unknown", "ended")
WITHOUT_TOKEN = ("anonymous", "unlinked device", "blocked user")
WITH_TOKEN = ("user", "one whom the victim blocks", "admin")
NOTHING = b'{"error": "There is nothing here.", "error_code": "NOT_FOUND"}'


def test_every_operation_has_its_row() -> None:
    missing = sorted(operations().keys() - ROWS.keys())
    assert missing == [], f"give these rows in tests/security/rows.py: what do strangers get? {missing}"
    assert sorted(ROWS.keys() - operations().keys()) == [], "there are rows of operations that are no more"


def test_every_operation_that_names_something_is_asked_for_what_is_not_the_callers() -> None:
    naming = [operation for operation in operations().values() if set(operation.parameters) - {"key"}]
    assert len(naming) > 15
    assert [operation.name for operation in naming if ROWS[operation.name].another is None] == []


def listed(wrong: list[Any]) -> str:
    """A line for each."""
    return "\n".join(map(str, ["", *wrong]))


async def ask(asker: Asker, operation: Operation, ids: Ids) -> Answer:
    row = ROWS[operation.name]
    body = row.body(ids) if row.body is not None else None
    return await asker.ask(operation.method, ids.path(operation.path), body, row.query)


async def test_who_has_no_valid_token_is_told_nothing_by_any_operation(world: World) -> None:
    wrong: list[Any] = []
    for name in WITHOUT_TOKEN:
        asker = world.askers[name]
        code = b"UNAUTHORIZED" if name == "anonymous" else b"INVALID_TOKEN"
        for operation in operations().values():
            if operation.is_open:
                continue
            answers = [await ask(asker, operation, ids) for ids in columns_of(operation, asker)]
            if {answer.status for answer in answers} != {401} or not all(code in answer.content for answer in answers):
                wrong.append((name, operation.name, [answer.status for answer in answers]))
            if len({answer.content for answer in answers}) != 1:
                wrong.append((name, operation.name, [answer.content for answer in answers]))
    assert not wrong, listed(wrong)


def columns_of(operation: Operation, asker: Asker) -> list[Ids]:
    """Without ids in its path or body one column says all; with them a second one shows that nothing is looked up first."""
    named = ROWS[operation.name].another is not None
    return [asker.ids[column] for column in COLUMNS[: 2 if named else 1]]


async def test_everybody_else_gets_what_is_theirs_and_nothing_of_anybody_else(world: World) -> None:
    before = await snapshot(world)
    wrong: list[Any] = []
    for name in WITH_TOKEN:
        for operation in operations().values():
            wrong += [(name, operation.name, *fault) async for fault in faults(world, world.askers[name], operation)]
    assert not wrong, listed(wrong)
    assert await snapshot(world) == before, "what others did has changed something of Alice's"


async def faults(world: World, asker: Asker, operation: Operation) -> AsyncIterator[Any]:
    """What is not as the row says."""
    row, answers = ROWS[operation.name], {}
    for column in reversed(COLUMNS):
        expected = expected_of(row, column, asker)
        if expected is None:
            continue
        caller, ids = await caller_of(world, asker, row, column)
        answer = answers[column] = await ask(caller, operation, ids)
        if answer.status != expected:
            yield column, expected, answer.status, answer.content[:300]
        if leaked := list(leaks(world, row, column, answer, ids)):
            yield column, "leaks", leaked
    hidden = {column: answer for column, answer in answers.items() if answer.status == 404 and row.another is not None}
    seen = {(without(answer.content, asker.ids[column]), headers_of(answer)) for column, answer in hidden.items()}
    if len(seen) > 1:
        yield "strangers can tell", sorted(hidden), seen


def expected_of(row: Row, column: str, asker: Asker) -> int | None:
    return row.expected(column, shunned="blocks" in asker.name, admin=asker.name == "admin")


async def caller_of(world: World, asker: Asker, row: Row, column: str) -> tuple[Asker, Ids]:
    """The asker, or somebody like them who is not needed afterwards."""
    if column != "own" or not row.is_fresh:
        return asker, asker.ids[column]
    device = await sync_to_async(lambda: Installation(name="a newcomer").register())()
    if asker.name == "admin":
        await sync_to_async(make_admin)(device)
    return Asker(asker.name, asker.client, device), asker.ids[column]


def leaks(world: World, row: Row, column: str, answer: Answer, ids: Ids) -> Iterator[str]:
    """What of Alice's is in an answer that should have none of it. What is public about her is no secret of hers."""
    said = without(answer.content, ids).decode()
    yield from (secret for secret in world.private if secret in said and not (row.public and column == "another's"))
    if row.public and column == "another's":
        yield from (secret for secret in world.private if secret in said and not secret.startswith("planted"))


def without(content: bytes, ids: Ids) -> bytes:
    """The content, save for the ids the caller has named."""
    for name in ids.named():
        content = content.replace(name.encode(), b"what was asked for")
    return content


def headers_of(answer: Answer) -> tuple[tuple[str, str], ...]:
    return tuple(
        sorted((name, value) for name, value in answer.headers.items() if name not in ("date", "content-length"))
    )


async def snapshot(world: World) -> list[bytes]:
    """What Alice sees of her own."""
    theirs = world.askers["user"].ids["another's"]
    group = f"conversations/{theirs.conversation_id}"
    own = ("profile", "devices", "auth/pin", "settings/theme", "notifications/preferences")
    paths = (*own, group, f"{group}/members", f"{group}/messages")
    return [(await world.alice.ask("GET", path)).content for path in paths]


async def test_things_of_two_people_are_not_mixed(world: World) -> None:
    """One id of one's own and one of another's: neither opens the other."""
    wrong: list[Any] = []
    for operation in operations().values():
        if len(operation.parameters) < 2:
            continue
        for name in WITH_TOKEN:
            asker = world.askers[name]
            for mixed in mixtures(asker):
                answer = await ask(asker, operation, mixed)
                if (answer.status, answer.content) != (404, NOTHING):
                    wrong.append((name, operation.name, answer.status, answer.content[:200]))
    assert not wrong, listed(wrong)


def mixtures(asker: Asker) -> list[Ids]:
    own, another = asker.ids["own"], asker.ids["another's"]
    return [
        replace(own, user_id=another.user_id),
        replace(another, user_id=own.user_id),
    ]
