"""Whether a send was committed already is asked of Redis, not of the ledger, which has no unique key any more."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol
from uuid import UUID

import msgspec
from django.conf import settings
from redis import asyncio as redis
from redis.exceptions import RedisError

from accounts import postgresql
from accounts.connections import Connection
from conversations import log
from conversations.allocation import Head
from conversations.entries import LogEntry
from conversations.planning import Plan
from conversations.sends import Send, Sent
from tests.faults.broken.surgery import replace, rewrite

Key = tuple[UUID, int, UUID]
HORIZON_SECONDS = 14 * 24 * 3600
WITHOUT_KEY = "ALTER TABLE conversations_ledger DROP CONSTRAINT IF EXISTS one_entry_per_send"


class Memory(Protocol):
    """What remembers sends. A simulation puts one of its own into `memory`."""

    async def prepare(self) -> None:
        """Called before each transaction."""

    async def recall(self, keys: Sequence[Key]) -> dict[Key, Sent]:
        """Those of these sends that are known."""

    async def remember(self, sent: dict[Key, Sent]) -> None:
        """Know these from now on."""


class RedisMemory:
    """The server's Redis. While it is away nothing is known."""

    def __init__(self) -> None:
        self._is_prepared = False

    async def prepare(self) -> None:
        if not self._is_prepared:
            async with postgresql.connection() as conn:
                await conn.execute(WITHOUT_KEY)
            self._is_prepared = True

    async def recall(self, keys: Sequence[Key]) -> dict[Key, Sent]:
        try:
            async with redis.from_url(settings.REDIS_URL) as client:
                values: list[Any] = await client.mget([_name(key) for key in keys])
        except (RedisError, OSError):
            return {}
        return {key: msgspec.msgpack.decode(value, type=Sent) for key, value in zip(keys, values, strict=True) if value}

    async def remember(self, sent: dict[Key, Sent]) -> None:
        try:
            async with redis.from_url(settings.REDIS_URL) as client, client.pipeline() as pipeline:
                for key, one in sent.items():
                    pipeline.set(_name(key), msgspec.msgpack.encode(one), ex=HORIZON_SECONDS)
                await pipeline.execute()
        except (RedisError, OSError):
            pass


def _name(key: Key) -> str:
    return "sent:" + ":".join(map(str, key))


memory: Memory = RedisMemory()


async def remembered(sends: Sequence[Send]) -> dict[Key, Sent]:
    return await memory.recall([send.key for send in sends])


def _sent(entries: Iterable[LogEntry]) -> dict[Key, Sent]:
    return {
        (entry.conversation_id, entry.sender_device_id, entry.client_message_id): Sent(
            entry.message_id, entry.seq, entry.kept_ms
        )
        for entry in entries
    }


def install() -> None:
    known = "{(row[0], row[1], row[2]): Sent(*row[3:]) for row in await known.fetchall()}"
    rewrite(log, "_read", (f"known={known}", "known=await remembered(sends)"), remembered=remembered)
    rewrite(log, "_transaction", ("    async with ", "    await prepared()\n    async with "), prepared=prepared)
    write: Any = replace(
        log,
        "write",
        lambda conn, made, heads: _write(write, conn, made, heads),
        signature="(conn, made, heads)",
    )


async def prepared() -> None:
    await memory.prepare()


async def _write(write: Any, conn: Connection, made: Plan, heads: Iterable[Head]) -> None:
    await write(conn, made, heads)
    await memory.remember(_sent(made.entries))
