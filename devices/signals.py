"""What `devices` announces upwards, after the transaction that made it true has committed."""

import enum
from uuid import UUID

from django.db import transaction
from django.dispatch import Signal

# Sent with user_id: UUID, device_id: int, reason: Reason.
device_changed = Signal()

# Sent with device_id: int, count: int, pq_count: int, when a bundle left the device's pools low, or an era began with them empty.
prekeys_low = Signal()


# Sent with user_id: UUID, when somebody has proven the person's number and was stopped by the registration lock.
registration_stopped = Signal()

# Sent with user_id: UUID, when an account was made unusable and its erasure is due.
account_deleted = Signal()


class Reason(enum.StrEnum):
    """Why a device changed. After each of these its sockets are to be closed (4401): its tokens are gone, or replaced by new ones."""

    LINKED = "linked"
    UNLINKED = "unlinked"
    REGISTERED = "registered"
    REINSTALLED = "reinstalled"
    LOGGED_OUT = "logged_out"
    BLOCKED = "blocked"
    TOKEN_REUSE = "token_reuse"  # noqa: S105  (a reason, not a secret)


def ask_for_prekeys(device_id: int, *, count: int, pq_count: int) -> None:
    """Send `prekeys_low` when the running transaction has committed."""
    facts = {"device_id": device_id, "count": count, "pq_count": pq_count}
    transaction.on_commit(lambda: prekeys_low.send_robust(sender=None, **facts))


def announce(user_id: UUID, device_id: int, reason: Reason) -> None:
    """Send `device_changed` when the running transaction has committed; a receiver that fails does not undo anything."""
    transaction.on_commit(
        lambda: device_changed.send_robust(sender=Reason, user_id=user_id, device_id=device_id, reason=reason)
    )


def warn_of_registration(user_id: UUID) -> None:
    """Send `registration_stopped`; a receiver that fails does not undo anything."""
    registration_stopped.send_robust(sender=Reason, user_id=user_id)
