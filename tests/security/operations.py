"""The operations of the HTTP API, as its own description tells of them."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chatproject.api import PREFIX, api

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Field:
    """One field of a body: where it stands, ("messages", 0, "device_id"), and the types of JSON it may have."""

    steps: tuple[str | int, ...]
    types: frozenset[str]

    @property
    def name(self) -> str:
        return ".".join(map(str, self.steps))

    def refuses(self, kind: str) -> bool:
        """Whether a value of this type is none for the field. What may be a number may be a whole one."""
        return bool(self.types) and kind not in self.types and not (kind == "integer" and "number" in self.types)


@dataclass(frozen=True)
class Operation:
    """One method of one path. `path` is below /api/v1 and has its parameters in braces."""

    method: str
    path: str
    is_open: bool
    queries: tuple[str, ...]
    schema: str | None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> list[str]:
        """The ids in its path."""
        return re.findall(r"{(\w+)}", self.path)

    def fields(self) -> list["Field"]:
        """The fields of its body, those of inner objects and of a list's first item too."""
        return list(_fields(self.schema)) if self.schema else []


@functools.cache
def document() -> dict[str, Any]:
    return dict(api.get_openapi_schema())


@functools.cache
def operations() -> dict[str, Operation]:
    """All of them by their names."""
    found = [
        _operation(method, path.removeprefix(f"/api{PREFIX}/"), methods[method])
        for path, methods in document()["paths"].items()
        for method in METHODS
        if method in methods
    ]
    return {operation.name: operation for operation in found}


def _operation(method: str, path: str, told: dict[str, Any]) -> Operation:
    queries = tuple(parameter["name"] for parameter in told.get("parameters", []) if parameter["in"] == "query")
    body = told.get("requestBody")
    schema = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2] if body else None
    return Operation(method.upper(), path, "security" not in told, queries, schema)


def _fields(schema: str) -> Iterator[Field]:
    for name, told in document()["components"]["schemas"][schema].get("properties", {}).items():
        yield Field((name,), _types(told))
        nested, is_list = _nested(told)
        if nested is not None:
            head: tuple[str | int, ...] = (name, 0) if is_list else (name,)
            yield from (Field((*head, *inner.steps), inner.types) for inner in _fields(nested))


def _types(told: dict[str, Any]) -> frozenset[str]:
    """The types of JSON a field may have; none: any."""
    types = {form.get("type", "object" if "$ref" in form else "") for form in told.get("anyOf", [told])}
    return frozenset() if "" in types else frozenset(types)


def _nested(told: dict[str, Any]) -> tuple[str | None, bool]:
    """The schema of the field's object, or of its list's items."""
    for form in (told, *told.get("anyOf", [])):
        if "$ref" in form:
            return form["$ref"].rpartition("/")[2], False
        if "$ref" in form.get("items", {}):
            return form["items"]["$ref"].rpartition("/")[2], True
    return None, False
