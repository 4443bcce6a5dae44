"""Letting a device in, and being let in: the two sides of a QR code.

The showing device signs for the new one's identity key; the new one believes the server only if that signature is of the key in the code.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

from .api import Api
from .clock import ServerClock
from .errors import AlreadyRegistered, LinkEnded, NotALinkCode, NotVouched, Refused, WrongFingerprint
from .keyring import Keyring
from .keys import fingerprint, link_statement, sign, verifies
from .peers import Peers
from .registration import describe, keep
from .state import State
from .values import LinkedBy, Registration, Value

VERSION = 1
# Asked so often while a person looks from one screen to the other.
ASK_EVERY = 1.0
# A link lives 300 s until it is approved, and as long again until it is fetched.
PATIENCE = 600.0


class LinkCode(Value, frozen=True, kw_only=True):
    """What the QR code says. `identity_key` is the showing device's."""

    v: int
    server: str
    link_token: str
    user_id: str
    identity_key: bytes


class Opened(Value, frozen=True, kw_only=True):
    """A link to be claimed. `text` goes into the QR code."""

    link_id: str
    text: str


class Claimant(Value, frozen=True, kw_only=True):
    """Who has claimed a link."""

    name: str
    platform: str
    device_uuid: str
    identity_key: bytes

    @property
    def fingerprint(self) -> str:
        """Of the key itself, whatever the server says it is."""
        return fingerprint(self.identity_key)


class LinkState(Value, frozen=True, kw_only=True):
    """How a link stands."""

    link_id: str
    status: str
    expires_at: datetime | None = None
    device_id: str | None = None
    claimant: Claimant | None = None


class _Fetched(Value, frozen=True, kw_only=True):
    status: str
    registration: Registration | None = None
    linked_by: LinkedBy | None = None


class _NewLink(Value, frozen=True, kw_only=True):
    link_id: str
    link_token: str


class _Claim(Value, frozen=True, kw_only=True):
    link_id: str
    claim_secret: str


class Linking:
    """The showing side, for the account's primary device."""

    def __init__(self, state: State, api: Api) -> None:
        self._state = state
        self._api = api

    async def open(self) -> Opened:
        """A new link, for five minutes."""
        new = await self._api.call("POST", "devices/link", _NewLink)
        code = LinkCode(
            v=VERSION,
            server=self._api.server,
            link_token=new.link_token,
            user_id=str(self._state.fact("user_id")),
            identity_key=Keyring(self._state).identity_key,
        )
        return Opened(link_id=new.link_id, text=msgspec.json.encode(code).decode())

    async def look(self, link_id: str) -> LinkState:
        """How it stands now."""
        return await self._api.call("GET", f"devices/link/{link_id}", LinkState)

    async def claimant(self, link_id: str, *, within: float = PATIENCE) -> Claimant:
        """Whoever claims the link, as soon as somebody does. LinkEnded when nobody can any more."""
        ends = time.monotonic() + within
        while time.monotonic() < ends:
            state = await self.look(link_id)
            if state.claimant is not None and state.status == "claimed":
                return state.claimant
            if state.status != "new":
                raise LinkEnded(f"This link is {state.status}.")  # noqa: EM102 - names the state
            await asyncio.sleep(ASK_EVERY)
        raise LinkEnded

    async def approve(self, link_id: str, *, fingerprint: str) -> str:
        """Sign for the claimant whose fingerprint a person has compared; its device_id. WrongFingerprint for any other, who gets nothing."""
        claimant = (await self.look(link_id)).claimant
        if claimant is None:
            raise LinkEnded("Nobody has claimed this link.")
        if claimant.fingerprint.replace(" ", "") != fingerprint.replace(" ", "").lower():
            raise WrongFingerprint
        user_id = str(self._state.fact("user_id"))
        signed = link_statement(user_id, claimant.identity_key, claimant.device_uuid)
        body = {"link_id": link_id, "signature": sign(Keyring(self._state).identity, signed)}
        return str((await self._api.call("POST", "devices/link/approve", LinkState, body=body)).device_id)

    async def reject(self, link_id: str) -> None:
        """Refuse the claimant."""
        await self._api.call("POST", "devices/link/approve", body={"link_id": link_id, "reject": True})


