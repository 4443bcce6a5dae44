"""JSON as clients may send it: an object, at most 16 deep, at most 64 keys each, without NaN, NUL, lone surrogates or a key twice."""

import json
import math
from typing import Any

from accounts.wire.refusals import InvalidRequest

DEEPEST = 16
MOST_KEYS = 64


def parse_object(raw: bytes | str) -> dict[str, Any]:
    """The object of this JSON text. Raises InvalidRequest for everything else, with the `field` where there is one."""
    try:
        text = raw.decode("utf-8") if isinstance(raw, bytes) else raw
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as failure:
        raise InvalidRequest(sentence="The body is not valid JSON.") from failure
    if not isinstance(document, dict):
        raise InvalidRequest(sentence="The body must be a JSON object.")
    _check(document, "", 1)
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_KEYS:
        raise InvalidRequest(sentence=f"An object has more than {MOST_KEYS} keys.")
    document = dict(pairs)
    if len(document) != len(pairs):
        raise InvalidRequest(sentence="An object has a key twice.")
    return document


def _no_constant(_name: str) -> None:
    raise InvalidRequest(sentence="NaN and Infinity are not JSON.")


def _check(value: Any, where: str, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value, where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidRequest(sentence="A number is too large.", field=where)
    elif isinstance(value, dict | list):
        _check_inside(value, where, depth)


def _check_inside(value: dict[str, Any] | list[Any], where: str, depth: int) -> None:
    if depth > DEEPEST:
        raise InvalidRequest(sentence=f"The body is nested more than {DEEPEST} deep.")
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        _check(key, where, depth)
        _check(item, f"{where}.{key}" if where else str(key), depth + 1)


def _check_text(value: str, where: str) -> None:
    if "\0" in value or not _is_encodable(value):
        raise _unfit(where)


def _unfit(where: str) -> InvalidRequest:
    sentence = "Text must not contain NUL or lone surrogates."
    return InvalidRequest(sentence, field=where) if _is_encodable(where) else InvalidRequest(sentence)


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
