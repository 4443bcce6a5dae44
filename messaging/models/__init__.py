"""The tables of the message store's alias."""

from messaging.models.sql import HistoryRow, MailboxCursor, MailboxRow, StoreHeartbeat

__all__ = ["HistoryRow", "MailboxCursor", "MailboxRow", "StoreHeartbeat"]
