"""Whether a device has taken its mail."""

from accounts import clocks
from messaging.envelopes import Mailbox
from messaging.store.protocol import MessageStore, StoreUnavailable

PAGE = 16
MOST_PAGES = 8


async def has_mail(store: MessageStore, mailbox: Mailbox) -> bool:
    """Whether something in the mailbox is not acknowledged; also where that cannot be found out soon."""
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
