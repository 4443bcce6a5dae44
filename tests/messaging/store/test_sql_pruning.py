"""What the SQL store removes, row by row."""

from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from accounts.postgresql import conninfo
from messaging.envelopes import Cursor
from messaging.models.sql import HistoryRow, MailboxCursor, MailboxRow
from messaging.store.sql import SqlStore
from tests.messaging.store.people import DAY, HOUR, Chat, ack, prune, read

pytestmark = pytest.mark.django_db(transaction=True, databases=["messages"])


@pytest.fixture
def chat() -> Chat:
    return Chat()


@pytest.fixture
async def store() -> AsyncIterator[SqlStore]:
    opened = SqlStore(conninfo("messages"))
    yield opened
    await opened.close()
    await sync_to_async(connections.close_all)()


async def test_ended_rows_go_from_every_page_of_the_table_and_the_others_stay(store: SqlStore, chat: Chat) -> None:
    ended, lasting = chat.entries(300, kept_ms=chat.now - 46 * DAY), chat.entries(300)
    for one, other in zip(ended, lasting, strict=True):
        await store.deposit([one, other])
    assert await prune(store, now=chat.now, size=1) == 300
    left = MailboxRow.objects.order_by("position").values_list("message_id", flat=True)
    assert [message_id async for message_id in left] == [entry.message_id for entry in lasting]
    assert len(await read(store, chat.phone, chat.id, 1, 600)) == 600, "history stays"
    assert await prune(store, now=chat.now) == 0


async def test_an_acknowledged_row_stays_as_long_as_its_message_could_come_back(store: SqlStore, chat: Chat) -> None:
    young, old = chat.entry(kept_ms=chat.now - 44 * DAY), chat.entry(kept_ms=chat.now - 46 * DAY)
    await store.deposit([young, old])
    await store.acknowledge([ack(chat.phone, young), ack(chat.phone, old)])
    assert await prune(store, now=chat.now) == 1
    assert (await MailboxRow.objects.aget()).message_id == young.message_id


async def test_expired_content_goes_and_its_row_stays(store: SqlStore, chat: Chat) -> None:
    expired = [chat.entry(shared=b"a while", expires_ms=chat.now - HOUR - number) for number in range(1, 8)]
    lasting = [chat.entry(shared=b"for all"), chat.entry(shared=b"a while", expires_ms=chat.now + HOUR)]
    await store.deposit([*expired, *lasting])
    await prune(store, now=chat.now, size=3)
    await store.deposit(expired)
    contents = HistoryRow.objects.order_by("seq").values_list("content", flat=True)
    found = [None if content is None else bytes(content) async for content in contents]
    assert found == [None] * 7 + [b"for all", b"a while"]


async def test_a_cursor_goes_when_it_was_not_moved_for_ninety_days(store: SqlStore, chat: Chat) -> None:
    await store.move_cursor(chat.phone, Cursor(5, 1), now_ms=chat.now - 91 * DAY)
    await store.move_cursor(chat.laptop, Cursor(5, 1), now_ms=chat.now - 89 * DAY)
    assert await prune(store, now=chat.now) == 1
    assert (await MailboxCursor.objects.aget()).device_id == chat.laptop.device_id
