"""Reading audiences before the conversations are locked. The moment in between is stretched, so that a short run meets it as often as a year would."""

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

from accounts.arrays import uuids
from accounts.connections import Connection
from accounts.statements import ask
from conversations import log
from conversations.audience import AUDIENCE, Audience, audiences
from tests.faults.broken.surgery import rewrite

STRETCHED_SECONDS = 0.1

Audiences = dict[UUID, Audience]
Mixed = Callable[[Audience, Audience], Audience]


async def read_before(conn: Connection, ids: Sequence[UUID]) -> Audiences:
    """The audiences as they are now; what happens until the locks are taken is missed."""
    cursor = await ask(conn, AUDIENCE, [uuids(ids)])
    found = audiences(await cursor.fetchall())
    await asyncio.sleep(STRETCHED_SECONDS)
    return found


def install(mixed: Mixed) -> None:
    """Have sends decided by `mixed(stale, fresh)` of each conversation."""

    def mix(stale: Audiences, fresh: Audiences) -> Audiences:
        return {key: mixed(stale[key], now) if key in stale else now for key, now in fresh.items()}

    rewrite(
        log,
        "_read",
        (
            "    async with conn.pipeline():",
            "    stale = await read_before(conn, ids)\n    async with conn.pipeline():",
        ),
        (
            "audiences=audiences(await audience.fetchall())",
            "audiences=mix(stale, audiences(await audience.fetchall()))",
        ),
        read_before=read_before,
        mix=mix,
    )
