"""What this process knows of its stores: which of them are away.

One missed answer is no outage, and one answer no end of it: a belief changes with the second surprise in a row. Whoever needs a store asks it, or
what is believed of it, here: sockets are told of it, `/health/ready` and `/metrics` show it.
"""

import logging
from collections.abc import Callable
from typing import Literal

logger = logging.getLogger(__name__)

Store = Literal["redis", "messages", "postgresql"]

REDIS: Store = "redis"
MESSAGES: Store = "messages"
POSTGRESQL: Store = "postgresql"
STORES = (REDIS, MESSAGES, POSTGRESQL)
SURPRISES = 2
NAMES: dict[Store, str] = {REDIS: "Redis", MESSAGES: "the message store", POSTGRESQL: "PostgreSQL"}

Changed = Callable[[], None]


class Condition:
    """The belief of one process. `changed` is called after each change of `away`."""

    def __init__(self, changed: Changed) -> None:
        self._changed = changed
        self._is_away: dict[Store, bool] = {}
        self._surprises: dict[Store, int] = dict.fromkeys(STORES, 0)
        self._latency_ms: dict[Store, float] = {}

    @property
    def away(self) -> tuple[Store, ...]:
        """The stores that are away; those nobody has asked yet are not."""
        return tuple(store for store in STORES if self.is_away(store))

    def is_away(self, store: Store) -> bool:
        return self._is_away.get(store, False)

    def is_doubtful(self, store: Store) -> bool:
        """Whether the last answer, or the lack of one, was a surprise."""
        return self._surprises[store] > 0

    def latency_ms(self, store: Store) -> float | None:
        """How long its last answer took; None while it is away, or was not asked yet."""
        return None if self.is_away(store) else self._latency_ms.get(store)

    def answered(self, store: Store, *, latency_ms: float) -> None:
        """It has answered, and this is how long it took."""
        self._latency_ms[store] = latency_ms
        self._note(store, away=False)

    def missed(self, store: Store) -> None:
        """It was asked, and has not answered in time."""
        self._note(store, away=True)

    def _note(self, store: Store, *, away: bool) -> None:
        is_first = store not in self._is_away
        self._surprises[store] = self._surprises[store] + 1 if away != self.is_away(store) else 0
        if is_first or self._surprises[store] >= SURPRISES:
            self._believe(store, away=away)

    def _believe(self, store: Store, *, away: bool) -> None:
        has_changed = away != self.is_away(store)
        self._is_away[store], self._surprises[store] = away, 0
        if has_changed:
            logger.warning("%s %s", NAMES[store], "is away" if away else "is back")
            self._changed()
