"""What keeps a device reachable: a stock of one-time prekeys at the server, and keys that stay which are not old, and which the server has."""

import contextlib

from .api import Api
from .errors import Refused
from .keyring import Keyring
from .state import State
from .values import Comparison, KeyCount

LOW = 20
# After a restore the server listens to the first upload and keeps the second.
# What it does not keep then is numbered too low: somebody else has uploaded in this device's name. The third one leaps.
MOST_UPLOADS = 3


async def top_up_prekeys(state: State, api: Api) -> None:
    """Bring the stock up again when fewer than 20 are left."""
    count = (await api.call("GET", "keys/count", KeyCount)).count
    keyring = Keyring(state)
    for upload in range(1, MOST_UPLOADS + 1):
        if count >= LOW:
            return
        with state.transaction():
            if upload == MOST_UPLOADS:
                keyring.leap()
            prekeys = keyring.one_time_prekeys()
        count = (await api.call("PUT", "keys", KeyCount, body={"one_time_prekeys": prekeys})).count
        with state.transaction():
            keyring.uploaded(prekeys)


async def rotate_keys(state: State, api: Api, *, now: bool = False) -> None:
    """Publish a new signed prekey and a new last resort every week, or `now`. What could not be published yet is published now."""
    keyring = Keyring(state)
    with state.transaction():
        if now or keyring.wants_rotation():
            keyring.renew()
            state.remember(signed_prekey_waits=1)
    if state.fact("signed_prekey_waits"):
        await _publish(state, api)


async def check_keys(state: State, api: Api) -> bool:
    """Whether the server has had the keys that stay. If not, it has them now: those of this profile, or new ones where it takes those no more."""
    if await _server_has_them(state, api):
        return True
    await _publish(state, api)
    if not await _server_has_them(state, api):
        await rotate_keys(state, api, now=True)
    return False


async def look_after_keys(state: State, api: Api) -> None:
    """All of the above; a server that refuses now is asked again at the next connection."""
    with contextlib.suppress(Refused):
        await top_up_prekeys(state, api)
    with contextlib.suppress(Refused):
        await rotate_keys(state, api)
    with contextlib.suppress(Refused):
        await check_keys(state, api)


async def _server_has_them(state: State, api: Api) -> bool:
    answer = await api.call("POST", "keys/check", Comparison, body={"digest": Keyring(state).digest()})
    return answer.result == "same"


async def _publish(state: State, api: Api) -> None:
    keyring = Keyring(state)
    await api.call("PUT", "keys/signed", body={"signed_prekey": keyring.signed_prekey()})
    await api.call("PUT", "keys", body={"last_resort_prekey": keyring.last_resort_prekey()})
    with state.transaction():
        keyring.published()
        state.remember(signed_prekey_waits=0)
