"""Request bodies: how they are read, how large they may be, and the two kinds of schema they are checked against.

def register(request: HttpRequest, body: Annotated[Registration, PrekeyBody()]) -> …
"""

from typing import Any, ClassVar

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.params.models import Body as NinjaBody
from ninja.params.models import BodyModel
from pydantic import BaseModel, ConfigDict, model_validator

from accounts.wire.json_text import parse_object
from accounts.wire.refusals import TooLarge, UnsupportedMedia

BODY_BYTES = 64 * 1024
PREKEY_BODY_BYTES = 512 * 1024
SEND_BODY_BYTES = 2 * 1024 * 1024

# Set in the ASGI scope by `limited_bodies` when it cut off a body that was larger than any call may have.
CUT_OFF = "waypost.body_cut_off"


class Fields(BaseModel):
    """A body, or a part of one, in which null means "left out" — save for the fields named in `nullable`."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)
    nullable: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _leave_out_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: item for name, item in value.items() if item is not None or name in cls.nullable}


class Changes(BaseModel):
    """The body of a PATCH: null clears; `model_fields_set` tells what was sent."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Nothing(Fields):
    """The body of a call without fields: `{}`, or none."""


def read_body(request: HttpRequest, most: int) -> dict[str, Any]:
    """The JSON object of the request, `{}` when there is none. Raises TooLarge, UnsupportedMedia or InvalidRequest, in this order."""
    raw = _bounded(request, most)
    if not raw:
        return {}
    if request.content_type != "application/json" or request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMedia
    if request.content_params is not None and request.content_params.get("charset", "utf-8").lower() != "utf-8":
        raise UnsupportedMedia
    return parse_object(raw)


def _bounded(request: HttpRequest, most: int) -> bytes:
    try:
        if not getattr(request, "scope", {}).get(CUT_OFF) and len(request.body) <= most:
            return request.body
    except RequestDataTooBig:
        pass
    raise TooLarge(limit="body", max=most)


class _JsonModel(BodyModel):
    most: ClassVar[int] = BODY_BYTES

    @classmethod
    def get_request_data(cls, request: HttpRequest, api: NinjaAPI, path_params: dict[str, Any]) -> dict[str, Any]:
        return {cls.__read_from_single_attr__: read_body(request, cls.most)}


class _PrekeyModel(_JsonModel):
    most = PREKEY_BODY_BYTES


class _SendModel(_JsonModel):
    most = SEND_BODY_BYTES


class JsonBody(NinjaBody):  # type: ignore[misc]  # Ninja's parameters extend pydantic's fields
    """A body of at most 64 KiB."""

    _model = _JsonModel

    def __init__(self) -> None:
        super().__init__(...)

    @classmethod
    def _param_source(cls) -> str:
        return "body"


class PrekeyBody(JsonBody):  # type: ignore[misc]  # Ninja's parameters extend pydantic's fields
    """A body of at most 512 KiB: where prekeys travel."""

    _model = _PrekeyModel


class SendBody(JsonBody):  # type: ignore[misc]  # Ninja's parameters extend pydantic's fields
    """A body of at most 2 MiB: a send."""

    _model = _SendModel