def read_code(text: str) -> LinkCode:
    """The text of a QR code. NotALinkCode when it is another's."""
    try:
        code = msgspec.json.decode(text, type=LinkCode)
    except msgspec.DecodeError:
        raise NotALinkCode from None
    if code.v != VERSION:
        raise NotALinkCode
    return code


async def claim_link(
    folder: Path, text: str, *, name: str, platform: str, show: Callable[[str], None], within: float
) -> None:
    """Make this profile a device of the account the code is of. `show` is given its fingerprint, for the other side to compare.

    NotVouched, and nothing is kept, unless the device that shows the code has signed for this one. LinkEnded when it was rejected or too late.
    Interrupted while it waits, it can be called again with the same code.
    """
    code = read_code(text)
    state = State(folder)
    try:
        _prepare(state, code)
        api = Api(state, code.server, ServerClock(state))
        try:
            if state.fact("claimed") != code.link_token:
                await _claim(state, api, code, name=name, platform=platform)
            show(fingerprint(Keyring(state).identity_key))
            _keep(state, api, code, await _fetched(state, api, within))
        finally:
            await api.close()
    finally:
        state.close()


def _prepare(state: State, code: LinkCode) -> None:
    registered, signed_out = state.fact("device_id"), state.fact("signed_out")
    if registered and (not signed_out or (state.fact("server"), state.fact("user_id")) != (code.server, code.user_id)):
        raise AlreadyRegistered
    with state.transaction():
        if state.fact("identity") is None:
            Keyring(state).create()
            state.remember(device_uuid=str(uuid.uuid4()))
        state.remember(server=code.server)


async def _claim(state: State, api: Api, code: LinkCode, *, name: str, platform: str) -> None:
    with state.transaction():
        prekeys = Keyring(state).one_time_prekeys()
    body = {"link_token": code.link_token, "device": describe(state, prekeys, name=name, platform=platform)}
    claim = await api.ask("POST", "devices/link/claim", _Claim, body=body)
    with state.transaction():
        Keyring(state).uploaded(prekeys)
        state.remember(claimed=code.link_token, claim_link_id=claim.link_id, claim_secret=claim.claim_secret)


async def _fetched(state: State, api: Api, within: float) -> _Fetched:
    """The registration, once the other side has approved."""
    ends = time.monotonic() + within
    path, secret = f"devices/link/{state.fact('claim_link_id')}", str(state.fact("claim_secret"))
    while time.monotonic() < ends:
        try:
            fetched = await api.ask("GET", path, _Fetched, claim_secret=secret)
        except Refused as refusal:
            if not refusal.retryable:
                raise
            fetched = _Fetched(status="claimed")
        if fetched.registration is not None:
            return fetched
        if fetched.status != "claimed":
            raise LinkEnded(f"This link is {fetched.status}.")  # noqa: EM102 - names the state
        await asyncio.sleep(ASK_EVERY)
    raise LinkEnded


def _keep(state: State, api: Api, code: LinkCode, fetched: _Fetched) -> None:
    registration, link = fetched.registration, fetched.linked_by
    if registration is None or link is None or not _is_vouched(state, code, registration, link):
        raise NotVouched
    with state.transaction():
        # Whoever showed the code is known by it: another key for that device would be told.
        Peers(state).pin(link.device_id, code.user_id, code.identity_key)
        keep(state, api, registration)
        state.remember(claimed=None, claim_link_id=None, claim_secret=None)


def _is_vouched(state: State, code: LinkCode, registration: Registration, link: LinkedBy) -> bool:
    signed = link_statement(code.user_id, Keyring(state).identity_key, str(state.fact("device_uuid")))
    return (
        registration.user_id == code.user_id
        and link.identity_key == code.identity_key
        and verifies(code.identity_key, signed, link.signature)
    )
