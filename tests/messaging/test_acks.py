"""Acks on their way to a store that refuses some of them."""

from collections.abc import Sequence
from uuid import uuid4

import pytest

from messaging.acks import Acknowledged, AckWriter
from messaging.envelopes import Ack, Mailbox
from messaging.store.memory import MemoryStore
from messaging.store.protocol import StoreRefused, StoreUnavailable


class PickyStore(MemoryStore):
    """Refuses whatever brings the ack of a certain message."""

    async def acknowledge(self, acks: Sequence[Ack]) -> None:
        if any(ack.message_id == 13 for ack in acks):
            message = "PostgreSQL: DataError"
            raise StoreRefused(message)
        await super().acknowledge(acks)


async def test_an_ack_the_store_refuses_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    written: list[Acknowledged] = []
    acks = AckWriter(PickyStore(), written.extend)
    phone = Mailbox(uuid4(), 7)
    acks.add([Acknowledged(Ack(phone, number, number, 1)) for number in range(1, 101)])
    await acks.drain()
    assert sorted(item.ack.message_id for item in written) == [number for number in range(1, 101) if number != 13]
    assert ["13" in record.message for record in caplog.records] == [True]


class SlowStore(MemoryStore):
    """Does not get through more than twenty in the time a call has, after an outage that ends with the third call."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    async def acknowledge(self, acks: Sequence[Ack]) -> None:
        self.asked.append(len(acks))
        if len(self.asked) < 3 or len(acks) > 20:
            raise StoreUnavailable
        await super().acknowledge(acks)


async def test_acks_that_have_piled_up_are_written_in_numbers_a_slow_store_can_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("messaging.acks.PAUSES", (0.0,))
    written: list[Acknowledged] = []
    store = SlowStore()
    acks = AckWriter(store, written.extend)
    phone = Mailbox(uuid4(), 7)
    acks.add([Acknowledged(Ack(phone, number, number, 1)) for number in range(1, 1001)])
    await acks.drain()
    assert [item.ack.message_id for item in written] == list(range(1, 1001))
    assert max(store.asked[4:]) <= 32
    assert len(store.asked) < 150
