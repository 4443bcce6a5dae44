"""HTTP: proving a phone number, one's profile, finding other people.

How an app adds its calls: it makes a `Router` in its own `api.py`, with paths relative to /api/v1 and without a trailing slash, and
`chatproject/api.py` adds that router. Every operation wants a token unless it says `auth=None`; `request.auth` is then the CurrentDevice.
Bodies are declared with `Annotated[Schema, JsonBody()]` (see `accounts.wire.requests`), refusals are raised (`accounts.wire.refusals`).
This app is below `devices`, so it knows the caller only as somebody with a `user_id`.
"""

from typing import Annotated, Protocol
from uuid import UUID

from django.http import HttpRequest
from ninja import Router

from accounts import otp, people, profiles
from accounts.addresses import client_address
from accounts.phones import require_phone_number
from accounts.schemas import (
    MOST_LOOKUPS,
    CodeAccepted,
    CodeCheck,
    CodeRequest,
    CodeSent,
    Found,
    FoundAll,
    Lookup,
    ProfileChanges,
    ProfileOut,
    UserOut,
    show_profile,
    show_user,
)
from accounts.wire.refusals import InvalidRequest
from accounts.wire.requests import JsonBody
from accounts.wire.scalars import Uuid

router = Router(exclude_none=True)


class Caller(Protocol):
    """What this app knows of the caller."""

    @property
    def user_id(self) -> UUID:
        """Whose device is calling."""


class UserRequest(HttpRequest):
    """A request with a valid token."""

    auth: Caller


@router.post("/auth/request-otp", auth=None, response=CodeSent, tags=["Signing in"])
def request_otp(request: HttpRequest, body: Annotated[CodeRequest, JsonBody()]) -> CodeSent:
    """Send a six-digit code by SMS. The answer is the same for numbers with and without an account."""
    sent = otp.request_code(require_phone_number(body.phone_number), client_address(request))
    return CodeSent(
        otp_session_id=sent.session_id,
        expires_in_seconds=otp.CODE_SECONDS,
        retry_after_seconds=sent.retry_after_seconds,
    )


@router.post("/auth/verify-otp", auth=None, response=CodeAccepted, tags=["Signing in"])
def verify_otp(request: HttpRequest, body: Annotated[CodeCheck, JsonBody()]) -> CodeAccepted:
    """Exchange the code for a registration token. The right code again, while it lives, gives the same answer.

    `requires_pin`: the registration lock is on, and registering takes the account's PIN.
    """
    verified = otp.verify_code(body.otp_session_id, body.code)
    return CodeAccepted(
        registration_token=verified.registration_token,
        expires_in_seconds=otp.TOKEN_SECONDS,
        is_new_user=verified.is_new_user,
        requires_pin=verified.requires_pin,
    )


@router.get("/profile", response=ProfileOut, tags=["People"])
def get_profile(request: UserRequest) -> ProfileOut:
    """The caller's own profile."""
    return show_profile(people.access_user(request.auth.user_id))


@router.patch("/profile", response=ProfileOut, tags=["People"])
def patch_profile(request: UserRequest, body: Annotated[ProfileChanges, JsonBody()]) -> ProfileOut:
    """Change one's profile. A username is unique whatever its case (409)."""
    return show_profile(people.change_profile(request.auth.user_id, body.model_dump(exclude_unset=True)))


@router.post("/users/lookup", response=FoundAll, tags=["People"])
def look_up(request: UserRequest, body: Annotated[Lookup, JsonBody()]) -> FoundAll:
    """Find people by username, or by the SHA-256 of their E.164 number; at most 100 inputs, and as many in 15 minutes."""
    if not 1 <= len(body.usernames) + len(body.phone_hashes) <= MOST_LOOKUPS:
        raise InvalidRequest(sentence=f"Look up 1 to {MOST_LOOKUPS} names and hashes.")
    found = people.look_up(request.auth.user_id, usernames=body.usernames, phone_hashes=body.phone_hashes)
    return FoundAll(items=[Found(input=item, user=show_user(user)) for item, user in found.items()])


@router.get("/users/{user_id}", response=UserOut, tags=["People"])
def get_user(request: UserRequest, user_id: Uuid) -> UserOut:
    """Somebody's public profile."""
    return profiles.public_side(user_id)
