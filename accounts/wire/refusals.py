"""Refusals: every way Waypost says no.

One class per error code of the protocol. The first line of the docstring is the sentence a person reads, `code` the word a program
reads, the keyword arguments the facts that travel with it. HTTP answers and socket `error` frames are both made from `body()`.
"""

import math
from typing import Any, ClassVar


class ChatError(Exception):
    """The request was refused."""

    code: ClassVar[str] = "INVALID_REQUEST"
    status: ClassVar[int] = 400
    retryable: ClassVar[bool] = False

    def __init__(self, sentence: str | None = None, *, retry_after: float | None = None, **facts: Any) -> None:
        """`retry_after` is in seconds; `facts` are plain JSON values."""
        self.sentence = sentence or type(self).summary()
        self.retry_after = retry_after
        self.facts = facts
        super().__init__(self.sentence)

    @classmethod
    def summary(cls) -> str:
        """The class's own sentence."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    def body(self) -> dict[str, Any]:
        """The error object of the protocol, as plain values."""
        body: dict[str, Any] = {"error": self.sentence, "error_code": self.code}
        if self.retry_after is not None:
            body["retry_after_seconds"] = math.ceil(self.retry_after)
        return body | self.facts


class InvalidRequest(ChatError):
    """The request is not well formed."""


class MethodNotAllowed(ChatError):
    """This method is not allowed here."""

    status = 405


class UnsupportedMedia(ChatError):
    """The body must be an uncompressed JSON object."""

    status = 415


class InvalidOtp(ChatError):
    """The code is wrong or has expired."""

    code = "INVALID_OTP"


class Unauthorized(ChatError):
    """Sign in first."""

    code = "UNAUTHORIZED"
    status = 401


class InvalidToken(ChatError):
    """The token is not valid, or not any more."""

    code = "INVALID_TOKEN"
    status = 401


class Forbidden(ChatError):
    """This is not yours to do."""

    code = "FORBIDDEN"
    status = 403


class NotFound(ChatError):
    """There is nothing here."""

    code = "NOT_FOUND"
    status = 404


class Conflict(ChatError):
    """This contradicts what is already there."""

    code = "CONFLICT"
    status = 409


class MismatchedDevices(ChatError):
    """The message does not address exactly the devices it has to reach."""

    code = "MISMATCHED_DEVICES"
    status = 409


class StaleKey(ChatError):
    """The client_message_id is too old to be told apart from a new message."""

    code = "STALE_KEY"
    status = 409


class StaleDevices(ChatError):
    """Some of the addressed devices were installed again."""

    code = "STALE_DEVICES"
    status = 410


class DeviceLimit(ChatError):
    """The account has as many devices as it may have."""

    code = "DEVICE_LIMIT"
    status = 411


class TooLarge(ChatError):
    """The request is larger than allowed."""

    code = "TOO_LARGE"
    status = 413


class InvalidSignature(ChatError):
    """A key or a signature is not valid."""

    code = "INVALID_SIGNATURE"
    status = 422


class RegistrationLocked(ChatError):
    """The account is protected by a PIN."""

    code = "REGISTRATION_LOCKED"
    status = 423


class RateLimited(ChatError):
    """Too many requests; try again later."""

    code = "RATE_LIMITED"
    status = 429
    retryable = True


class StorageUnavailable(ChatError):
    """A part of the server is not available; try again."""

    code = "STORAGE_UNAVAILABLE"
    status = 503
    retryable = True


class SourceReadOnly(ChatError):
    """Messages of this conversation cannot be written at the moment."""

    code = "SOURCE_READ_ONLY"
    status = 503
    retryable = True


class RetryInOrder(ChatError):
    """A message in front of this one has to be sent again first."""

    code = "RETRY_IN_ORDER"
    status = 409
    retryable = True
