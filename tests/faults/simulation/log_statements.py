"""What the statements of the log and of changes do to the simulated PostgreSQL (`conversations.log`, `audience`, `changes`, `invitees`; the lineage)."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from psycopg import errors

from accounts import lineage_guard
from conversations import audience, changes, invitees, log
from tests.faults.simulation.arrays import items
from tests.faults.simulation.postgresql import TIMELINE, Server, Transaction
from tests.faults.simulation.tables import Device, Entry, Member, Start, Tables, Waiting

Rows = list[Any]
SYSTEM = 7_000_000_000_000_000_001


# --- accounts.lineage_guard ------------------------------------------------------------------------------------------------------


def is_in_recovery(_: Server, __: Transaction) -> Rows:
    return [(False,)]


def lineage(server: Server, _: Transaction) -> Rows:
    return [(SYSTEM, TIMELINE, TIMELINE, server.tables.beat, server.tables.compared_run == server.run)]


def count_beat(server: Server, transaction: Transaction, above: int) -> Rows:
    server.xid(transaction)
    server.tables.beat = max(server.tables.beat, above) + 1
    server.tables.compared_run = server.run
    return [(SYSTEM, TIMELINE, TIMELINE, server.tables.beat)]


# --- conversations.log -----------------------------------------------------------------------------------------------------------


def _head(server: Server, conversation_id: UUID) -> tuple[Any, ...]:
    row = server.tables.conversations[conversation_id]
    return conversation_id, row.kind, row.source, row.next_seq, row.last_message_id, row.last_position, row.blocked


def _existing(server: Server, ids: Any) -> list[UUID]:
    return sorted(id_ for id_ in items(ids) if id_ in server.tables.conversations)


def lock_free(server: Server, transaction: Transaction, ids: Any) -> Rows:
    return [_head(server, id_) for id_ in _existing(server, ids) if server.try_lock(transaction, id_)]


async def lock_waiting(server: Server, transaction: Transaction, ids: Any) -> Rows:
    existing = _existing(server, ids)
    for id_ in existing:
        await server.lock(transaction, id_)
    return [_head(server, id_) for id_ in existing]


def read_heads(server: Server, _: Transaction, ids: Any) -> Rows:
    return [_head(server, id_) for id_ in _existing(server, ids)]


def moment(server: Server, transaction: Transaction, count: int) -> Rows:
    return [(server.clock_ms(), server.position(transaction), [server.serial() for _ in range(count)], 0)]


def serials(server: Server, _: Transaction, count: int) -> Rows:
    return [(server.serial(),) for _ in range(count)]


def known(server: Server, _: Transaction, *keys: Any) -> Rows:
    asked = zip(*map(items, keys), strict=True)
    found = [row for key in asked if (row := server.tables.known.get(key)) is not None]
    return [
        (row.conversation_id, row.sender_device_id, row.client_message_id, row.message_id, row.seq, row.kept_ms)
        for row in found
    ]


def targets(server: Server, _: Transaction, message_ids: Any) -> Rows:
    wanted = set(items(message_ids))
    rows = [row for row in server.tables.ledger.values() if row.message_id in wanted]
    return [(row.message_id, row.conversation_id, row.seq, row.sender_user_id) for row in rows]


def write_ledger(server: Server, transaction: Transaction, *columns: Any) -> Rows:
    for values in zip(*map(items, columns), strict=True):
        (
            conversation_id,
            seq,
            device_id,
            cmid,
            user_id,
            kind,
            urgent,
            message_id,
            position,
            kept_ms,
            expires,
            source,
        ) = values
        row = Entry(
            conversation_id, seq, device_id, cmid, user_id, kind, urgent, message_id, position, kept_ms, expires, source
        )
        transaction.writes.append(lambda row=row: _insert(server, row))  # type: ignore[misc]
        if server.sends_are_unique and _conflicts(server, row):
            raise errors.UniqueViolation
    return []


def _conflicts(server: Server, row: Entry) -> bool:
    key = row.conversation_id, row.sender_device_id, row.client_message_id
    return (row.conversation_id, row.seq) in server.tables.ledger or key in server.tables.known


def _insert(server: Server, row: Entry) -> None:
    if server.sends_are_unique and _conflicts(server, row):
        raise AssertionError(f"two transactions wrote the same place or send: {row.conversation_id} {row.seq}")
    server.tables.ledger[row.conversation_id, row.seq] = row
    server.tables.known[row.conversation_id, row.sender_device_id, row.client_message_id] = row


def write_outbox(server: Server, transaction: Transaction, claim_seconds: float, *columns: Any) -> Rows:
    claimed = server.clock_ms() + 1000 * claim_seconds
    for conversation_id, seq, source, position, kept_ms, deletes_seq, bundle in zip(*map(items, columns), strict=True):
        row = Waiting(source, position, kept_ms, claimed, bundle, deletes_seq)
        transaction.writes.append(
            lambda place=(conversation_id, seq), row=row: server.tables.outbox.__setitem__(place, row)  # type: ignore[misc]
        )
    return []


def move_heads(server: Server, transaction: Transaction, *columns: Any) -> Rows:
    for conversation_id, seq, message_id, position, *_ in zip(*map(items, columns), strict=True):
        transaction.writes.append(
            lambda at=(conversation_id, seq, message_id, position): _move_head(server.tables, *at)  # type: ignore[misc]
        )
    return []


def _move_head(tables: Tables, conversation_id: UUID, seq: int, message_id: int, position: int) -> None:
    row = tables.conversations[conversation_id]
    row.next_seq, row.last_message_id, row.last_position = seq + 1, message_id, position


def write_starts(server: Server, transaction: Transaction, *columns: Any) -> Rows:
    for row in zip(*map(items, columns), strict=True):
        transaction.writes.append(lambda row=row: _write_start(server.tables, *row))  # type: ignore[misc]
    return []


def _write_start(
    tables: Tables, conversation_id: UUID, device_id: int, from_seq: int, envelope_seq: int | None, mailbox_from: int
) -> None:
    before = tables.starts.get((conversation_id, device_id))
    if before is not None and before.mailbox_from == mailbox_from:
        from_seq = before.from_seq
    tables.starts[conversation_id, device_id] = Start(from_seq, envelope_seq, mailbox_from)


def end_starts(server: Server, transaction: Transaction, *columns: Any) -> Rows:
    keys = list(zip(*map(items, columns), strict=True))

    def write() -> None:
        for key in keys:
            server.tables.starts.pop(key, None)

    transaction.writes.append(write)
    return []


# --- conversations.audience, changes, invitees -----------------------------------------------------------------------------------


def read_audience(server: Server, _: Transaction, ids: Any) -> Rows:
    rows: Rows = []
    for conversation_id in sorted(items(ids)):
        for member in sorted(server.tables.stays(conversation_id), key=lambda member: member.user_id):
            rows += _audience_of(server, member)
    return rows


def _audience_of(server: Server, member: Member) -> Rows:
    starts = server.tables.starts
    devices = [
        device
        for device in server.tables.devices_of(member.user_id)
        if device.active or (member.conversation_id, device.id) in starts
    ]
    if not devices:
        return [(member.conversation_id, member.user_id, member.role, *[None] * 5, False, False, None)]
    rows: Rows = []
    for device in devices:
        start = starts.get((member.conversation_id, device.id))
        own = start is not None and start.mailbox_from == device.mailbox_from
        greeted = own and start is not None and start.envelope_seq is not None
        started = start is not None and (not device.active or own)
        rows.append(
            (
                member.conversation_id,
                member.user_id,
                member.role,
                *_facts(device),
                started,
                greeted,
                device.mailbox_full,
            )
        )
    return rows


def _facts(device: Device) -> tuple[Any, ...]:
    return device.id, device.registration_id, device.number, device.active, device.mailbox_from


def description(_: Server, __: Transaction, ___: UUID) -> Rows:
    return [("", None, None)]


def newcomers(server: Server, _: Transaction, conversation_id: UUID, user_ids: Any) -> Rows:
    return [
        (conversation_id, user_id, "member", *_facts(device), False, False)
        for user_id in sorted(items(user_ids))
        for device in server.tables.devices_of(user_id)
        if device.active
    ]


def join(server: Server, transaction: Transaction, conversation_id: UUID, *columns: Any) -> Rows:
    for user_id, role, joined_seq in zip(*map(items, columns), strict=True):
        member = Member(conversation_id, user_id, role, joined_seq, last_read_seq=joined_seq - 1)
        transaction.writes.append(lambda member=member: server.tables.members.append(member))  # type: ignore[misc]
    return []


def leave(server: Server, transaction: Transaction, left_seq: int, conversation_id: UUID, user_id: UUID) -> Rows:
    def write() -> None:
        for member in server.tables.stays(conversation_id):
            if member.user_id == user_id:
                member.left_seq = left_seq

    transaction.writes.append(write)
    return []


async def lock_people(server: Server, transaction: Transaction, user_ids: Any) -> Rows:
    found = sorted(id_ for id_ in items(user_ids) if id_ in server.tables.users)
    for id_ in found:
        await server.lock(transaction, id_)
    return [(id_,) for id_ in found]


def read_people(server: Server, _: Transaction, user_ids: Any) -> Rows:
    return [(id_,) for id_ in items(user_ids) if id_ in server.tables.users]


def busy(server: Server, _: Transaction, user_ids: Any, most: int) -> Rows:
    stays = [member.user_id for member in server.tables.members if member.left_seq is None]
    return [(id_,) for id_ in items(user_ids) if stays.count(id_) >= most]


def people_who_block(_: Server, __: Transaction, ___: Any, ____: UUID) -> Rows:
    """Nobody blocks anybody in the stories."""
    return []


LOG: dict[str, Callable[..., Any]] = {
    "SELECT pg_is_in_recovery()": is_in_recovery,
    lineage_guard.LINEAGE: lineage,
    lineage_guard.BEAT: count_beat,
    log.LOCK_FREE: lock_free,
    log.LOCK_WAITING: lock_waiting,
    log.READ: read_heads,
    log.MOMENT: moment,
    log.SERIALS: serials,
    log.KNOWN: known,
    log.TARGETS: targets,
    log.WRITE_LEDGER: write_ledger,
    log.WRITE_OUTBOX: write_outbox,
    log.MOVE_HEADS: move_heads,
    log.WRITE_STARTS: write_starts,
    log.END_STARTS: end_starts,
    audience.AUDIENCE: read_audience,
    changes.DESCRIPTION: description,
    changes.NEWCOMERS: newcomers,
    changes.JOIN: join,
    changes.LEAVE: leave,
    invitees.LOCK: lock_people,
    invitees.READ: read_people,
    invitees.BLOCKING: people_who_block,
    invitees.BUSY: busy,
}
