"""One statement on the asynchronous road: prepared once by each connection, answered in binary."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import psycopg

from accounts import postgresql
from accounts.connections import Connection


async def ask(conn: Connection, query: str, params: Sequence[Any]) -> psycopg.AsyncCursor[Any]:
    """The cursor of a constant statement. Inside a pipeline its rows are there once the pipeline has ended."""
    cursor = conn.cursor(binary=True)
    return await cursor.execute(query, params, prepare=True)


async def tell(conn: Connection, query: str, params: Sequence[Any]) -> None:
    """Execute a constant statement."""
    await conn.execute(query, params, prepare=True)


async def rows(query: str, params: Sequence[Any]) -> list[Any]:
    """The rows of a constant statement that is a transaction of its own. Raises StorageUnavailable."""
    async with postgresql.connection() as conn:
        return await (await ask(conn, query, params)).fetchall()


async def now() -> datetime:
    """PostgreSQL's clock. Raises StorageUnavailable."""
    [[moment]] = await rows("SELECT clock_timestamp()", [])
    return cast(datetime, moment)


async def run(query: str, params: Sequence[Any]) -> None:
    """Execute a constant statement as a transaction of its own. Raises StorageUnavailable."""
    async with postgresql.connection() as conn:
        await tell(conn, query, params)
