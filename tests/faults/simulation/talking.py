"""What a device wants to say in one conversation, and what of it is under way: the client rules for sending."""

from collections import deque
from uuid import UUID

from tests.faults.load import payload

MARK = "simulation"
MOST_AT_ONCE = 4
# The server will not take it, however often it is sent.
FINAL = frozenset({"NOT_FOUND", "STALE_KEY", "INVALID_REQUEST", "TOO_LARGE", "FORBIDDEN"})
# After these it may be stored all the same.
UNKNOWN = frozenset({"STORAGE_UNAVAILABLE"})


class Message:
    """Something a person wants to say, until it is said."""

    def __init__(self, device_id: str, conversation_id: UUID, mid: UUID, number: int, size: int) -> None:
        self.device_id = device_id
        self.conversation_id = conversation_id
        self.mid = mid
        self.number = number
        self.size = size
        self.asked_at = 0.0
        self.digest = payload.digest_of(MARK, device_id, str(conversation_id), str(mid), number)

    def copy_for(self, device_id: int) -> bytes:
        """What stands where a device's ciphertext would."""
        facts = (MARK, self.device_id, str(self.conversation_id), str(self.mid), self.number, str(device_id))
        return payload.pack(*facts, size=self.size)


class Talk:
    """The queue of one device in one conversation. A few are under way at once; behind a failure nothing goes before all of them are answered."""

    def __init__(self) -> None:
        self.queue: deque[Message] = deque()
        self.asked: dict[str, Message] = {}
        self.number = 0
        self.again_at = 0.0
        self.is_broken = False
        # The person is no member any more.
        self.is_over = False

    @property
    def is_idle(self) -> bool:
        return self.is_over or not (self.queue or self.asked)

    def may_go(self, now: float) -> list[Message]:
        """What is to be sent now, in order."""
        if now < self.again_at or (self.is_broken and self.asked):
            return []
        self.is_broken = False
        under_way = {message.number for message in self.asked.values()}
        waiting = [message for message in self.queue if message.number not in under_way]
        return waiting[: MOST_AT_ONCE - len(self.asked)]

    def said(self, message: Message) -> None:
        """It has its place."""
        if message in self.queue:
            self.queue.remove(message)

    def drop(self, message: Message, code: str) -> None:
        """It was refused for good. Whoever is no member says nothing more."""
        self.said(message)
        if code == "NOT_FOUND":
            self.queue.clear()

    def wait(self, until: float) -> None:
        """What failed goes first, and not before this."""
        self.is_broken = True
        self.again_at = max(self.again_at, until)

    def give_up_waiting(self) -> list[str]:
        """The socket is gone: the calls that have no answer."""
        calls = list(self.asked)
        self.asked.clear()
        self.is_broken = False
        return calls
