"""What OpenAPI says of refusals: every call may be refused, always with the same object, by one of these classes."""

from collections.abc import Iterator
from typing import Any

from accounts.wire.refusals import ChatError, RetryInOrder

SCHEMA = "Refusal"


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
    lines = ["| error_code | status | |", "|---|---|---|"]
    for code, refusals in codes().items():
        statuses = ", ".join(dict.fromkeys(str(one.status) for one in refusals))
        lines.append(
            f"| {code} | {statuses} | {refusals[-1].summary() if len(refusals) == 1 else 'The request is not well formed.'} |"
        )
    return "\n".join(
        [
            "End-to-end encrypted, multi-device messaging. Ids are text, bytes are standard base64, times are RFC 3339 in UTC.",
            "",
            "A refusal is `{error, error_code}` and what else is known about it, such as `field`, `retry_after_seconds` or `missing`.",
            "",
            *lines,
        ]
    )


def with_refusals(document: dict[str, Any]) -> dict[str, Any]:
    """The same document, in which every operation also has its refusals."""
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["responses"]["default"] = {
                "description": "Refused",
                "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{SCHEMA}"}}},
            }
    document["components"].setdefault("schemas", {})[SCHEMA] = {
        "title": SCHEMA,
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
    return document
