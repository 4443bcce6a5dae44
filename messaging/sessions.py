"""Sockets of devices: numbering them, so that the newest wins, and noticing that a device is gone."""

from uuid import UUID

import msgspec
from psycopg.rows import TupleRow

from accounts import postgresql
from accounts.wire.refusals import InvalidToken

OPEN = """
UPDATE devices_device SET conn_id = nextval('devices_connection'), last_seen = current_date
WHERE id = %s AND active RETURNING conn_id, mailbox_from, (extract(epoch FROM created_at) * 1000)::bigint
"""
STATE = "SELECT conn_id, active FROM devices_device WHERE id = %s"


class Session(msgspec.Struct, frozen=True):
    """One authenticated socket. `conn_id` rises with every socket of the server."""

    user_id: UUID
    device_id: int
    device_number: int
    conn_id: int
    mailbox_from: int
    created_ms: int


async def open_session(user_id: UUID, device_id: int, device_number: int) -> Session:
    """Number a new socket of the device. Raises InvalidToken if the device is not active any more, StorageUnavailable."""
    row = await _one(OPEN, device_id)
    if row is None:
        raise InvalidToken
    return Session(user_id, device_id, device_number, *row)


async def closing_code(session: Session) -> int | None:
    """Why this socket has to close: 4401 the device is gone, 4409 it has a newer socket; None: it may stay."""
    row = await _one(STATE, session.device_id)
    if row is None or not row[1]:
        return 4401
    return 4409 if row[0] > session.conn_id else None


async def _one(query: str, device_id: int) -> TupleRow | None:
    async with postgresql.connection() as conn:
        cursor = conn.cursor(binary=True)
        await cursor.execute(query, [device_id], prepare=True)
        return await cursor.fetchone()
