"""What other apps announce, and what sockets hear of it; and what the log asks the message store.

Announcements come from the threads of the synchronous road, after their commit; what is told to sockets is told on the loop.
"""

from typing import Any
from uuid import UUID

from accounts.wire.refusals import StorageUnavailable
from conversations.allocation import Newest
from conversations.catching_up import ask_stores_with
from conversations.models import Member
from devices import connected
from devices.signals import Reason, account_deleted, device_changed, prekeys_low, registration_stopped
from messaging import close_codes, hints, online, runtime
from messaging.envelopes import Close, DevicesChanged, PrekeysLow
from messaging.store import message_store
from messaging.store.protocol import StoreUnavailable

TOLD_TO_PEERS = {Reason.LINKED, Reason.UNLINKED, Reason.REGISTERED, Reason.REINSTALLED}
REGISTRATION_ATTEMPT = "registration_attempt"
TOLD_TO_OWN_DEVICES = TOLD_TO_PEERS | {Reason.TOKEN_REUSE}


def connect() -> None:
    """Listen to the apps below. Called once, when the apps are ready."""
    device_changed.connect(on_device_changed, dispatch_uid="messaging.device_changed")
    prekeys_low.connect(on_prekeys_low, dispatch_uid="messaging.prekeys_low")
    registration_stopped.connect(on_registration_stopped, dispatch_uid="messaging.registration_stopped")
    account_deleted.connect(on_account_deleted, dispatch_uid="messaging.account_deleted")
    ask_stores_with(newest_entry)
    connected.ask_with(online.connected_devices)


async def newest_entry(conversation_id: UUID, at_least: int) -> Newest:
    """The newest entry the message store has of a conversation. Raises StorageUnavailable."""
    try:
        return await message_store().newest(conversation_id, at_least=at_least)
    except StoreUnavailable as failure:
        raise StorageUnavailable from failure


def on_device_changed(*, user_id: UUID, device_id: int, reason: Reason, **_: Any) -> None:
    """Close the device's sockets, and tell who has to know: peers, or its owner's other devices.

    The sockets first: whom to tell is asked of a database that may be gone by now.
    """
    runtime.on_the_loop(lambda: hints.close(device_id, Close(close_codes.UNAUTHENTICATED)))
    told, changed = _told(user_id, reason), DevicesChanged(user_id, device_id, reason.value)
    runtime.on_the_loop(lambda: hints.notify(told, changed, except_device=device_id))


def on_registration_stopped(*, user_id: UUID, **_: Any) -> None:
    """Warn the person's devices. None of them is concerned itself: no socket closes."""
    attempted = DevicesChanged(user_id, reason=REGISTRATION_ATTEMPT)
    runtime.on_the_loop(lambda: hints.notify([user_id], attempted))


def on_prekeys_low(*, device_id: int, count: int, pq_count: int, **_: Any) -> None:
    """Ask the device for more one-time prekeys."""
    runtime.on_the_loop(lambda: hints.notify_device(device_id, PrekeysLow(count, pq_count)))


def on_account_deleted(**_: Any) -> None:
    """Begin to erase what it has left."""
    runtime.wake_errands()


def _told(user_id: UUID, reason: Reason) -> list[UUID]:
    own = [user_id] if reason in TOLD_TO_OWN_DEVICES else []
    return own + (peers(user_id) if reason in TOLD_TO_PEERS else [])


def peers(user_id: UUID) -> list[UUID]:
    """Everybody else who shares a conversation with the user now."""
    mine = Member.objects.filter(user_id=user_id, left_seq=None).values("conversation_id")
    others = Member.objects.filter(conversation_id__in=mine, left_seq=None).exclude(user_id=user_id)
    return list(others.values_list("user_id", flat=True).distinct())
