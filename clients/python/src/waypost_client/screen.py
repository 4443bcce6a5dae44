"""What happens, as a person reads it."""

import msgspec

from . import lines
from .client import Client
from .console import Options, aside
from .events import Event, Message, Receipt, SystemEvent
from .names import Names


class Screen:
    """Events on standard output, the state of the connection on standard error. `at`: where the reader is."""

    def __init__(self, options: Options, client: Client, *, at: str | None = None) -> None:
        self._options = options
        self._client = client
        self._names = Names(client)
        self._at = at

    async def show(self, event: Event) -> None:
        if isinstance(event, Receipt) and not getattr(self._options, "receipts", False):
            return
        status = lines.status(event)
        if self._options.json:
            print(msgspec.json.encode(event).decode(), flush=True)
        elif status is not None:
            aside(self._options, status)
        elif (line := await self._line(event)) is not None:
            print(line, flush=True)

    async def _line(self, event: Event) -> str | None:
        names = self._names
        match event:
            case Message():
                mine = event.sender_user_id == self._client.user_id
                place = await names.place(event.conversation_id, at=self._at, said=not mine)
                return lines.message(event, await names.person(event.sender_user_id, event.conversation_id), place)
            case SystemEvent():
                place = await names.place(event.conversation_id, at=self._at)
                return lines.system(event, await names.people(event.conversation_id), place)
            case Receipt():
                return lines.receipt(event, await names.person(event.user_id, event.conversation_id))
            case _:
                about = getattr(event, "sender_user_id", None) or getattr(event, "user_id", None)
                return lines.notice(event, await names.person(about, getattr(event, "conversation_id", None)))
