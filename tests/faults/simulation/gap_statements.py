"""What the statements about gaps and full mailboxes do to the simulated PostgreSQL (`conversations.gaps`, `messaging.weights`)."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from conversations import gaps
from messaging import weights
from tests.faults.simulation.arrays import items
from tests.faults.simulation.postgresql import Server, Transaction
from tests.faults.simulation.tables import Device, Gap

Rows = list[Any]


def of_device(server: Server, _: Transaction, device_id: int) -> Rows:
    device = server.tables.devices.get(device_id)
    if device is None:
        return []
    found = [gap for gap in server.tables.gaps if gap.device_id == device_id and gap.position >= device.mailbox_from]
    facts: Rows = [
        (gap.conversation_id, gap.from_seq, gap.to_seq, gap.message_id, gap.position, gap.kept_ms, gap.skips, gap.told)
        for gap in sorted(found, key=lambda gap: (gap.position, gap.to_seq))
    ]
    return [(device.mailbox_full, *one) for one in facts or [(None,) * 8]]


def extend(server: Server, transaction: Transaction, *columns: Any) -> Rows:
    new = [Gap(*values) for values in zip(*map(items, columns), strict=True)]
    transaction.writes.append(lambda: _extend(server.tables.gaps, new))
    return []


def _extend(known: list[Gap], new: list[Gap]) -> None:
    for gap in new:
        open_one = next(
            (
                one
                for one in known
                if (one.device_id, one.conversation_id, one.to_seq)
                == (gap.device_id, gap.conversation_id, gap.from_seq - 1)
                and not one.skips
            ),
            None,
        )
        if open_one is None:
            known.append(gap)
        else:
            open_one.to_seq, open_one.message_id = gap.to_seq, gap.message_id
            open_one.position, open_one.kept_ms = gap.position, gap.kept_ms


def note_stuck(server: Server, transaction: Transaction, message_id: int, _: int, device_id: int) -> Rows:
    server.xid(transaction)
    device = server.tables.devices.get(device_id)
    if device is None:
        return []
    times = min(device.stuck_times + 1, 100) if device.stuck_message_id == message_id else 1
    device.stuck_message_id, device.stuck_times = message_id, times
    return [(times,)]


def forget(server: Server, transaction: Transaction, device_id: int, age_ms: int) -> Rows:
    server.xid(transaction)
    before = server.clock_ms() - age_ms
    server.tables.gaps = [
        gap for gap in server.tables.gaps if not (gap.device_id == device_id and gap.skips and gap.kept_ms < before)
    ]
    return []


def skip(server: Server, transaction: Transaction, device_id: int, conversation_id: UUID, *place: int) -> Rows:
    server.xid(transaction)
    first, last, message_id, position, kept_ms = place
    gap = Gap(device_id, conversation_id, first, last, message_id, position, kept_ms, skips=True)
    is_known = any(
        (one.device_id, one.conversation_id, one.from_seq, one.skips)
        == (device_id, conversation_id, gap.from_seq, True)
        for one in server.tables.gaps
    )
    if not is_known:
        server.tables.gaps.append(gap)
    return []


def told(server: Server, transaction: Transaction, *rest: Any) -> Rows:
    *columns, device_id, _ = rest
    server.xid(transaction)
    for conversation_id, first, last in zip(*map(items, columns), strict=True):
        for gap in list(server.tables.gaps):
            if (gap.device_id, gap.conversation_id, gap.from_seq) != (device_id, conversation_id, first):
                continue
            if gap.skips:
                gap.told = True
            elif gap.to_seq == last:
                server.tables.gaps.remove(gap)
    return []


def drained(server: Server, transaction: Transaction, device_id: int) -> Rows:
    server.xid(transaction)
    device = server.tables.devices.get(device_id)
    if device is not None and device.mailbox_full:
        device.mailbox_full, device.pending_rows, device.pending_bytes = False, 0, 0
    return []


def add_weights(server: Server, transaction: Transaction, *columns: Any) -> Rows:
    server.xid(transaction)
    found: Rows = []
    for device_id, rows, size in zip(*map(items, columns), strict=True):
        device = _active(server, device_id)
        if device is not None:
            device.pending_rows += rows
            device.pending_bytes += size
            facts = (device.pending_rows, device.pending_bytes, device.mailbox_full)
            found.append((device_id, device.user_id, *facts))
    return found


def counted(server: Server, transaction: Transaction, rows: int, size: int, is_full: bool, device_id: int) -> Rows:  # noqa: FBT001  (a column)
    server.xid(transaction)
    device = _active(server, device_id)
    if device is not None:
        device.pending_rows, device.pending_bytes, device.mailbox_full = rows, size, is_full
    return []


def _active(server: Server, device_id: int) -> Device | None:
    device = server.tables.devices.get(device_id)
    return device if device is not None and device.active else None


GAPS: dict[str, Callable[..., Any]] = {
    gaps.OF_DEVICE: of_device,
    gaps.EXTEND: extend,
    gaps.STUCK: note_stuck,
    gaps.FORGET: forget,
    gaps.SKIP: skip,
    gaps.TOLD: told,
    gaps.DRAINED: drained,
    weights.ADD: add_weights,
    weights.COUNTED: counted,
}
