"""Who must get a copy of a message: the members of a conversation, their devices, and the keys to reach them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from .api import Api
from .errors import Refused
from .inbox import Inbox
from .peers import Peer, Peers
from .sessions import Sessions
from .state import State
from .values import Bundle, Bundles, Conversation


@dataclass(slots=True)
class Audience:
    """The devices to seal for, and the bundles just fetched: each of them starts one session and is gone."""

    peers: dict[str, Peer] = field(default_factory=dict)
    bundles: dict[str, Bundle] = field(default_factory=dict)


class Directory:
    def __init__(self, state: State, api: Api, inbox: Inbox, peers: Peers, sessions: Sessions) -> None:
        self._state = state
        self._api = api
        self._inbox = inbox
        self._peers = peers
        self._sessions = sessions

    async def conversation(self, conversation_id: str) -> Conversation:
        """The conversation with its members, asked for again after they changed."""
        row = self._state.db.execute(
            "SELECT detail FROM conversations WHERE conversation_id = ? AND fresh", (conversation_id,)
        ).fetchone()
        if row is not None:
            return msgspec.json.decode(row[0], type=Conversation)
        conversation = await self._api.call("GET", f"conversations/{conversation_id}", Conversation)
        self.keep(conversation)
        return conversation

    def keep(self, conversation: Conversation) -> None:
        """Remember a conversation that came with its members."""
        with self._state.transaction() as db:
            db.execute(
                "INSERT INTO conversations (conversation_id, detail, fresh) VALUES (?, ?, 1)"
                " ON CONFLICT (conversation_id) DO UPDATE SET detail = excluded.detail, fresh = 1",
                (conversation.conversation_id, msgspec.json.encode(conversation)),
            )

    def name_of(self, user_id: str) -> str | None:
        """What a remembered conversation calls this user."""
        rows = self._state.db.execute("SELECT detail FROM conversations WHERE detail IS NOT NULL")
        members = (msgspec.json.decode(detail, type=Conversation).members or () for (detail,) in rows)
        return next((member.name for listed in members for member in listed if member.user_id == user_id), None)

    def doubt(self, conversation_id: str) -> None:
        """Ask for the members again before they are used."""
        self._state.db.execute("UPDATE conversations SET fresh = 0 WHERE conversation_id = ?", (conversation_id,))

    async def audience(self, conversation_id: str) -> Audience:
        """Every device of the members as last known, the own other ones too."""
        conversation = await self.conversation(conversation_id)
        audience = Audience()
        for user_id in self._users(conversation):
            if not self._peers.roster_known(user_id):
                await self._meet_all(audience, user_id)
            audience.peers |= {peer.device_id: peer for peer in self._peers.of_user(user_id)}
        await self.complete(audience)
        return audience

    async def corrected(self, conversation_id: str, audience: Audience, refusal: Refused) -> Audience:
        """The audience after the server named devices that are missing, extra, or re-installed."""
        for device_id in _strings(refusal.facts.get("extra")):
            audience.peers.pop(device_id, None)
        await self._drop_unlinked(conversation_id, refusal)
        for user_id, device_id in _missing(refusal.facts):
            await self._include(audience, user_id, device_id)
        for device_id in _strings(refusal.facts.get("stale")):
            await self._meet_again(audience, device_id)
        await self.complete(audience)
        return audience

    async def complete(self, audience: Audience) -> None:
        """Fetch a bundle for whoever cannot be reached without one."""
        for device_id, peer in list(audience.peers.items()):
            if device_id not in audience.bundles and (peer.wants_session or not self._sessions.can_reach(peer)):
                await self._reach(audience, peer)

    def known(self, device_ids: list[str]) -> Audience:
        """The same devices again."""
        peers = (self._peers.get(device_id) for device_id in device_ids)
        return Audience({peer.device_id: peer for peer in peers if peer is not None})

    def _users(self, conversation: Conversation) -> list[str]:
        own = str(self._state.fact("user_id"))
        return sorted({own} | {member.user_id for member in conversation.members or ()})

    async def _reach(self, audience: Audience, peer: Peer) -> None:
        """A bundle for a known device, unless a session will do and the server gives none now."""
        try:
            await self._fetch_one(audience, peer.user_id, peer.device_id)
        except Refused:
            if not self._sessions.can_reach(peer):
                raise

    async def _include(self, audience: Audience, user_id: str, device_id: str) -> None:
        peer = self._peers.get(device_id)
        if peer is None:
            await self._fetch_one(audience, user_id, device_id)
        else:
            self._peers.revive(device_id)
            audience.peers[device_id] = peer

    async def _meet_again(self, audience: Audience, device_id: str) -> None:
        peer = self._peers.get(device_id)
        if peer is not None:
            await self._fetch_one(audience, peer.user_id, device_id)

    async def _fetch_one(self, audience: Audience, user_id: str, device_id: str) -> None:
        """A device without a bundle was unlinked meanwhile, most likely; if not, the server will name it as missing."""
        try:
            await self._fetch(audience, user_id, device_id)
        except Refused as refusal:
            if refusal.code != "NOT_FOUND":
                raise
            audience.peers.pop(device_id, None)
            self._peers.retire(device_id)

    async def _meet_all(self, audience: Audience, user_id: str) -> None:
        """First contact with a user. Somebody without a reachable device is somebody with an empty roster."""
        try:
            await self._fetch(audience, user_id, "*")
        except Refused as refusal:
            if refusal.code != "NOT_FOUND":
                raise
        with self._state.transaction():
            self._peers.know_roster(user_id)

    async def _fetch(self, audience: Audience, user_id: str, which: str) -> None:
        found = await self._api.call("GET", f"keys/{user_id}/{which}", Bundles)
        with self._state.transaction():
            for bundle in found.devices:
                self._meet(user_id, bundle)
        for bundle in found.devices:
            audience.bundles[bundle.device_id] = bundle
            audience.peers[bundle.device_id] = Peer(
                bundle.device_id, user_id, bundle.registration_id, bundle.identity_key
            )

    def _meet(self, user_id: str, bundle: Bundle) -> None:
        peer = Peer(bundle.device_id, user_id, bundle.registration_id, bundle.identity_key)
        vouched = self._peers.vouched(user_id, bundle)
        # The first key seen is believed. A device beside the primary that nobody vouches for is told of, also then.
        is_no_news = not self._peers.roster_known(user_id) and (vouched or bundle.is_primary)
        for event in self._peers.meet(peer, vouched=vouched, first_contact=is_no_news):
            self._inbox.tell(event)

    async def _drop_unlinked(self, conversation_id: str, refusal: Refused) -> None:
        """An extra device was unlinked, or its owner is no member any more; only in the first case is it gone elsewhere."""
        extra = _strings(refusal.facts.get("extra"))
        if not extra and not refusal.facts.get("missing"):
            return
        self.doubt(conversation_id)
        members = self._users(await self.conversation(conversation_id))
        for peer in filter(None, map(self._peers.get, extra)):
            if peer.user_id in members:
                self._peers.retire(peer.device_id)


def _strings(listed: Any) -> list[str]:
    return [str(entry) for entry in listed] if isinstance(listed, list) else []


def _missing(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(str(entry["user_id"]), str(entry["device_id"])) for entry in facts.get("missing") or ()]
