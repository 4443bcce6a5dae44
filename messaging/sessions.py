"""Sockets of devices: numbering them, so that the newest wins, and noticing that a device is gone."""

from uuid import UUID

import msgspec

from accounts import statements, usage
from accounts.positions import ERA
from accounts.wire.refusals import InvalidToken
from messaging import close_codes

# Whether the device's one-time prekeys are void, because they are of an earlier era (see `devices.prekeys`).
VOID = f"(prekeys_era NOT IN (0, {ERA}) OR (highest_pq_prekey_id >= 0 AND pq_prekeys_era NOT IN (0, {ERA})))"
# An installation that was replaced since its token was looked at has another registration_id: its socket must not become the new one's.
OPEN = f"""
UPDATE devices_device SET conn_id = nextval('devices_connection'), last_seen = (now() AT TIME ZONE 'UTC')::date
WHERE id = %s AND active AND registration_id = %s
RETURNING conn_id, mailbox_from, (extract(epoch FROM created_at) * 1000)::bigint, COALESCE((extract(epoch FROM tokens_since) * 1000000)::bigint, 0),
          {VOID}
"""  # noqa: S608  (constants)
# A device that has signed out has no tokens left; one that has signed in again has others since.
STATE = f"""
SELECT d.conn_id, d.active AND u.is_active AND EXISTS (SELECT FROM devices_token_pair t WHERE t.device_id = d.id),
       COALESCE((extract(epoch FROM d.tokens_since) * 1000000)::bigint, 0), {VOID},
       COALESCE(u.last_used_at < clock_timestamp() - interval '1 hour', true)
FROM devices_device d JOIN accounts_user u ON u.id = d.user_id WHERE d.id = %s
"""  # noqa: S608  (constants)
SEEN = "UPDATE devices_device SET last_seen = (now() AT TIME ZONE 'UTC')::date WHERE id = %s"


class Session(msgspec.Struct, frozen=True):
    """One authenticated socket. `conn_id` rises with every socket of the server; `tokens_since_us` is when its device signed in."""

    user_id: UUID
    device_id: int
    device_number: int
    conn_id: int
    mailbox_from: int
    created_ms: int
    tokens_since_us: int = 0
    wants_prekeys: bool = False


class Standing(msgspec.Struct, frozen=True):
    """How it is with an open socket: the code to close it with, if what let it in is revoked or its device has a newer one; and whether its
    one-time prekeys have become void."""

    closing_code: int | None
    wants_prekeys: bool


async def open_session(user_id: UUID, device_id: int, device_number: int, registration_id: int) -> Session:
    """Number a new socket of the device. Raises InvalidToken if it is not active any more, or installed again; StorageUnavailable."""
    rows = await statements.rows(OPEN, [device_id, registration_id])
    if not rows:
        raise InvalidToken
    return Session(user_id, device_id, device_number, *rows[0])


async def standing(session: Session) -> Standing:
    """Raises StorageUnavailable.

    A socket that stays is use of the account, which is noted once an hour: it may be open for weeks in which its client calls nothing.
    """
    [row] = await statements.rows(STATE, [session.device_id]) or [[0, False, 0, False, False]]
    conn_id, is_active, tokens_since_us, wants_prekeys, is_use_due = row
    if not is_active or tokens_since_us != session.tokens_since_us:
        return Standing(close_codes.UNAUTHENTICATED, wants_prekeys)
    if conn_id > session.conn_id:
        return Standing(close_codes.CONNECTED_ELSEWHERE, wants_prekeys)
    if is_use_due:
        await statements.run(usage.NOTE, [session.user_id])
        await statements.run(SEEN, [session.device_id])
    return Standing(None, wants_prekeys)
