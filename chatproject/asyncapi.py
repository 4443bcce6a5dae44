"""The socket protocol described for programs: `/api/asyncapi.yaml`, made from the frames the server really parses and sends."""

import functools
from collections.abc import Sequence
from typing import Any

import msgspec
import yaml
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from accounts.wire import refusals
from messaging import close_codes
from messaging.frames import CLIENT_FRAMES, SERVER_FRAMES, SUBPROTOCOLS, ClientFrame, ServerFrame

Frame = type[ClientFrame] | type[ServerFrame]

SUMMARIES = {
    "authenticate": "The first frame of a socket that was opened without an Authorization header.",
    "send": "Send a message: one entry for each device that has to get it. Answered by `sent` or `error`.",
    "ack": "These messages are on the device's disk; the server empties their mailbox rows. Answered only when refused.",
    "read": "The user has read up to `seq`. Never goes back. Answered only when refused.",
    "typing": "The user types, or has stopped; said again every 3 s, hidden after 6 s. Told once to the other members who want to hear it.",
    "call": "Call signalling, passed on once to connected devices of the members: to `device_id`, or to all others. The body is opaque.",
    "presence": "Who of these is there. Answered at once and then told of changes, until the next `presence`; those who are out of sight are left out.",
    "ping": "Answered by `pong`.",
    "ready": "The device is connected. The first frame the server sends.",
    "envelope": "One message for this device. Comes again until it is acknowledged.",
    "queue_empty": "Everything that was committed for this device when it connected has been sent. Once per socket.",
    "sent": "The message is committed and has this place. A repeated send gets the first answer, with `duplicate`.",
    "receipt": "A device has a message, or its user has read up to it.",
    "devices_changed": "Somebody's devices are others than before.",
    "prekeys_low": "Upload one-time prekeys: this few are left.",
    "degraded": "These stores of the server are away: some things are slower, later or refused. None: all are well again.",
    "pong": "The answer to `ping`.",
    "error": "A refusal. What else it knows (`missing`, `max`, `field` …) stands beside these fields.",
}
CLOSE_CODES = {
    close_codes.PROTOCOL_ERROR: "the third frame that was no map with a string `type`",
    close_codes.UNAUTHENTICATED: "not authenticated within 5 s, or the device's tokens have ended",
    close_codes.NOT_KEEPING_UP: "envelopes were sent twice and not acknowledged, or the client does not read",
    close_codes.CONNECTED_ELSEWHERE: "the device has a newer socket",
    close_codes.TOO_FAST: "too many frames",
    close_codes.UNSUPPORTED_DATA: "a binary frame on a JSON socket, or a text frame on a MessagePack socket",
    close_codes.NOT_TEXT: "text that is not UTF-8",
    close_codes.FRAME_TOO_LARGE: "a frame above 256 KiB",
    close_codes.SERVICE_RESTART: "the server is being restarted",
    close_codes.TRY_AGAIN_LATER: "PostgreSQL was not there to authenticate, or the server has failed: come back",
}
REFUSALS: tuple[type[refusals.ChatError], ...] = (
    refusals.InvalidRequest,
    refusals.InvalidToken,
    refusals.Forbidden,
    refusals.NotFound,
    refusals.Conflict,
    refusals.MismatchedDevices,
    refusals.StaleKey,
    refusals.StaleDevices,
    refusals.TooLarge,
    refusals.RateLimited,
    refusals.StorageUnavailable,
    refusals.SourceReadOnly,
    refusals.RetryInOrder,
)
ERROR_FRAME: dict[str, Any] = {
    "title": "ErrorFrame",
    "type": "object",
    "properties": {
        "type": {"enum": ["error"]},
        "ref": {"type": "string", "description": "of the frame that was refused, if it had one"},
        "error_code": {"enum": [refusal.code for refusal in REFUSALS]},
        "error": {"type": "string", "description": "a sentence for a person"},
        "retryable": {"type": "boolean", "description": "the same frame may pass later"},
        "retry_after_ms": {"type": "integer"},
    },
    "required": ["type", "error_code", "error", "retryable"],
    "additionalProperties": True,
}
TEMPLATE = "#/components/schemas/{name}"


@csrf_exempt
@require_safe
def view(_request: HttpRequest) -> HttpResponse:
    """The description as YAML."""
    return HttpResponse(_text(), content_type="application/yaml")


@functools.cache
def _text() -> str:
    return yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=150)


def document() -> dict[str, Any]:
    """The AsyncAPI 3 document, from the server's side: it receives what clients say."""
    _, schemas = msgspec.json.schema_components([*CLIENT_FRAMES, *SERVER_FRAMES], ref_template=TEMPLATE)
    said, answered = _names("client", CLIENT_FRAMES), [*_names("server", SERVER_FRAMES), "server.error"]
    messages = {name: _message(name, TEMPLATE.format(name=frame.__name__)) for name, frame in _named().items()}
    messages["server.error"] = _message("server.error", TEMPLATE.format(name="ErrorFrame"))
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Waypost: one connected device", "version": "1", "description": _description()},
        "defaultContentType": "application/json",
        "channels": {
            "device": {
                "address": "/ws",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": {
            "hear": _operation("receive", said, "What a client says."),
            "tell": _operation("send", answered, "What the server says."),
        },
        "components": {"messages": messages, "schemas": _portable(schemas) | {"ErrorFrame": ERROR_FRAME}},
    }


def _named() -> dict[str, Frame]:
    frames: Sequence[Frame] = [*CLIENT_FRAMES, *SERVER_FRAMES]
    return dict(zip([*_names("client", CLIENT_FRAMES), *_names("server", SERVER_FRAMES)], frames, strict=True))


def _names(side: str, frames: Sequence[Frame]) -> list[str]:
    return [f"{side}.{frame.__struct_config__.tag}" for frame in frames]


def _message(name: str, schema: str) -> dict[str, Any]:
    tag = name.partition(".")[2]
    return {"name": tag, "summary": SUMMARIES[tag], "payload": {"$ref": schema}}


def _operation(action: str, names: Sequence[str], summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": "#/channels/device"},
        "messages": [{"$ref": f"#/channels/device/messages/{name}"} for name in names],
    }


def _portable(schema: Any) -> Any:
    r"""The same schema with patterns of the common dialect: Python's \Z is a letter to others."""
    if isinstance(schema, dict):
        return {
            key: value.replace(r"\Z", "$") if key == "pattern" else _portable(value) for key, value in schema.items()
        }
    return [_portable(item) for item in schema] if isinstance(schema, list) else schema


def _description() -> str:
    closings = "\n".join(f"* {code}: {meaning}" for code, meaning in CLOSE_CODES.items())
    return (
        f"Subprotocols: {', '.join(f'`{name}`' for name in SUBPROTOCOLS)}; without one, JSON. In MessagePack the same maps travel in binary"
        " frames, with raw bytes where JSON has base64. Every client frame may carry `ref`, which its answer repeats. Unknown fields are"
        " ignored in both directions, and clients ignore frames they do not know.\n\n"
        f"Close codes:\n\n{closings}\n"
    )
