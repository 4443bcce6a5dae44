"""Sockets of devices: numbering them, so that the newest wins, and noticing that a device is gone."""

from uuid import UUID

import msgspec
from psycopg.rows import TupleRow

from accounts import postgresql
from accounts.wire.refusals import InvalidToken

OPEN = """
UPDATE devices_device SET conn_id = nextval('devices_connection'), last_seen = (now() AT TIME ZONE 'UTC')::date
WHERE id = %s AND active
RETURNING conn_id, mailbox_from, (extract(epoch FROM created_at) * 1000)::bigint, COALESCE((extract(epoch FROM tokens_since) * 1000000)::bigint, 0)
"""
# A device that has signed out has no tokens left; one that has signed in again has others since.
STATE = """
SELECT d.conn_id, d.active AND u.is_active AND EXISTS (SELECT FROM devices_token_pair t WHERE t.device_id = d.id),
       COALESCE((extract(epoch FROM d.tokens_since) * 1000000)::bigint, 0)
FROM devices_device d JOIN accounts_user u ON u.id = d.user_id WHERE d.id = %s
"""


class Session(msgspec.Struct, frozen=True):
    """One authenticated socket. `conn_id` rises with every socket of the server; `tokens_since_us` is when its device signed in."""

    user_id: UUID
    device_id: int
    device_number: int
    conn_id: int
    mailbox_from: int
    created_ms: int
    tokens_since_us: int = 0


async def open_session(user_id: UUID, device_id: int, device_number: int) -> Session:
    """Number a new socket of the device. Raises InvalidToken if the device is not active any more, StorageUnavailable."""
    row = await _one(OPEN, device_id)
    if row is None:
        raise InvalidToken
    return Session(user_id, device_id, device_number, *row)


async def closing_code(session: Session) -> int | None:
    """Why this socket has to close: 4401 what let it in is revoked, 4409 the device has a newer one; None: it may stay."""
    row = await _one(STATE, session.device_id)
    if row is None or not row[1] or row[2] != session.tokens_since_us:
        return 4401
    return 4409 if row[0] > session.conn_id else None


async def _one(query: str, device_id: int) -> TupleRow | None:
    async with postgresql.connection() as conn:
        cursor = conn.cursor(binary=True)
        await cursor.execute(query, [device_id], prepare=True)
        return await cursor.fetchone()
