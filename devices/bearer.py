"""`Authorization: Bearer …` for HTTP operations, synchronous and asynchronous ones alike."""

from django.http import HttpRequest
from ninja.security import HttpBearer

from devices import tokens
from devices.current import CurrentDevice


class Bearer(HttpBearer):
    """Afterwards `request.auth` is a CurrentDevice. No token: UNAUTHORIZED (Ninja's own refusal); a bad one: INVALID_TOKEN."""

    def authenticate(self, request: HttpRequest, token: str) -> CurrentDevice:
        return tokens.authenticate(token)


bearer = Bearer()
