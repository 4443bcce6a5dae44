"""Apple's push service, with a key of the developer account (requirements-apns.txt)."""

import asyncio
import functools
from pathlib import Path
from typing import Any

from django.conf import settings

from devices.push_tokens import Address
from messaging.push.gateway import Gone, Knock, Refused, TryAgain

ANSWER_SECONDS = 5.0
# https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns: 410 is said of this token alone. BadDeviceToken
# and DeviceTokenNotForTopic are said of everybody's when it is APNS_SANDBOX or APNS_TOPIC that is wrong.
_GONE_STATUS, _GONE_REASON = 410, "Unregistered"


class Apns:
    """One app, in production or in the sandbox."""

    def lane(self, address: Address) -> str:
        return "apns"

    async def wake(self, knock: Knock) -> None:
        from aioapns import exceptions  # noqa: PLC0415  (optional)

        unreachable = (exceptions.ConnectionClosed, exceptions.ConnectionError, exceptions.MaxAttemptsExceeded)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._client.send_notification(_request(knock))
        except (TimeoutError, OSError, *unreachable) as failure:
            raise TryAgain from failure
        if not answer.is_successful:
            raise _failure(int(answer.status), answer.description)

    @functools.cached_property
    def _client(self) -> Any:
        from aioapns import APNs  # noqa: PLC0415  (optional)

        return APNs(
            key=Path(settings.APNS_KEY_FILE).read_text(),
            key_id=settings.APNS_KEY_ID,
            team_id=settings.APNS_TEAM_ID,
            topic=settings.APNS_TOPIC,
            use_sandbox=settings.APNS_SANDBOX,
            max_connection_attempts=1,
            err_func=_say_nothing,
        )

    async def close(self) -> None:
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.pool.close()


def _request(knock: Knock) -> Any:
    """An alert that the app's notification extension may replace: iOS delivers silent ones at its leisure, and few of them."""
    from aioapns import NotificationRequest, PushType  # noqa: PLC0415  (optional)

    return NotificationRequest(
        device_token=knock.address.token,
        message={"aps": {"alert": {"loc-key": "wake"}, "mutable-content": 1}},
        time_to_live=knock.lasts_seconds,
        collapse_key="call" if knock.is_call else "wake",
        push_type=PushType.ALERT,
    )


def _failure(status: int, reason: str | None) -> Exception:
    if status == _GONE_STATUS or reason == _GONE_REASON:
        return Gone()
    return TryAgain() if status == 429 or status >= 500 else Refused()


async def _say_nothing(_request: Any, _result: Any) -> None:
    """The library would log what it could not send."""
