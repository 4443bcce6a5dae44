"""The door for sends: what is refused there, and whom it costs."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from accounts.wire.refusals import NotFound, RateLimited
from conversations import log
from conversations.sends import Sent
from messaging.group_commit import GroupCommit
from messaging.sending import Sending
from tests.cast import Installation
from tests.conversations_of import direct, send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hot_road")]


async def test_a_stranger_does_not_use_up_what_a_conversation_may_say(
    alice_phone: Installation, bob_phone: Installation, mallory: Installation, settings: Any
) -> None:
    settings.LIMITS = settings.LIMITS | {"SEND_BURST": [0], "CONVERSATION_PER_SECOND": [3]}
    conversation = await sync_to_async(direct)(alice_phone, bob_phone)
    commits = GroupCommit(log.append, lambda _: None)
    sending = Sending(commits)

    async def say(device: Installation) -> object:
        return await sending.begin(send(conversation, device, [bob_phone]), largest=1000)

    assert [type(await say(mallory)) for _ in range(6)] == [NotFound] * 6
    assert [type(await say(alice_phone)) for _ in range(3)] == [Sent] * 3
    outcomes = {type(await say(alice_phone)) for _ in range(6)}
    assert RateLimited in outcomes, "members are limited all the same"
    await commits.close()
