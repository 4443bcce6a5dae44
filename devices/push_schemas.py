"""Push registrations on the wire."""

import base64
import binascii
import re
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from accounts.wire.refusals import InvalidRequest
from accounts.wire.requests import Fields
from accounts.wire.scalars import text
from devices.push_endpoints import EndpointRefused, require_endpoint
from devices.push_tokens import WEBPUSH, Address

_EITHER_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{1,200}={0,2}")
POINT_BYTES = 65
AUTH_BYTES = 16


def _parse(value: object) -> bytes:
    """Browsers write these keys in base64url without padding, others in the standard form."""
    if not isinstance(value, str) or not _EITHER_BASE64.fullmatch(value):
        raise PydanticCustomError("base64", "must be base64")
    plain = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error as failure:
        raise PydanticCustomError("base64", "must be base64") from failure


_Key = Annotated[bytes, BeforeValidator(_parse), WithJsonSchema({"type": "string", "format": "byte"})]


class PushKeys(Fields):
    """The keys of a web push subscription, as a browser gives them."""

    p256dh: _Key
    auth: _Key


class PushTokenIn(Fields):
    """Where to wake this device: `webpush` has `endpoint` and `keys`, `fcm` and `apns` have `token`, `none` nothing."""

    provider: Literal["webpush", "fcm", "apns", "none"]
    endpoint: str | None = None
    keys: PushKeys | None = None
    token: Annotated[str, text(1, 4096, r"^[A-Za-z0-9_:.-]+$")] | None = None

    def address(self) -> Address | None:
        """The same without the wire; None: nowhere. Raises InvalidRequest."""
        if self.provider == "none":
            return None
        if self.provider == WEBPUSH:
            return self._subscription()
        if self.token is None:
            raise InvalidRequest("This provider needs a token.", field="token")
        return Address(provider=self.provider, token=self.token)

    def _subscription(self) -> Address:
        if self.endpoint is None or self.keys is None:
            missing = "endpoint" if self.endpoint is None else "keys"
            raise InvalidRequest("Web push needs an endpoint and its keys.", field=missing)
        try:
            require_endpoint(self.endpoint)
        except EndpointRefused as failure:
            raise InvalidRequest("The server does not call this endpoint.", field="endpoint") from failure
        if len(self.keys.auth) != AUTH_BYTES:
            raise InvalidRequest("This key has 16 bytes.", field="keys.auth")
        if not _is_point(self.keys.p256dh):
            raise InvalidRequest("This key is a point of P-256, uncompressed.", field="keys.p256dh")
        return Address(provider=WEBPUSH, endpoint=self.endpoint, p256dh=self.keys.p256dh, auth=self.keys.auth)


def _is_point(key: bytes) -> bool:
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key)
    except ValueError:
        return False
    return len(key) == POINT_BYTES
