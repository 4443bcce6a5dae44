"""Sessions of the web admin: rows in PostgreSQL, read through the cache.

The row decides. Emptying Valkey ends no session, and one that was ended is over at once; after a minute at the latest when Valkey did not hear of it.
"""

import re
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends import db
from django.utils import timezone

from accounts.cache import cached, forget

NAME = "sessions"
SECONDS = 60.0
# As Django makes them. What a cookie says otherwise is looked for nowhere.
_KEY = re.compile(r"[a-z0-9]{32}")


class SessionStore(db.SessionStore):
    """Django's own, that does not ask PostgreSQL with every request."""

    def load(self) -> dict[str, Any]:
        if not _KEY.fullmatch(self.session_key or ""):
            self._session_key = None
            return {}
        try:
            encoded, until = cached(NAME, self.session_key or "", self._read, SECONDS)
        except _NoSession:
            encoded, until = "", 0.0
        if until <= datetime.now(UTC).timestamp():
            self._session_key = None
            return {}
        return self.decode(encoded)

    def _read(self) -> list[Any]:
        """A session that is not there is not remembered: whoever guesses fills no memory."""
        row = self.model.objects.filter(session_key=self.session_key, expire_date__gt=timezone.now()).first()
        if row is None:
            raise _NoSession
        return [row.session_data, row.expire_date.timestamp()]

    def save(self, must_create: bool = False) -> None:  # noqa: FBT001, FBT002  (Django's signature)
        super().save(must_create)
        forget(NAME, self.session_key or "")

    async def asave(self, must_create: bool = False) -> None:  # noqa: FBT001, FBT002  (Django's signature)
        await super().asave(must_create)
        await sync_to_async(forget)(NAME, self.session_key or "")

    def delete(self, session_key: str | None = None) -> None:
        super().delete(session_key)
        forget(NAME, session_key or self.session_key or "")

    async def adelete(self, session_key: str | None = None) -> None:
        await super().adelete(session_key)
        await sync_to_async(forget)(NAME, session_key or self.session_key or "")


class _NoSession(Exception):
    """There is none of this key, or it is over."""
