"""Firebase Cloud Messaging, through Google's own library (requirements-fcm.txt)."""

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from devices.push_tokens import Address
from messaging.push.gateway import Gone, Knock, Refused, TryAgain

ANSWER_SECONDS = 5.0
SENDERS = 8


class Fcm:
    """One service account."""

    def __init__(self, credentials_file: str) -> None:
        self._credentials_file = credentials_file
        # The library blocks; a provider that hangs keeps these busy and nothing else of the process.
        self._senders = ThreadPoolExecutor(SENDERS, thread_name_prefix="push-fcm")

    def lane(self, address: Address) -> str:
        return "fcm"

    async def wake(self, knock: Knock) -> None:
        sending = asyncio.get_running_loop().run_in_executor(self._senders, self._send, knock)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await sending
        except TimeoutError as failure:
            raise TryAgain from failure

    def _send(self, knock: Knock) -> None:
        from firebase_admin import exceptions, messaging  # noqa: PLC0415  (optional, and large)
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415

        android = messaging.AndroidConfig(
            priority="high",
            ttl=timedelta(seconds=knock.lasts_seconds),
            collapse_key="call" if knock.is_call else "wake",
        )
        message = messaging.Message(token=knock.address.token, data={"wake": "true"}, android=android)
        try:
            messaging.send(message, app=self._app)
        except messaging.UnregisteredError:
            raise Gone from None
        except (
            # Said of everybody's tokens when it is the server's credentials that are another project's.
            messaging.SenderIdMismatchError,
            exceptions.InvalidArgumentError,
            exceptions.PermissionDeniedError,
            exceptions.UnauthenticatedError,
        ):
            raise Refused from None
        except (exceptions.FirebaseError, GoogleAuthError):
            raise TryAgain from None

    @functools.cached_property
    def _app(self) -> Any:
        import firebase_admin  # noqa: PLC0415  (optional, and large)

        credentials = firebase_admin.credentials.Certificate(self._credentials_file)
        return firebase_admin.initialize_app(credentials, {"httpTimeout": ANSWER_SECONDS}, name=f"waypost-{id(self)}")

    async def close(self) -> None:
        self._senders.shutdown(wait=False, cancel_futures=True)
