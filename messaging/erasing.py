"""Erasing what a deleted account has left, store by store, each with its receipt.

Every step finds out by itself what is left to do, so a process may die in any of them and another one goes on. A store that is away holds up its own
receipt and no other. The history keeps what the person has said to others, under an id that is nobody's any more: it is theirs.
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from accounts import clocks, statements, tombstones, valkey
from accounts.models import Tombstone, User
from accounts.tombstones import MESSAGES, POSTGRESQL, VALKEY
from accounts.wire.refusals import StorageUnavailable
from conversations import membership
from conversations.models import DeviceStart, Gap, Member
from devices.models import Device
from messaging.envelopes import Mailbox
from messaging.purging import LATEST_MS, purge_mailbox
from messaging.store.protocol import MessageStore
from messaging.threads import in_a_thread

logger = logging.getLogger(__name__)

Keep = Callable[[], Awaitable[None]]

# Whose keys this process has deleted a first time. Looking through all keys costs something: while a conversation is held that is not done again and again.
_emptied: set[UUID] = set()

TRY_AGAIN = timedelta(seconds=10)
# Whatever was asked for by a token of the account has been answered by then: nothing that still runs finds its row gone.
SETTLED_AFTER = timedelta(seconds=10)
# One that fails for a reason of its own is not to be in the way of others.
SET_BACK = timedelta(minutes=5)
PURGED_AT_ONCE = 1000
NEXT_STAYS = """
SELECT conversation_id FROM conversations_member WHERE user_id = %s AND left_seq IS NULL AND conversation_id > %s
ORDER BY conversation_id LIMIT 50
"""


async def erase_due(store: MessageStore, keep: Keep) -> None:
    """Go on with every erasure that is due. `keep` is awaited between steps, and may raise to end the work. Raises StorageUnavailable."""
    for tombstone in await in_a_thread(tombstones.due):
        await in_a_thread(tombstones.look_again, tombstone.user_id, await statements.now() + SET_BACK)
        has_failed = False
        for name, step in ((POSTGRESQL, _leave_postgresql), (VALKEY, _leave_valkey), (MESSAGES, _leave_mailboxes)):
            if name not in tombstone.receipts:
                await keep()
                try:
                    await step(store, keep, tombstone)
                except StorageUnavailable:
                    has_failed = True
        await in_a_thread(_look_again, tombstone, has_failed)


def _look_again(tombstone: Tombstone, has_failed: bool) -> None:  # noqa: FBT001  (of a thread's call)
    """Soon while something could not be done; else when nothing is under way any more."""
    soon = clocks.postgresql_now() + TRY_AGAIN
    only_waits = not has_failed and POSTGRESQL in Tombstone.objects.get(pk=tombstone.pk).receipts
    tombstones.look_again(tombstone.user_id, max(soon, _nothing_comes_from(tombstone)) if only_waits else soon)


async def _leave_postgresql(_store: MessageStore, keep: Keep, tombstone: Tombstone) -> None:
    """Leave all conversations, so that their members hear of it; a little later delete every row."""
    last = UUID(int=0)
    while stays := await statements.rows(NEXT_STAYS, [tombstone.user_id, last]):
        for (last,) in stays:
            await keep()
            with contextlib.suppress(StorageUnavailable):
                await membership.leave_for_good(tombstone.user_id, last)
    if await statements.now() >= tombstone.deleted_at + SETTLED_AFTER:
        await in_a_thread(_delete_rows, tombstone.user_id)


def _delete_rows(user_id: UUID) -> None:
    """Delete the account's row, and with it all that refer to it. Raises StorageUnavailable while a conversation could not be left."""
    with transaction.atomic():
        # Locked against new stays: they refer to this row.
        user = User.objects.select_for_update().get(pk=user_id)
        if Member.objects.filter(user=user, left_seq=None).exists():
            raise StorageUnavailable
        device_ids = list(Device.objects.filter(user=user).values_list("pk", flat=True))
        removed: dict[str, int] = {}
        of_devices = (
            DeviceStart.objects.filter(device_id__in=device_ids),
            Gap.objects.filter(device_id__in=device_ids),
        )
        for rows in of_devices:
            removed |= rows.delete()[1]
        removed |= user.delete()[1]
        tombstones.sign(user_id, POSTGRESQL, rows={name: count for name, count in sorted(removed.items()) if count})
    logger.info("an account was erased from PostgreSQL: %d rows", sum(removed.values()))


async def _leave_valkey(_store: MessageStore, _keep: Keep, tombstone: Tombstone) -> None:
    """Delete every key that names the account, at once; and again when nobody is left who would write one: a socket that has not heard of its end does."""
    is_last = await statements.now() >= _nothing_comes_from(tombstone)
    if is_last or tombstone.user_id not in _emptied:
        removed = await in_a_thread(_delete_keys, tombstone.user_id)
        _emptied.add(tombstone.user_id)
        if is_last:
            await in_a_thread(_sign, tombstone.user_id, VALKEY, "keys", removed)
            _emptied.discard(tombstone.user_id)


def _delete_keys(user_id: UUID) -> int:
    """How many there were. Counters of its devices name no person; they and those of the number end within a day."""
    return valkey.delete_matching(f"*{user_id}*") + valkey.delete_matching(f"*{user_id.hex}*")


async def _leave_mailboxes(store: MessageStore, keep: Keep, tombstone: Tombstone) -> None:
    """Purge the mailboxes of its devices, an hour after they were unlinked: then nothing is under way to them."""
    now = await statements.now()
    if now < _nothing_comes_from(tombstone):
        return
    for dead in tombstones.mailboxes_of(tombstone):
        mailbox, now_ms = Mailbox(tombstone.user_id, dead.device_id), int(now.timestamp() * 1000)
        while not await purge_mailbox(store, mailbox, dead.created_ms, dead.unlinked_ms, now_ms, PURGED_AT_ONCE):
            await keep()
    await in_a_thread(_sign, tombstone.user_id, MESSAGES, "mailboxes", len(tombstone.mailboxes))


def _sign(user_id: UUID, store: str, what: str, count: int) -> None:
    with transaction.atomic():
        tombstones.sign(user_id, store, **{what: count})


def _nothing_comes_from(tombstone: Tombstone) -> datetime:
    """From when on nothing is under way to its devices or from them."""
    return tombstone.deleted_at + timedelta(milliseconds=LATEST_MS)
