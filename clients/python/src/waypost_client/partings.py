"""Conversations this device is no member of any more: until when to wait for what was said before it left.

The server resolves nothing for a former member, but what was committed before is still on its way by mailbox, however long a store is away. A
connection that was opened after the first refusal has brought all of it once it has said `queue_empty`.
"""


class Partings:
    """Remembers on which connection each conversation was refused first."""

    def __init__(self) -> None:
        self._connection = 0
        self._caught_up = False
        self._refused_on: dict[str, int] = {}

    def connected(self) -> None:
        """A new connection begins."""
        self._connection += 1
        self._caught_up = False

    def caught_up(self) -> None:
        """It has said `queue_empty`."""
        self._caught_up = True

    def refused(self, conversation_id: str) -> bool:
        """Resolving was refused. Whether nothing is coming any more, so that gaps are to be passed over."""
        refused_on = self._refused_on.setdefault(conversation_id, self._connection)
        return self._caught_up and refused_on < self._connection

    def admitted(self, conversation_id: str) -> None:
        """Resolving was answered: a member, again or still."""
        self._refused_on.pop(conversation_id, None)

    @property
    def only_a_new_connection_tells(self) -> bool:
        """Whether this connection has brought all it can promise to bring."""
        return self._caught_up
