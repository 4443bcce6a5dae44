"""What a person is told of a refusal."""

from collections.abc import Callable

from . import lines
from .errors import Refused, WaypostError


def explain(error: WaypostError) -> str:
    """The sentence, and what to do about it where the server's facts tell."""
    if not isinstance(error, Refused):
        return str(error)
    return " ".join(filter(None, [str(error), ADVICE.get(error.code, _when_again)(error)]))


def _tries_left(error: Refused) -> str:
    left = error.facts.get("attempts_remaining")
    return "" if left is None else f"{left} tries are left."


def _give_pin(error: Refused) -> str:
    return f"Give the account's PIN with --pin. {_tries_left(error)}".rstrip()


def _make_room(error: Refused) -> str:
    known = "; ".join(f"{device.get('device_id')} {device.get('name')}" for device in error.facts.get("devices") or ())
    return f"Unlink one of them with --unlink: {known}." if known else ""


def _ask_anew(error: Refused) -> str:
    return _tries_left(error) if error.facts.get("attempts_remaining") else "Register again to be sent another one."


def _when_again(error: Refused) -> str:
    return f"Try again in {lines.duration(error.retry_after)}." if error.retry_after else ""


ADVICE: dict[str, Callable[[Refused], str]] = {
    "REGISTRATION_LOCKED": _give_pin,
    "UNAUTHORIZED": _tries_left,
    "DEVICE_LIMIT": _make_room,
    "INVALID_OTP": _ask_anew,
}
