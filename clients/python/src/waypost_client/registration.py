"""From a phone number to a device. Keys are on disk before the server hears of them, so a lost answer is asked for again."""

import uuid
from pathlib import Path
from typing import Any

from .api import Api
from .clock import ServerClock
from .codes import CodeSource, Mistyped, PinSource
from .errors import AlreadyRegistered, NoCode, Refused
from .keyring import Keyring
from .state import State
from .values import Prekey, Registration, Value


class _Proof(Value, frozen=True, kw_only=True):
    registration_token: str
    requires_pin: bool = False


class _Pins:
    """The PIN, from whoever knows it."""

    def __init__(self, source: str | PinSource | None) -> None:
        self.given = source if isinstance(source, str) else None
        self._ask = source if callable(source) else None

    async def first(self) -> str | None:
        return await self._ask(None) if self._ask else self.given

    async def another(self, refusal: Refused, before: str | None) -> str:
        """The next one to try. Raises the refusal when it is about something else, or when there is no other, or no try left."""
        left = refusal.facts.get("attempts_remaining")
        if refusal.code != "REGISTRATION_LOCKED" or not left or self._ask is None:
            raise refusal
        pin = await self._ask(left if before else None)
        if not pin:
            raise refusal
        return pin


async def register_device(
    folder: Path,
    *,
    server: str,
    phone: str,
    code_source: CodeSource,
    mistyped: Mistyped | None,
    name: str,
    platform: str,
    pin: str | PinSource | None,
    unlink: str | None,
) -> None:
    """Make this profile a device of the number's account. Repeating an interrupted registration goes on with the same keys."""
    state = State(folder)
    try:
        _prepare(state, server, phone)
        api = Api(state, server, ServerClock(state))
        try:
            proof = await _prove_number(api, phone, code_source, mistyped)
            pins = _Pins(pin)
            known = await pins.first() if proof.requires_pin else pins.given
            while True:
                try:
                    return await _register(
                        state, api, proof.registration_token, name=name, platform=platform, pin=known, unlink=unlink
                    )
                except Refused as refusal:
                    known = await pins.another(refusal, known)
        finally:
            await api.close()
    finally:
        state.close()


def _prepare(state: State, server: str, phone: str) -> None:
    registered, signed_out = state.fact("device_id"), state.fact("signed_out")
    if registered and (not signed_out or (state.fact("server"), state.fact("phone")) != (server, phone)):
        raise AlreadyRegistered
    with state.transaction():
        if state.fact("identity") is None:
            Keyring(state).create()
            state.remember(device_uuid=str(uuid.uuid4()))
        state.remember(server=server, phone=phone)


async def _prove_number(api: Api, phone: str, code_source: CodeSource, mistyped: Mistyped | None) -> _Proof:
    session = await api.ask("POST", "auth/request-otp", dict[str, Any], body={"phone_number": phone})
    wrong: Refused | None = None
    while True:
        try:
            code = await code_source()
        except NoCode as none:
            # Whoever typed a wrong one and then no more hears of the wrong one.
            raise wrong or none from None
        body = {"otp_session_id": session["otp_session_id"], "code": code.strip()}
        try:
            return await api.ask("POST", "auth/verify-otp", _Proof, body=body)
        except Refused as refusal:
            left = refusal.facts.get("attempts_remaining")
            if refusal.code != "INVALID_OTP" or not left or mistyped is None:
                raise
            wrong = refusal
        mistyped(left)


async def _register(
    state: State, api: Api, token: str, *, name: str, platform: str, pin: str | None, unlink: str | None
) -> None:
    with state.transaction():
        prekeys = Keyring(state).one_time_prekeys()
    body: dict[str, Any] = {
        "registration_token": token,
        "device": describe(state, prekeys, name=name, platform=platform),
    }
    body |= {"pin": pin} if pin else {}
    body |= {"unlink_device_id": unlink} if unlink else {}
    registration = await api.ask("POST", "auth/register-device", Registration, body=body)
    with state.transaction():
        Keyring(state).uploaded(prekeys)
        keep(state, api, registration)


def keep(state: State, api: Api, registration: Registration) -> None:
    """This profile is that device from now on. Belongs to the caller's transaction."""
    Keyring(state).published()
    state.remember(user_id=registration.user_id, device_id=registration.device_id)
    api.keep_tokens(registration)


def describe(state: State, prekeys: list[Prekey], *, name: str, platform: str) -> dict[str, Any]:
    """What a server is told about this installation."""
    keyring = Keyring(state)
    return {
        "device_uuid": state.fact("device_uuid"),
        "name": name,
        "platform": platform,
        "registration_id": keyring.registration_id,
        "identity_key": keyring.identity_key,
        "signed_prekey": keyring.signed_prekey(),
        "one_time_prekeys": prekeys,
        "last_resort_prekey": keyring.last_resort_prekey(),
    }
