"""Senders are told `sent` as soon as their message has its place, before the COMMIT that makes it so.

The moment between the two is a millisecond on an idle machine; it is stretched, so that a run of minutes meets it as often as a year would.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import Any

from accounts.connections import Connection
from conversations import log
from conversations.allocation import Head
from conversations.planning import Plan
from conversations.sends import Committed, Send, Sent
from messaging.group_commit import GroupCommit, _Queued
from tests.faults.broken.surgery import replace

STRETCHED_SECONDS = 0.05

_batch: ContextVar[Sequence[_Queued]] = ContextVar("batch", default=())
_sends: ContextVar[Sequence[Send]] = ContextVar("sends", default=())


def answer_early(made: Plan) -> bool:
    """Whether anybody was answered."""
    waiting = {item.send.key: item for item in _batch.get()}
    early = [
        (waiting[send.key], outcome)
        for send, outcome in zip(_sends.get(), made.outcomes, strict=False)
        if isinstance(outcome, Sent) and send.key in waiting
    ]
    for item, outcome in early:
        item.resolve(outcome)
    return bool(early)


def install() -> None:
    commit: Any = replace(
        GroupCommit,
        "_commit",
        lambda self, batch, *, waiting: _commit(commit, self, batch, waiting=waiting),
        signature="(self, batch, *, waiting)",
    )
    transaction: Any = replace(
        log,
        "_transaction",
        lambda sends, *, waiting: _transaction(transaction, sends, waiting=waiting),
        signature="(sends, *, waiting)",
    )
    write: Any = replace(
        log,
        "write",
        lambda conn, made, heads: _write(write, conn, made, heads),
        signature="(conn, made, heads)",
    )


async def _commit(commit: Any, commits: GroupCommit, batch: Sequence[_Queued], *, waiting: bool) -> Committed:
    token = _batch.set(batch)
    try:
        committed: Committed = await commit(commits, batch, waiting=waiting)
    finally:
        _batch.reset(token)
    return committed


async def _transaction(transaction: Any, sends: Sequence[Send], *, waiting: bool) -> Committed:
    token = _sends.set(sends)
    try:
        committed: Committed = await transaction(sends, waiting=waiting)
    finally:
        _sends.reset(token)
    return committed


async def _write(write: Any, conn: Connection, made: Plan, heads: Iterable[Head]) -> None:
    if answer_early(made):
        await asyncio.sleep(STRETCHED_SECONDS)
    await write(conn, made, heads)
