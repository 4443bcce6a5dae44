"""Where this device is woken while it has no socket. Whoever wakes it tells it nothing: it connects, and reads its mail."""

from .api import Api
from .values import Value

PATH = "devices/me/push-token"


class PushSettings(Value, frozen=True, kw_only=True):
    """What the account wants of pushes. `webpush_public_key`: what a browser subscribes with; None: the server does no web push."""

    push_enabled: bool
    webpush_public_key: str | None = None


class Push:
    """The registration of one device: the last one counts, and it ends when the device signs out."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def settings(self) -> PushSettings:
        return await self._api.call("GET", "notifications/preferences", PushSettings)

    async def by_web_push(self, endpoint: str, *, p256dh: str, auth: str) -> None:
        """Be woken through a subscription of a browser or of UnifiedPush; keys in base64 or base64url. Refused for an endpoint nobody may call."""
        keys = {"p256dh": p256dh, "auth": auth}
        await self._api.call("PUT", PATH, body={"provider": "webpush", "endpoint": endpoint, "keys": keys})

    async def by_token(self, provider: str, token: str) -> None:
        """Be woken through `fcm` or `apns`."""
        await self._api.call("PUT", PATH, body={"provider": provider, "token": token})

    async def by_nobody(self) -> None:
        """Be woken no more."""
        await self._api.call("PUT", PATH, body={"provider": "none"})
