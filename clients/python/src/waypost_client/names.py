"""What to call people and conversations, asked of the server once per process."""

from .client import Client
from .errors import Refused, Unreachable
from .values import Conversation


class Names:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._people: dict[str, str] = {}
        self._asked: set[str] = set()

    async def person(self, user_id: str | None, conversation_id: str | None = None) -> str:
        """`You` for the account itself; the start of the id for whom the server does not name."""
        if user_id is None:
            return "somebody"
        if user_id == self._client.user_id:
            return "You"
        if user_id not in self._people and conversation_id is not None:
            await self.conversation(conversation_id)
        return self._people.get(user_id) or self._client.name_of(user_id)

    async def people(self, conversation_id: str) -> dict[str, str]:
        """The members, by user_id."""
        await self.conversation(conversation_id)
        return self._people | {self._client.user_id: "You"}

    async def place(self, conversation_id: str, *, at: str | None = None, said: bool = True) -> str | None:
        """The conversation's title; None where the reader is there, `at`, or where the name of who `said` it is enough."""
        conversation = await self.conversation(conversation_id)
        if conversation is None or conversation_id == at or (said and conversation.kind == "direct"):
            return None
        return conversation.title

    async def conversation(self, conversation_id: str) -> Conversation | None:
        """As the server tells it, None when it does not."""
        fresh = conversation_id not in self._asked
        self._asked.add(conversation_id)
        try:
            conversation = await self._client.conversation(conversation_id, fresh=fresh)
        except (Refused, Unreachable):
            return None
        self._people |= {member.user_id: member.name for member in conversation.members or ()}
        return conversation
