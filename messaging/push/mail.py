"""Whether devices have taken their mail."""

import asyncio
from collections.abc import Sequence

from accounts import clocks
from messaging.envelopes import Mailbox
from messaging.store.protocol import MessageStore, StoreUnavailable

PAGE = 16
MOST_PAGES = 8
AT_ONCE = 8
LOOK_SECONDS = 5.0


async def left_in(store: MessageStore, mailboxes: Sequence[Mailbox]) -> set[int]:
    """Those devices whose mailbox has something un-acknowledged; also those of which that is not found out within LOOK_SECONDS for all."""
    empty: set[int] = set()
    turns = asyncio.Semaphore(AT_ONCE)

    async def look(mailbox: Mailbox) -> None:
        async with turns:
            if not await _has_mail(store, mailbox):
                empty.add(mailbox.device_id)

    try:
        async with asyncio.timeout(LOOK_SECONDS), asyncio.TaskGroup() as looking:
            for mailbox in mailboxes:
                looking.create_task(look(mailbox))
    except TimeoutError:
        pass
    return {mailbox.device_id for mailbox in mailboxes} - empty


async def _has_mail(store: MessageStore, mailbox: Mailbox) -> bool:
    try:
        since, now_ms = await store.cursor(mailbox), clocks.now_ms()
        page: bytes | None = None
        for _ in range(MOST_PAGES):
            read = await store.pending(mailbox, since=since, now_ms=now_ms, page=page, limit=PAGE)
            if read.envelopes:
                return True
            page = read.next_page
            if page is None:
                return False
    except StoreUnavailable:
        pass
    return True
