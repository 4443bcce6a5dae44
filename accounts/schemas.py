"""People on the wire."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator

from accounts.models import User
from accounts.wire.requests import Changes, Fields
from accounts.wire.scalars import Base64Of32, Base64Out, TimeOut, Uuid, UuidOut, shown_lines, shown_text, text

MOST_LOOKUPS = 100

Username = Annotated[str, text(3, 30, r"^[A-Za-z0-9_-]+$")]
DisplayName = Annotated[str, text(2, 100), BeforeValidator(shown_text)]
Bio = Annotated[str, text(0, 500), BeforeValidator(shown_lines)]


class CodeRequest(Fields):
    """Send a code to this number."""

    phone_number: Annotated[str, text(8, 16, r"^\+[1-9][0-9]{6,14}$")]


class CodeSent(BaseModel):
    """A code is on its way."""

    otp_session_id: UuidOut
    expires_in_seconds: int
    retry_after_seconds: int


class CodeCheck(Fields):
    """The code that came."""

    otp_session_id: Uuid
    code: Annotated[str, text(6, 6, r"^[0-9]{6}$")]


class CodeAccepted(BaseModel):
    """The number is proven; register a device with the token."""

    registration_token: str
    expires_in_seconds: int
    is_new_user: bool
    requires_pin: bool


class PinIn(Fields):
    """A new PIN; `current_pin` where there is one. A lock that is not named stays as it is, and is off at first."""

    pin: Annotated[str, text(4, 32)]
    current_pin: str | None = None
    registration_lock: bool | None = None


class PinCheck(Fields):
    """A PIN to check."""

    pin: str | None = None


class PinRemoval(Fields):
    """The PIN that is to go."""

    current_pin: str | None = None


class PinOut(BaseModel):
    """What there is to know about one's own PIN. `locked_until`: no try is left before."""

    has_pin: bool
    registration_lock: bool
    attempts_remaining: int
    locked_until: TimeOut | None = None


class PinVerified(BaseModel):
    """It is the PIN."""

    verified: bool


class UserOut(BaseModel):
    """A person as everybody sees them."""

    user_id: UuidOut
    username: str | None = None
    display_name: str | None = None
    bio: str | None = None
    avatar: UuidOut | None = None


class ProfileOut(UserOut):
    """A person as they see themselves."""

    phone_number: str
    created_at: TimeOut
    updated_at: TimeOut


class ProfileChanges(Changes):
    """What is left out stays; null clears, save for display_name."""

    display_name: DisplayName | None = None
    username: Username | None = None
    bio: Bio | None = None
    avatar: Uuid | None = None


class Lookup(Fields):
    """Names and hashes to look up, at most 100 in all."""

    usernames: list[Annotated[str, text(1, 100)]] = []
    phone_hashes: list[Base64Of32] = []


class Found(BaseModel):
    """Who is behind one input, which is given as it was sent."""

    input: str | Base64Out
    user: UserOut


class FoundAll(BaseModel):
    """Whoever was found."""

    items: list[Found]


def show_user(user: User) -> UserOut:
    """The public side of a person."""
    return UserOut(**_public(user))


def show_profile(user: User) -> ProfileOut:
    """A person's own view."""
    return ProfileOut(
        **_public(user), phone_number=user.phone_number, created_at=user.created_at, updated_at=user.updated_at
    )


def _public(user: User) -> dict[str, Any]:
    return {
        "user_id": user.pk,
        "username": user.username,
        "display_name": user.display_name or None,
        "bio": user.bio or None,
        "avatar": user.avatar,
    }
