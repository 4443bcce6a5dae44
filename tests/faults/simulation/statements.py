"""What each of the service's statements does to the simulated PostgreSQL: one function for each constant. Here, the outbox and what only reads."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from accounts import durability
from conversations import access, backlog, ledger, outbox, tallies
from messaging import acks, circles, errands, receipts, sessions
from tests.faults.simulation.arrays import items
from tests.faults.simulation.gap_statements import GAPS
from tests.faults.simulation.log_statements import LOG
from tests.faults.simulation.postgresql import Server, Statements, Transaction
from tests.faults.simulation.tables import Entry, Tables, Waiting

Rows = list[Any]
FOR_EVER = 2**63 - 1
HOUR_MS = 3_600_000


# --- conversations.outbox --------------------------------------------------------------------------------------------------------


def claim(
    server: Server, transaction: Transaction, lease_seconds: float, source: str, limit: int, most_bytes: int
) -> Rows:
    now = server.clock_ms()
    due = [
        (row.position, place)
        for place, row in server.tables.outbox.items()
        if row.source == source and (row.claimed_until_ms < now or row.claimed_until_ms > now + HOUR_MS)
    ]
    server.xid(transaction)
    taken: Rows = []
    size = 0
    for _, place in sorted(due)[:limit]:
        if size >= most_bytes:
            break
        row = server.tables.outbox[place]
        size += len(row.bundle)
        row.claimed_until_ms = now + 1000 * lease_seconds
        taken.append((*place, row.bundle))
    return taken


def done(server: Server, transaction: Transaction, *columns: Any) -> Rows:
    server.xid(transaction)
    places, rows = list(zip(*map(items, columns), strict=True)), server.tables.outbox
    for place in [place for place in places if place in rows and not _has_to_wait(rows, place, places)]:
        del rows[place]
    return []


def _has_to_wait(rows: dict[Any, Waiting], place: Any, places: Collection[Any]) -> bool:
    """For what it deletes."""
    target = (place[0], rows[place].deletes_seq)
    return target in rows and not rows[target].failures and target not in places


def release(server: Server, transaction: Transaction, seconds: float, *columns: Any) -> Rows:
    server.xid(transaction)
    for place in zip(*map(items, columns), strict=True):
        row = server.tables.outbox.get(place)
        if row is not None and not row.failures:
            row.claimed_until_ms = server.clock_ms() + 1000 * seconds
    return []


def set_aside(server: Server, transaction: Transaction, first: float, longest: float, *columns: Any) -> Rows:
    server.xid(transaction)
    found: Rows = []
    for place in zip(*map(items, columns), strict=True):
        row = server.tables.outbox.get(place)
        if row is not None:
            pause = min(first * 2 ** min(row.failures, 20), longest)
            row.failures, row.claimed_until_ms = min(row.failures + 1, 100), server.clock_ms() + 1000 * pause
            found.append((*place, row.failures))
    return found


def watermark(server: Server, _: Transaction, source: str, user_id: UUID, *__: str) -> Rows:
    rows = [
        row
        for place, row in server.tables.outbox.items()
        if row.source == source and (not row.failures or _was_in(server.tables, user_id, *place))
    ]
    position = min([server.oldest_open(), *(row.position for row in rows)])
    return [(position, server.clock_ms(), min((row.kept_ms for row in rows), default=0))]


def of_user(server: Server, _: Transaction, user_id: UUID, __: int, *rest: Any) -> Rows:
    *after, limit, most_bytes = rest
    mine = sorted(
        ((row.position, seq, conversation_id), row.bundle)
        for (conversation_id, seq), row in server.tables.outbox.items()
        if _was_in(server.tables, user_id, conversation_id, seq) and (row.position, seq, conversation_id) > tuple(after)
    )
    found: Rows = []
    size = 0
    for place, bundle in mine[:limit]:
        if size >= most_bytes:
            break
        size += len(bundle)
        found.append((bundle, *place, server.oldest_open()))
    return found


def _was_in(tables: Tables, user_id: UUID, conversation_id: UUID, seq: int) -> bool:
    return any(
        member.user_id == user_id
        and member.conversation_id == conversation_id
        and member.joined_seq <= seq
        and (member.left_seq is None or seq <= member.left_seq)
        for member in tables.members
    )


def of_conversation(server: Server, _: Transaction, conversation_id: UUID, first: int, last: int) -> Rows:
    places = sorted(
        place for place in server.tables.outbox if place[0] == conversation_id and first <= place[1] <= last
    )
    return [(server.tables.outbox[place].bundle,) for place in places]


def deleted(server: Server, _: Transaction, conversation_id: UUID, first: int, last: int) -> Rows:
    return [
        (row.deletes_seq,)
        for place, row in server.tables.outbox.items()
        if place[0] == conversation_id and row.deletes_seq is not None and first <= row.deletes_seq <= last
    ]


def measure(server: Server, _: Transaction) -> Rows:
    rows = server.tables.outbox.values()
    oldest = (server.clock_ms() - min(row.kept_ms for row in rows)) / 1000 if rows else 0.0
    failing = sum(row.failures > 0 for row in rows)
    return [(len(rows), failing, sum(len(row.bundle) for row in rows), oldest, 0.0)]


# --- reading: conversations.access, ledger ---------------------------------------------------------------------------------------


def view(server: Server, _: Transaction, device_id: int, user_id: UUID, conversation_id: UUID) -> Rows:
    tables = server.tables
    device, row = tables.devices.get(device_id), tables.conversations.get(conversation_id)
    is_member = any(member.user_id == user_id for member in tables.stays(conversation_id))
    if device is None or device.user_id != user_id or row is None or not is_member:
        return []
    start = tables.starts.get((conversation_id, device_id))
    own = start.from_seq if start is not None and start.mailbox_from == device.mailbox_from else None
    stays = sorted(
        [member.joined_seq, FOR_EVER if member.left_seq is None else member.left_seq]
        for member in tables.members
        if member.conversation_id == conversation_id and member.user_id == user_id
    )
    return [(server.clock_ms(), row.next_seq - 1, device.mailbox_from, device.created_ms, own, stays, [])]


def facts(server: Server, _: Transaction, conversation_id: UUID, first: int, last: int) -> Rows:
    found = (server.tables.ledger.get((conversation_id, seq)) for seq in range(first, last + 1))
    return [(row.seq, row.sender_device_id, row.position, row.kept_ms) for row in found if row is not None]


# --- messaging: sessions, acknowledgements, receipts -----------------------------------------------------------------------------


def open_session(server: Server, transaction: Transaction, device_id: int, registration_id: int) -> Rows:
    device = server.tables.devices.get(device_id)
    if device is None or not device.active or device.registration_id != registration_id:
        return []
    server.xid(transaction)
    device.conn_id = server.connection_number()
    return [(device.conn_id, device.mailbox_from, device.created_ms, 0, False)]


def session_state(server: Server, _: Transaction, device_id: int) -> Rows:
    device = server.tables.devices.get(device_id)
    return [] if device is None else [(device.conn_id, device.active and device.tokens, 0, False, False)]


def known_to(server: Server, _: Transaction, message_ids: Sequence[int], device_id: int, user_id: UUID) -> Rows:
    wanted = set(message_ids)
    return [
        (row.message_id, row.position, row.kept_ms, row.expires_ms)
        for row in server.tables.ledger.values()
        if row.message_id in wanted
        and row.sender_device_id != device_id
        and _was_in(server.tables, user_id, row.conversation_id, row.seq)
    ]


def move_read_mark(server: Server, _: Transaction, conversation_id: UUID, user_id: UUID, seq: int, *__: int) -> Rows:
    head = server.tables.conversations[conversation_id].next_seq - 1
    for member in server.tables.stays(conversation_id):
        if member.user_id == user_id:
            before, moved = member.last_read_seq, member.last_read_seq < seq <= head
            if moved:
                member.last_read_seq = seq
            return [(before, head, moved)]
    return []


def told_of_reading(server: Server, _: Transaction, conversation_id: UUID, others: Any, __: UUID) -> Rows:
    """Everybody wants read receipts."""
    there = {member.user_id for member in server.tables.stays(conversation_id)}
    return [(user_id,) for user_id in items(others) if user_id in there]


def still_there(server: Server, _: Transaction, *columns: Any) -> Rows:
    stays = zip(*map(items, columns), strict=True)
    return [stay for stay in stays if any(member.user_id == stay[1] for member in server.tables.stays(stay[0]))]


def senders(server: Server, _: Transaction, conversation_id: UUID, after: int, upto: int, reader: UUID) -> Rows:
    newest: dict[UUID, Entry] = {}
    for seq in range(after + 1, upto + 1):
        row = server.tables.ledger.get((conversation_id, seq))
        if row is not None and row.kind == "message" and row.sender_user_id not in (None, reader):
            assert row.sender_user_id is not None
            newest[row.sender_user_id] = row
    return [(user_id, row.seq, row.message_id) for user_id, row in sorted(newest.items())]


def nothing(_: Server, __: Transaction, *___: Any) -> Rows:
    """Nothing was pruned, and nothing lost."""
    return []


def nothing_weak(_: Server, __: Transaction) -> Rows:
    """Whatever its settings are, this one forgets nothing it has answered."""
    return []


def no_errand(_: Server, __: Transaction) -> Rows:
    """Nobody links a device here, so none waits to be unlinked again."""
    return [(False,)]


STATEMENTS = Statements(
    GAPS
    | LOG
    | {
        tallies.SENDERS: nothing,
        outbox.CLAIM: claim,
        outbox.DONE: done,
        outbox.RELEASE: release,
        outbox.SET_ASIDE: set_aside,
        outbox.WATERMARK: watermark,
        outbox.OF_USER: of_user,
        outbox.OF_CONVERSATION: of_conversation,
        outbox.DELETED: deleted,
        backlog.MEASURE: measure,
        access.VIEW: view,
        ledger.FACTS: facts,
        sessions.OPEN: open_session,
        sessions.STATE: session_state,
        acks.KNOWN: known_to,
        receipts.MOVE: move_read_mark,
        receipts.SENDERS: senders,
        errands.DUE: no_errand,
        durability.WEAK: nothing_weak,
        circles.TOLD_OF_READING: told_of_reading,
        circles.STILL_THERE: still_there,
    }
)
