"""Work of the synchronous road that the loop wants done and nobody's request does."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import DatabaseError, connection

from accounts.transactions import heal_connections
from accounts.wire.refusals import StorageUnavailable

Result = TypeVar("Result")


async def in_a_thread(work: Callable[..., Result], *arguments: Any) -> Result:
    """What the work returns. It has a connection of its own, which ends with it. Raises StorageUnavailable when PostgreSQL does not do its part."""
    return await asyncio.to_thread(_do, work, arguments)


def _do(work: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
    try:
        return work(*arguments)
    except DatabaseError as failure:
        heal_connections()
        raise StorageUnavailable from failure
    finally:
        connection.close()
