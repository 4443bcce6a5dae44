"""What can go wrong, as types. A docstring is the sentence a person reads; fields carry the facts."""

from collections.abc import Mapping
from typing import Any


class WaypostError(Exception):
    """Something went wrong."""

    def __init__(self, sentence: str = "") -> None:
        super().__init__(sentence or (type(self).__doc__ or "").strip())


class NotRegistered(WaypostError):
    """This profile holds no device yet: register first."""


class AlreadyRegistered(WaypostError):
    """This profile already holds a device: choose another one for a new device."""


class ProfileInUse(WaypostError):
    """Another process is already connected as this device."""


class ProfileDamaged(WaypostError):
    """The profile's file cannot be read or written."""


class SignedOut(WaypostError):
    """The server no longer accepts this device: it was unlinked, signed out, or its account is gone."""


class ConnectedElsewhere(WaypostError):
    """This device has connected from somewhere else, so this connection was closed."""


class Unreachable(WaypostError):
    """The server cannot be reached."""


class Disconnected(Unreachable):
    """The connection broke before the server answered."""


class NotAnswered(WaypostError):
    """The message is queued, but the server has not accepted it yet; it leaves as soon as it can."""


class NoCode(WaypostError):
    """No code arrived in time."""


class NotTyped(WaypostError):
    """Nothing was typed."""


class NotALinkCode(WaypostError):
    """This is not the text of a QR code that lets a device in."""


class LinkEnded(WaypostError):
    """This link was not approved in time."""


class WrongFingerprint(WaypostError):
    """The fingerprint is not that of whoever has claimed the link: somebody else may have read the code. Reject it."""


class NotVouched(WaypostError):
    """The device that shows the code has not signed for this one: the server, or somebody before it, is not to be trusted."""


class TextTooLong(WaypostError):
    """The text is too long for one message."""


class GroupTooLarge(WaypostError):
    """Groups of more than 32 members need sender keys, which this client does not have yet."""


class UnknownUser(WaypostError):
    """There is no user of that name."""


class Refused(WaypostError):
    """The server refused."""

    def __init__(
        self, code: str, sentence: str = "", *, status: int = 0, facts: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.status = status
        self.facts: Mapping[str, Any] = facts or {}

    @property
    def retryable(self) -> bool:
        """Whether the same bytes may pass later. What the server says holds; over HTTP the code tells, or its accident."""
        if "retryable" in self.facts:
            return bool(self.facts["retryable"])
        return self.code in RETRYABLE or self.status >= 500 or self.facts.get("reason") == "predecessor_missing"

    @property
    def retry_after(self) -> float | None:
        """Seconds the server asks to wait, if it does."""
        if (milliseconds := self.facts.get("retry_after_ms")) is not None:
            return float(milliseconds) / 1000
        seconds = self.facts.get("retry_after_seconds")
        return None if seconds is None else float(seconds)


class UnexpectedAnswer(Refused):
    """The server's answer was not understood."""

    def __init__(self) -> None:
        super().__init__("UNEXPECTED")


class BadKeys(Refused):
    """The keys of a recipient's device are not sound; nothing was sent."""

    def __init__(self) -> None:
        super().__init__("BAD_KEYS")


RETRYABLE = frozenset({"RATE_LIMITED", "STORAGE_UNAVAILABLE", "SOURCE_READ_ONLY", "RETRY_IN_ORDER"})
