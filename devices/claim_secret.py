"""`Authorization: Link …`: how a claimant, who has no tokens yet, asks what became of its claim."""

from dataclasses import dataclass

from django.http import HttpRequest
from ninja.security.http import HttpAuthBase

SCHEME = "link"


@dataclass(frozen=True, slots=True)
class ClaimSecret:
    """What the caller has shown. Whether it fits a link is for the link to say: whoever has a wrong one learns that there is nothing."""

    text: str


class LinkAuth(HttpAuthBase):
    """Afterwards `request.auth` is a ClaimSecret. Without this scheme the next way of authenticating is asked."""

    openapi_scheme = SCHEME

    def __call__(self, request: HttpRequest) -> ClaimSecret | None:
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        return ClaimSecret(secret.strip()) if scheme.lower() == SCHEME else None


link_secret = LinkAuth()
