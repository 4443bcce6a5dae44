"""What keeps a device reachable: a stock of one-time prekeys at the server, and a signed prekey that is not old."""

import contextlib
from typing import Any

from .api import Api
from .errors import Refused
from .keyring import Keyring
from .state import State

LOW = 20


async def top_up_prekeys(state: State, api: Api, *, count: int | None = None) -> None:
    """Bring the stock up again when fewer than 20 are left. `count`: what the server just said is left."""
    if count is None:
        count = int((await api.call("GET", "keys/count", dict[str, Any]))["count"])
    if count >= LOW:
        return
    keyring = Keyring(state)
    with state.transaction():
        prekeys = keyring.one_time_prekeys()
    await api.call("PUT", "keys", body={"one_time_prekeys": prekeys})
    with state.transaction():
        keyring.uploaded(prekeys)


async def rotate_signed_prekey(state: State, api: Api) -> None:
    """Publish a new signed prekey every week. One that could not be published yet is published now."""
    keyring = Keyring(state)
    with state.transaction():
        due = keyring.wants_rotation()
        if due:
            keyring.new_signed_prekey()
            state.remember(signed_prekey_waits=1)
    if state.fact("signed_prekey_waits"):
        await api.call("PUT", "keys/signed", body={"signed_prekey": keyring.signed_prekey()})
        state.remember(signed_prekey_waits=0)


async def look_after_keys(state: State, api: Api) -> None:
    """Both of the above; a server that refuses now is asked again at the next connection."""
    with contextlib.suppress(Refused):
        await top_up_prekeys(state, api)
    with contextlib.suppress(Refused):
        await rotate_signed_prekey(state, api)
