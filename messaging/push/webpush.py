"""Web push (RFC 8030, 8291, 8292): browsers, and UnifiedPush. The endpoint is the client's word, so it is called through `guarded_http`."""

import asyncio
import base64
import time
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from devices.push_endpoints import EndpointRefused
from devices.push_tokens import Address
from messaging.push.gateway import WAKE_UP, Gone, Knock, Refused, TryAgain
from messaging.push.guarded_http import GuardedHttp, NoAnswer
from messaging.push.retry_after import read_retry_after

# Of wake-ups of one topic that wait for a device at its push service only the last is kept; a call, which is soon over, must not replace a message.
TOPICS = {False: "wake", True: "call"}
CLAIMS_LAST_SECONDS = 12 * 3600
_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


class WebPush:
    """Every push service of the world; which one, each endpoint says."""

    def __init__(self) -> None:
        self._http = GuardedHttp()

    def lane(self, address: Address) -> str:
        return f"webpush {urlsplit(address.endpoint).netloc.lower()}"

    async def wake(self, knock: Knock) -> None:
        headers, body = await asyncio.to_thread(_message, knock)
        try:
            answer = await self._http.post(knock.address.endpoint, headers, body)
        except EndpointRefused as failure:
            raise Refused from failure
        except NoAnswer as failure:
            raise TryAgain from failure
        if answer.status in _GONE:
            raise Gone
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise TryAgain(read_retry_after(answer.retry_after))
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise Refused

    async def close(self) -> None:
        await self._http.close()


def _message(knock: Knock) -> tuple[dict[str, str], bytes]:
    """Headers and body. Called in a thread: it computes, and the first time it imports a large library."""
    from pywebpush import WebPusher  # noqa: PLC0415  (two HTTP clients come with it: seconds, and many megabytes)

    keys = {"p256dh": _text(knock.address.p256dh), "auth": _text(knock.address.auth)}
    encrypted: dict[str, Any] = WebPusher({"endpoint": knock.address.endpoint, "keys": keys}).encode(WAKE_UP)
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Encoding": "aes128gcm",
        "TTL": str(knock.lasts_seconds),
        "Urgency": "high",
        "Topic": TOPICS[knock.is_call],
    }
    return headers | _credentials(knock.address.endpoint), encrypted["body"]


def _credentials(endpoint: str) -> dict[str, str]:
    from py_vapid import Vapid02  # noqa: PLC0415  (comes with pywebpush)

    parts = urlsplit(endpoint)
    claims = {
        "aud": f"https://{parts.netloc}",
        "exp": int(time.time()) + CLAIMS_LAST_SECONDS,
        "sub": settings.VAPID_SUBJECT,
    }
    signed: dict[str, str] = Vapid02.from_string(settings.VAPID_PRIVATE_KEY).sign(claims)
    return {"Authorization": signed["Authorization"]}


def _text(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode()
