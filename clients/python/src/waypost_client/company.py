"""A client among others: who they are to one, who is there, and the conversations with them."""

from collections.abc import Iterable

import msgspec

from .errors import GroupTooLarge
from .events import Person
from .listing import everything
from .people import People
from .running import Running
from .values import Conversation, Member, User

MOST_MEMBERS = 32


class _Members(msgspec.Struct):
    items: tuple[Member, ...] = ()


class Company(Running):
    """What concerns others."""

    @property
    def people(self) -> People:
        """One's settings, friends and blocks."""
        return People(self._api, self.user_id_of)

    async def watch(self, users: Iterable[User | str]) -> tuple[Person, ...]:
        """Who of these is there. What changes comes as `Presence` events, until the next call or connection; those out of sight are left out."""
        return (await self._link.watch([await self.user_id_of(user) for user in users])).users

    async def say_typing(self, conversation_id: str, *, active: bool = True) -> None:
        """Let the others know that one types: say it every 3 s, and `active=False` at the end."""
        await self._link.say_typing(conversation_id, active=active)

    async def signal_call(
        self, conversation_id: str, signal: str, body: bytes, *, device_id: str | None = None
    ) -> None:
        """Tell connected devices something about a call: one, or all of the conversation's. What they answer are `CallSignal` events."""
        fields = {"conversation_id": conversation_id, "signal": signal, "body": body}
        await self._link.signal_call(fields | ({"device_id": device_id} if device_id else {}))

    async def direct(self, user: User | str) -> Conversation:
        """The direct conversation with a user, given by value, user name or id; made when it is not there yet."""
        body = {"kind": "direct", "user_id": await self.user_id_of(user)}
        return await self._api.call("POST", "conversations", Conversation, body=body)

    async def create_group(self, name: str, members: Iterable[User | str]) -> Conversation:
        """A new group. GroupTooLarge above 32 members."""
        member_ids = [await self.user_id_of(member) for member in members]
        if len({*member_ids, self.user_id}) > MOST_MEMBERS:
            raise GroupTooLarge
        body = {"kind": "group", "name": name, "member_ids": member_ids}
        return await self._api.call("POST", "conversations", Conversation, body=body)

    async def conversations(self) -> list[Conversation]:
        """All of them, the last active first."""
        return await everything(self._api, "conversations", Conversation)

    async def conversation(self, conversation_id: str, *, fresh: bool = True) -> Conversation:
        """A conversation with its members. `fresh=False` is content with what is remembered, if no change is known."""
        if fresh:
            self._directory.doubt(conversation_id)
        return await self._directory.conversation(conversation_id)

    def name_of(self, user_id: str) -> str:
        """What to call a user, as far as it is remembered: no question goes to the server."""
        return self._directory.name_of(user_id) or user_id[:8]

    async def add_members(self, conversation_id: str, members: Iterable[User | str]) -> list[Member]:
        """All of them or none."""
        user_ids = [await self.user_id_of(member) for member in members]
        added = await self._api.call(
            "POST", f"conversations/{conversation_id}/members", _Members, body={"user_ids": user_ids}
        )
        self._directory.doubt(conversation_id)
        return list(added.items)

    async def remove_member(self, conversation_id: str, member: User | str) -> None:
        user_id = await self.user_id_of(member)
        await self._api.call("DELETE", f"conversations/{conversation_id}/members/{user_id}")
        self._directory.doubt(conversation_id)

    async def leave(self, conversation_id: str, *, successor: User | str | None = None) -> None:
        """Leave. The last admin must name a successor."""
        body = {"successor_user_id": await self.user_id_of(successor)} if successor is not None else None
        await self._api.call("POST", f"conversations/{conversation_id}/leave", body=body)
        self._directory.doubt(conversation_id)
