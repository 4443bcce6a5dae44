"""`waypost push …`."""

from typing import Any

from .client import Client
from .console import Options, add_profile, command, folder, say


def add(commands: Any) -> None:
    """The commands, beside the others."""
    push = commands.add_parser(
        "push",
        help="say where this device is woken",
        description="Where this device is woken while it is not connected.",
    )
    add_profile(push, default=False)
    actions = push.add_subparsers(metavar="action", required=True)
    web = command(actions, "webpush", _by_web_push, "be woken through a browser's or UnifiedPush's subscription")
    web.add_argument("--endpoint", required=True, help="the subscription's https URL")
    web.add_argument("--p256dh", required=True, help="its public key, in base64url")
    web.add_argument("--auth", required=True, help="its secret, in base64url")
    for provider in ("fcm", "apns"):
        native = command(actions, provider, _by_token, f"be woken through {provider.upper()}")
        native.set_defaults(provider=provider)
        native.add_argument("--token", required=True)
    command(actions, "none", _by_nobody, "be woken no more")
    command(actions, "status", _status, "print whether pushes are on, and the key to subscribe with")


async def _by_web_push(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        await client.push.by_web_push(options.endpoint, p256dh=options.p256dh, auth=options.auth)
        say(options, "This device is woken by web push.", {"provider": "webpush"})


async def _by_token(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        await client.push.by_token(options.provider, options.token)
        say(options, f"This device is woken by {options.provider.upper()}.", {"provider": options.provider})


async def _by_nobody(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        await client.push.by_nobody()
        say(options, "This device is woken no more.", {"provider": "none"})


async def _status(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        found = await client.push.settings()
        key = found.webpush_public_key or "none: this server does no web push"
        say(options, f"Pushes are {'on' if found.push_enabled else 'off'}. Subscribe with {key}.", found)
