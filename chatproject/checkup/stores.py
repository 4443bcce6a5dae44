"""Each store looked at directly, with the settings of this process: whether it answers, and whether the server uses the same one."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from django.conf import settings

from accounts import valkey
from chatproject.checkup.table import Unwell
from devices.models import Device
from messaging import restoring
from messaging.condition import MESSAGES, POSTGRESQL, REDIS, Store
from messaging.envelopes import Envelope, Mailbox
from messaging.probing import ANSWER_SECONDS, StoreProbes
from messaging.store import close_message_store, message_store
from messaging.store.protocol import MessageStore

Result = TypeVar("Result")

DEPOSITED_WITHIN_SECONDS = 10.0
# Opening a driver's connections is not what an answer takes.
FIRST_ANSWER_SECONDS = 10.0
KEY_SECONDS = 60


def checks() -> dict[str, Callable[[], None]]:
    """A check for each store, by its name in the table; none depends on another's."""
    return {
        "PostgreSQL answers and decides": lambda: _probe(POSTGRESQL),
        f"the message store ({settings.MESSAGES_ENGINE}) answers": lambda: _probe(MESSAGES),
        "Redis or Valkey answers, keeps and forgets": _use_redis,
    }


def belong_together() -> None:
    """Raises Unwell unless this PostgreSQL is the one the message store knows."""
    complaint = restoring.look().complaint
    if complaint is not None:
        raise Unwell(complaint)


def has_device(device_id: str) -> None:
    """Raises Unwell unless PostgreSQL here has the device that the server has registered."""
    if not Device.objects.filter(pk=int(device_id)).exists():
        raise Unwell("the server decides in another database than POSTGRES_URL names here")


def has_message(reader: Mailbox, conversation_id: str, seq: int, message_id: str) -> None:
    """Return when the message store here has what the server has accepted. Raises Unwell when it has not after a while."""
    deadline = time.monotonic() + DEPOSITED_WITHIN_SECONDS
    while not any(str(row.message_id) == message_id for row in _history(reader, UUID(conversation_id), seq)):
        if time.monotonic() > deadline:
            raise Unwell("the message is not in the message store that is named here: another one, or a backlog?")
        time.sleep(0.2)


def _history(reader: Mailbox, conversation_id: UUID, seq: int) -> list[Envelope]:
    return _of_messages(lambda store: store.history(reader, conversation_id, from_seq=seq, to_seq=seq))


def _probe(store: Store) -> None:
    async def ask(kept: MessageStore) -> None:
        probes = StoreProbes(kept)
        try:
            async with asyncio.timeout(FIRST_ANSWER_SECONDS if store == MESSAGES else ANSWER_SECONDS):
                await probes.by_store[store]()
        finally:
            await probes.close()

    _of_messages(ask, is_opened=store == MESSAGES)


def _use_redis() -> None:
    """A value is kept as it is, and gone when it was deleted."""
    _probe(REDIS)
    key, value = f"checkup:{secrets.token_hex(8)}", secrets.token_bytes(16)
    store = valkey.client()
    store.set(key, value, ex=KEY_SECONDS)
    kept = store.get(key)
    store.delete(key)
    if kept != value or store.exists(key):
        raise Unwell("it does not give back what it is given")


def _of_messages(ask: Callable[[MessageStore], Awaitable[Result]], *, is_opened: bool = True) -> Result:
    """What the message store says, on connections of its own."""

    async def answer() -> Result:
        try:
            if is_opened:
                async with asyncio.timeout(FIRST_ANSWER_SECONDS):
                    await message_store().open()
            return await ask(message_store())
        finally:
            await close_message_store()

    return asyncio.run(answer())
