"""Connections to Cassandra on which an answer goes to whoever has asked, whatever a node sends, and which hold up no loop when they end.

Many requests share a connection; each has a number, its stream, and its answer carries the same. A Cassandra 5.0.8 that has kept a request
waiting for longer than `native_transport_timeout` answers it with an error on stream 0, whichever it came on. The driver takes that for the answer
to what it has asked on stream 0, or for a number that is free again: from then on it gives stream 0 to two requests at a time, and each may
get what the other has asked for, another device's mailbox among it.
"""

import logging
from typing import Any

from cassandra.cluster import DefaultConnection
from cassandra.connection import ConnectionException

logger = logging.getLogger(__name__)

# Where answers arrive that are somebody else's. Nothing is asked there; who asked elsewhere waits until its time is over.
ASTRAY = 0
# A number whose answer went astray never comes back, and the driver replaces worn-out connections of ScyllaDB only; on one that has none left
# it waits on the thread that asks. A new number is taken only where no former one is free, and never are half as many under way at once.
HIGHEST = 8192


class OwnStreams(DefaultConnection):  # type: ignore[misc]  # the driver has no types
    """Asks nothing on stream 0. It is given up when its numbers run out, or cannot be trusted: an answer without a question, a number taken twice."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The driver's own is emptied by a caller that has waited too long, though the answer is still to come.
        self._asked: set[int] = set()
        self._has_said = False
        super().__init__(*args, **kwargs)

    def get_request_id(self) -> int:
        """A stream on which nothing is asked; called with the connection's lock held."""
        stream: int = super().get_request_id()
        while stream == ASTRAY:
            stream = super().get_request_id()
        return stream

    def send_msg(self, msg: Any, request_id: int, *args: Any, **kwargs: Any) -> int:
        """Ask; the bytes that were sent. Raises ConnectionShutdown where the stream is taken, or is one of the last."""
        with self.lock:
            is_taken = request_id in self._asked
            self._asked.add(request_id)
        if is_taken:
            self._give_up("two questions with one number")
        elif request_id > HIGHEST:
            self._give_up("too many answers never came")
        try:
            return int(super().send_msg(msg, request_id, *args, **kwargs))
        except Exception:
            self._asked.discard(request_id)
            raise

    def process_msg(self, header: Any, body: Any) -> None:
        """Take an answer to whoever has asked for it."""
        stream = header.stream
        if stream == ASTRAY and not self._has_said:
            self._has_said = True
            logger.warning("Cassandra has answered astray")
        if stream == ASTRAY or self.is_defunct:
            return
        if stream > 0 and stream not in self._asked:
            self._give_up("an answer without a question")
            return
        # Before its number is free for the next one.
        self._asked.discard(stream)
        super().process_msg(header, body)

    def close(self) -> None:
        """Afterwards nothing is asked here, and the pool it belongs to knows: else it would find out by a request, that waits two seconds for another one."""
        was_closed = self.is_closed
        super().close()
        pool = getattr(self._on_orphaned_stream_released, "__self__", None)
        if pool is None or was_closed or pool.is_shutdown:
            return
        shard = self.features.shard_id
        if pool._connections.get(shard) is self:  # noqa: SLF001
            # A pool without connections refuses at once. What else is to be done for it takes locks that may be held here.
            pool._connections.pop(shard, None)  # noqa: SLF001
            pool._session.submit(pool.return_connection, self, stream_was_orphaned=True)  # noqa: SLF001

    def _give_up(self, reason: str) -> None:
        logger.error("a connection to Cassandra is given up: %s", reason)
        self.defunct(ConnectionException(reason, self.endpoint))
