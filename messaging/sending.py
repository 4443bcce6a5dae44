"""Sending: check what can be checked without the conversation, then the log decides."""

import asyncio
from functools import partial
from uuid import UUID

from django.conf import settings

from accounts import clocks
from accounts.ids import uuid7_ms
from accounts.wire.refusals import (
    ChatError,
    InvalidRequest,
    NotFound,
    RateLimited,
    RetryInOrder,
    StorageUnavailable,
    TooLarge,
)
from conversations.entries import MESSAGE
from conversations.sends import Send, Sent
from messaging.buckets import TokenBuckets
from messaging.counts import counts
from messaging.frames import LARGEST_CIPHERTEXT, wire_time
from messaging.group_commit import ANSWER_SECONDS, GroupCommit, Outcome

LARGEST_LEAD_MS = 5 * 60 * 1000


class Sending:
    """The door for sends of one process: limits, sizes and clocks here, everything else under the conversation's lock."""

    def __init__(self, commits: GroupCommit) -> None:
        self._commits = commits
        self._devices = TokenBuckets(rate=settings.LIMITS["SEND_PER_SECOND"][0], burst=settings.LIMITS["SEND_BURST"][0])
        per_second = settings.LIMITS["CONVERSATION_PER_SECOND"][0]
        self._conversations = TokenBuckets(rate=per_second, burst=per_second)
        # Set while the outbox is at its cap: better an explicit refusal than a full disk.
        self.outbox_is_full = False

    def begin(self, send: Send, *, largest: int) -> asyncio.Future[Outcome]:
        """A future of the outcome; refusals that need no database are there at once. Calls are ordered like `GroupCommit.submit`."""
        refused = self._refusal(send, largest)
        if refused is not None:
            return _refusing(refused)
        outcome = self._commits.submit(send)
        outcome.add_done_callback(partial(self._settle, send.conversation_id))
        return outcome

    async def send_message(self, send: Send, *, largest: int) -> Sent:
        """Commit a send that keeps no order with others of its device. Raises its refusal.

        Where it was queued behind one that has to be repeated it is submitted again: only its own merits count.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                outcome: Outcome = await asyncio.shield(self.begin(send, largest=largest))
                while isinstance(outcome, RetryInOrder):
                    outcome = await asyncio.shield(self._commits.submit(send))
        except TimeoutError as failure:
            raise StorageUnavailable from failure
        if isinstance(outcome, Sent):
            return outcome
        raise outcome

    def _settle(self, conversation_id: UUID, outcome: asyncio.Future[Outcome]) -> None:
        """Whoever is no member uses up nothing of what a conversation may say."""
        if isinstance(outcome.result(), NotFound):
            self._conversations.give_back(conversation_id)

    def _refusal(self, send: Send, largest: int) -> ChatError | None:
        if send.kind == MESSAGE and send.shared is None and any(item.ciphertext is None for item in send.messages):
            return InvalidRequest("A message needs a ciphertext for each device, or shared content.", field="messages")
        if (
            any(len(item.ciphertext or b"") > LARGEST_CIPHERTEXT for item in send.messages)
            or len(send.shared or b"") > LARGEST_CIPHERTEXT
        ):
            return TooLarge(limit="ciphertext", max=LARGEST_CIPHERTEXT)
        if send.size > largest:
            return TooLarge(limit="send", max=largest)
        return _id_refusal(send) or self._limit_refusal(send)

    def _limit_refusal(self, send: Send) -> ChatError | None:
        if self.outbox_is_full:
            return StorageUnavailable("Too many messages wait for their store.", retry_after=5)
        wait = self._devices.take(send.sender.device_id) or self._conversations.take(send.conversation_id)
        return RateLimited(retry_after=wait) if wait else None


def _refusing(refusal: ChatError) -> asyncio.Future[Outcome]:
    counts.refuse(refusal.code)
    outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    outcome.set_result(refusal)
    return outcome


def _id_refusal(send: Send) -> ChatError | None:
    now_ms = clocks.now_ms()
    made_ms = uuid7_ms(send.client_message_id)
    if made_ms is None or made_ms - now_ms > LARGEST_LEAD_MS:
        return InvalidRequest(
            "The client_message_id must be a UUIDv7 of now.", field="client_message_id", server_time=wire_time(now_ms)
        )
    return None
