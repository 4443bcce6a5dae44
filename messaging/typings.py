"""Typing: told once to the other members who want to hear it. What is too often is dropped without a word."""

from uuid import UUID

from django.conf import settings

from messaging import circles, hints
from messaging.buckets import TokenBuckets
from messaging.envelopes import Mailbox, Typing


def limit() -> TokenBuckets:
    """A few at once and one every few seconds for each device. A setting of 0 turns it off."""
    [seconds], [burst] = settings.LIMITS["TYPING_EVERY_SECONDS"], settings.LIMITS["TYPING_BURST"]
    return TokenBuckets(rate=1 / seconds if seconds else 0, burst=burst)


async def announce(typist: Mailbox, conversation_id: UUID, limits: TokenBuckets, *, active: bool) -> None:
    """Tell the others that the user types, or has stopped. Raises NotFound for whoever is no member, StorageUnavailable."""
    if not limits.take(typist.device_id):
        told = await circles.told_of_typing(typist.user_id, conversation_id)
        hints.notify(told, Typing(conversation_id, typist.user_id, active))
