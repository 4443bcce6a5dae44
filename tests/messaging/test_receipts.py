"""How far somebody has read: whatever a client says, in whatever order, the mark is true and only moves forward."""

import random
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async

from accounts.wire.refusals import InvalidRequest, NotFound
from conversations import log
from conversations.models import Member
from messaging import receipts
from messaging.envelopes import Mailbox
from messaging.store.memory import MemoryStore
from tests.cast import Installation
from tests.conversations_of import direct, send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hot_road")]


@pytest.mark.parametrize("seed", range(5))
async def test_a_mark_never_goes_back_and_never_beyond_what_was_said(
    seed: int, alice_phone: Installation, bob_phone: Installation, mallory: Installation
) -> None:
    dice = random.Random(seed)  # noqa: S311  (a schedule, not a secret)
    conversation = await sync_to_async(direct)(alice_phone, bob_phone)
    bob, eve = (Mailbox(UUID(device.user_id), int(device.device_id)) for device in (bob_phone, mallory))
    head = mark = 0
    for _ in range(30):
        if dice.random() < 0.3:
            head += len((await log.append([send(conversation, alice_phone, [bob_phone])])).entries)
        seq = dice.randint(1, head + 3)
        if seq > head:
            with pytest.raises(InvalidRequest):
                await receipts.read(bob, conversation, seq, MemoryStore())
        else:
            await receipts.read(bob, conversation, seq, MemoryStore())
            mark = max(mark, seq)
        with pytest.raises(NotFound):
            await receipts.read(eve, conversation, seq, MemoryStore())
        assert (await Member.objects.aget(user_id=bob.user_id)).last_read_seq == mark
