"""The one error table of HTTP: which exception becomes which answer."""

import logging
import math
import traceback
from typing import Any

import psycopg
import redis
from django.db import InterfaceError, InternalError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from accounts.transactions import heal_connections
from accounts.wire.refusals import (
    ChatError,
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    StorageUnavailable,
    Unauthorized,
)
from messaging.store.protocol import StoreUnavailable

logger = logging.getLogger(__name__)

# What a store that is down, restarting or overloaded looks like from here.
STORES_DOWN = (
    OperationalError,
    InterfaceError,
    InternalError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
    redis.RedisError,
    StoreUnavailable,
)

OUR_FAULT = {"error": "Something went wrong on the server.", "error_code": "INTERNAL_ERROR"}


def refusal_response(refusal: ChatError) -> HttpResponse:
    """The answer to a refused request."""
    response = JsonResponse(refusal.body(), status=refusal.status)
    if refusal.status in (429, 503):
        response["Retry-After"] = str(max(1, math.ceil(refusal.retry_after or 1)))
    return response


def install(api: NinjaAPI) -> None:
    """Make the API answer every exception from this table."""
    api.add_exception_handler(ChatError, lambda _request, failure: refusal_response(_refusal(failure)))
    api.add_exception_handler(ValidationError, lambda _request, failure: refusal_response(_malformed(failure)))
    api.add_exception_handler(AuthenticationError, lambda _request, _failure: refusal_response(Unauthorized()))
    api.add_exception_handler(HttpError, lambda _request, _failure: refusal_response(InvalidRequest()))
    api.add_exception_handler(Http404, lambda _request, _failure: refusal_response(NotFound()))
    for exception in STORES_DOWN:
        api.add_exception_handler(exception, lambda _request, _failure: _unavailable())
    api.add_exception_handler(Exception, lambda _request, failure: our_fault(failure))


def _unavailable() -> HttpResponse:
    heal_connections()
    return refusal_response(StorageUnavailable())


def our_fault(failure: Exception | type[Exception]) -> HttpResponse:
    """Log where it happened, never what was in it: an exception's text may hold what the client sent."""
    logger.error(
        "%s at\n%s", type(failure).__name__, "".join(traceback.format_tb(getattr(failure, "__traceback__", None)))
    )
    return JsonResponse(OUR_FAULT, status=500)


def _refusal(failure: Any) -> ChatError:
    return failure if isinstance(failure, ChatError) else failure()


def _malformed(failure: Any) -> ChatError:
    """A body or query that does not parse is 400; an id in the path that does not parse is no place at all: 404."""
    for error in failure.errors:
        source, *where = error["loc"]
        if source != "path":
            field = ".".join(str(part) for part in (where[1:] if source == "body" else where[-1:]))
            return InvalidRequest(f"{field}: {error['msg']}", field=field) if field else InvalidRequest()
    return NotFound()


@csrf_exempt
def not_found(_request: HttpRequest, *_args: object, **_kwargs: object) -> HttpResponse:
    """No such path, a trailing slash among them."""
    return refusal_response(NotFound())


def bad_request(_request: HttpRequest, *_args: object, **_kwargs: object) -> HttpResponse:
    """What Django itself refuses: a forged host, a malformed header."""
    return refusal_response(InvalidRequest())


def forged(_request: HttpRequest, *_args: object, **_kwargs: object) -> HttpResponse:
    """A form that was not sent from one of our pages, or whose page is too old."""
    return refusal_response(
        Forbidden(sentence="This form has expired, or was not sent from this site. Load the page again.")
    )


def server_error(_request: HttpRequest, *_args: object, **_kwargs: object) -> HttpResponse:
    """What nobody caught. Django has logged it."""
    return JsonResponse(OUR_FAULT, status=500)


def as_refusal(response: HttpResponseBase) -> HttpResponseBase:
    """The same answer with the protocol's body, if it is a refusal that Django or Ninja wrote in words of their own."""
    if response.status_code != MethodNotAllowed.status or response.get("Content-Type", "").startswith(
        "application/json"
    ):
        return response
    refused = refusal_response(MethodNotAllowed())
    refused["Allow"] = response.get("Allow", "")
    return refused
