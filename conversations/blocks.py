"""Direct conversations of two people one of whom blocks the other: nobody sends in them.

The flag is a column of the row that every send locks, and changes with the block itself, in one transaction under that lock. So a send reads nothing
more to know it, and when a block was answered, nothing of the other is committed any more.
"""

from typing import Any
from uuid import UUID

from django.db import connection

from accounts.relationships import block_between, block_changed

MARK = f"""
UPDATE conversations_conversation SET blocked = {block_between("direct_low", "direct_high")} WHERE direct_low = %s AND direct_high = %s
"""  # noqa: S608  (constants)


def connect() -> None:
    """Listen to changes of blocks. Called once, when the apps are ready."""
    block_changed.connect(mark, dispatch_uid="conversations.blocks")


def mark(*, pair: tuple[UUID, UUID], **_: Any) -> None:
    """Write what holds between the two into their direct conversation, if there is one. Part of the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(MARK, pair)
