"""What the description of the HTTP API says beside what Ninja finds out: refusals, and which bodies may be left out."""

from collections.abc import Iterator, Sequence
from typing import Any

from accounts.wire.refusals import ChatError, InvalidRequest, RetryInOrder

REFUSAL = "Refusal"
SCHEMAS = "#/components/schemas/"


def codes() -> dict[str, list[type[ChatError]]]:
    """The refusals of HTTP by their code, in the order of their status."""
    found: dict[str, list[type[ChatError]]] = {}
    for refusal in sorted(_all(ChatError), key=lambda one: one.status):
        if refusal is not RetryInOrder:
            found.setdefault(refusal.code, []).append(refusal)
    return found


def _all(base: type[ChatError]) -> Iterator[type[ChatError]]:
    yield base
    for narrower in base.__subclasses__():
        yield from _all(narrower)


def description() -> str:
    """The paragraph that explains errors, with a line for each code."""
    return "\n".join(
        [
            "End-to-end encrypted, multi-device messaging. Ids are text, bytes are standard base64, times are RFC 3339 in UTC.",
            "",
            "A refusal is `{error, error_code}` and what else is known about it, such as `field`, `retry_after_seconds` or `missing`.",
            "",
            "| error_code | status | |",
            "|---|---|---|",
            *(_line(code, refusals) for code, refusals in codes().items()),
        ]
    )


def _line(code: str, refusals: Sequence[type[ChatError]]) -> str:
    statuses = ", ".join(sorted({str(refusal.status) for refusal in refusals}))
    sentence = InvalidRequest.summary() if InvalidRequest in refusals else refusals[0].summary()
    return f"| {code} | {statuses} | {sentence} |"


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The same document, in which every operation also has its refusals, and a body is required only where it has a required field."""
    schemas = document["components"].setdefault("schemas", {})
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["responses"]["default"] = {
                "description": "Refused",
                "content": {"application/json": {"schema": {"$ref": f"{SCHEMAS}{REFUSAL}"}}},
            }
            if body := operation.get("requestBody"):
                name = body["content"]["application/json"]["schema"]["$ref"].removeprefix(SCHEMAS)
                body["required"] = "required" in schemas[name]
    schemas[REFUSAL] = _refusal()
    return document


def _refusal() -> dict[str, Any]:
    return {
        "title": REFUSAL,
        "type": "object",
        "properties": {
            "error": {"type": "string", "description": "a sentence for a person"},
            "error_code": {"type": "string", "enum": list(codes())},
            "retry_after_seconds": {
                "type": "integer",
                "description": "also in the header Retry-After, with 429 and 503",
            },
            "field": {"type": "string", "description": "which field is wrong, dotted: `device.name`"},
        },
        "required": ["error", "error_code"],
        "additionalProperties": True,
    }
