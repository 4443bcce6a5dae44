"""The client: one device of one person.

client = await Client.register("http://localhost:8000", "+66812345678", code_source, state="alice", name="Alice's phone")
async with client:
    conversation = await client.direct("bob")
    await client.send(conversation.conversation_id, "hello")
    async for message in client.messages():
        print(message.text)
"""

from collections.abc import Callable
from pathlib import Path
from typing import Self

from .account import Account
from .codes import CodeSource, Mistyped, PinSource
from .company import Company
from .connection import MSGPACK
from .linking import PATIENCE, claim_link
from .registration import register_device
from .talking import Talking


class Client(Account, Company, Talking):
    """Use it as `async with Client.open(folder) as client`. One process at a time is connected as a device; with
    `online=False` any number may ask and queue beside it, and what they queue leaves through the connected one."""

    @classmethod
    async def register(
        cls,
        server: str,
        phone: str,
        code_source: CodeSource,
        *,
        state: str | Path,
        name: str,
        platform: str = "desktop",
        mistyped: Mistyped | None = None,
        pin: str | PinSource | None = None,
        unlink_device_id: str | None = None,
    ) -> Self:
        """Make `state`, a folder, a device of this number's account, and give its client, not yet connected.

        `code_source` is awaited once the code was sent, and again after a wrong one if there is `mistyped`, which is told how
        many tries are left; `pin`, if it is no text, when the account has a registration lock. AlreadyRegistered when the
        folder holds a device; Refused as the server says, REGISTRATION_LOCKED (give the PIN) and DEVICE_LIMIT (name a device to unlink) among it. Interrupted
        at any point it can be called again.
        """
        await register_device(
            Path(state),
            server=server,
            phone=phone,
            code_source=code_source,
            mistyped=mistyped,
            name=name,
            platform=platform,
            pin=pin,
            unlink=unlink_device_id,
        )
        return cls.open(state)

    @classmethod
    async def claim(
        cls,
        text: str,
        *,
        state: str | Path,
        name: str,
        platform: str = "desktop",
        show: Callable[[str], None],
        within: float = PATIENCE,
    ) -> Self:
        """Make `state`, a folder, a device of the account that shows this QR code, and give its client, not yet connected.

        `show` is given the fingerprint that the showing device must see too. NotALinkCode, LinkEnded; NotVouched when that device
        did not sign for this one.
        """
        await claim_link(Path(state), text, name=name, platform=platform, show=show, within=within)
        return cls.open(state)

    @classmethod
    def open(cls, state: str | Path, *, online: bool = True, subprotocol: str = MSGPACK) -> Self:
        """A registered device's client. Nothing happens before `async with`."""
        return cls(Path(state), online=online, subprotocol=subprotocol)
