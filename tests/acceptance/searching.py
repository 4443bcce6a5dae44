"""Looking for things that must not be found: each one raw, as hex and as base64, in everything an installation keeps."""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg import sql

Found = list[tuple[str, str]]


def forms(secret: bytes) -> list[bytes]:
    """How a secret may lie in a store: as it is, as hex, as base64 at each of the three alignments, in both alphabets."""
    found = [secret, secret.hex().encode(), secret.hex().upper().encode()]
    for lead in range(3):
        # The characters at both ends mix with the neighbours; those between are the secret's own.
        text = base64.b64encode(b"\0" * lead + secret)
        core = text[(8 * lead + 5) // 6 : (8 * (lead + len(secret))) // 6]
        found += [core, core.translate(bytes.maketrans(b"+/", b"-_"))]
    return [form for form in found if len(form) >= 8]


def search(secrets: dict[str, bytes], places: Iterable[tuple[str, bytes]]) -> Found:
    """(name of the secret, where it was) for each secret that is in one of the places."""
    wanted = {name: forms(secret) for name, secret in secrets.items()}
    return [
        (name, place)
        for place, data in places
        for name, candidates in wanted.items()
        if any(form in data for form in candidates)
    ]


def rows(url: str) -> Iterator[tuple[str, bytes]]:
    """Every row of every table, uncompressed, bytea as hex."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in tables:
            with connection.cursor().copy(
                sql.SQL("COPY {}.{} TO STDOUT").format(sql.Identifier(schema), sql.Identifier(table))
            ) as copy:
                for row in copy:
                    yield f"row of {table}", bytes(row)


def values_of_columns(url: str) -> set[str]:
    """Every value of every column as text."""
    return {value.decode() for _, row in rows(url) for value in row.rstrip(b"\n").split(b"\t") if value.isascii()}


def redis_values(url: str) -> Iterator[tuple[str, bytes]]:
    """Every key and value."""
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter():
            yield "a Redis key", key
            yield f"Redis value of {key!r}", _value(client, key)


def _value(client: Any, key: bytes) -> bytes:
    match client.type(key):
        case b"string":
            return bytes(client.get(key))
        case b"hash":
            return b"\n".join(part for pair in client.hgetall(key).items() for part in pair)
        case b"list":
            return b"\n".join(client.lrange(key, 0, -1))
        case b"set":
            return b"\n".join(client.smembers(key))
        case b"zset":
            return b"\n".join(client.zrange(key, 0, -1))
    raise AssertionError(key)


def files(*folders: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below these folders."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield f"file {path.relative_to(folder.parent)}", path.read_bytes()
