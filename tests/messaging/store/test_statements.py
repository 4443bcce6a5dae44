"""What the stores may say to Cassandra and ScyllaDB: the subset both understand, and nothing that depends on a worker's clock."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from messaging.cql import files, runner
from messaging.store import cql_statements
from messaging.store.cql_timing import UntimedWrite, timed

STATEMENTS = cql_statements.ALL | runner.ALL
WRITES = {name: text for name, text in STATEMENTS.items() if not text.strip().startswith("SELECT")}
SCHEMA = [statement for migration in files.migrations() for statement in migration.statements] + [runner.CREATE_RECORDS]
APPS = ("chatproject", "accounts", "devices", "conversations", "messaging")
FORBIDDEN = re.compile(
    r"\bDELETE\b|\bIF\b|ALLOW FILTERING|\bCOUNTER\b|\bINDEX\b|MATERIALIZED|\bLOGGED\b|USING TIMEOUT|BYPASS CACHE|GROUP BY|\bJSON\b|now\(\)|\bnull\b",
    re.IGNORECASE,
)
# The only ones that delete anything.
PURGES = ["PURGE", "PURGE_CURSOR"]
TYPES = {"uuid", "bigint", "int", "tinyint", "blob", "text", "timestamp"}


def test_the_registry_holds_every_statement() -> None:
    assert {"KEEP", "DELIVER", "ACKNOWLEDGE", "PENDING", "WRITE_RECORD"} <= STATEMENTS.keys()
    assert len(WRITES) >= 7


@pytest.mark.parametrize("name", WRITES)
def test_every_write_says_its_own_time(name: str) -> None:
    assert re.search(r"USING TIMESTAMP \?", WRITES[name])


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {ks}.messages (seq) VALUES (?)",
        "insert\ninto {ks}.messages (seq) VALUES (?) USING TTL ?",
        "UPDATE {ks}.messages SET kind = ' USING TIMESTAMP 5 ' WHERE seq = ?",
        "UPDATE {ks}.messages USING TTL ? SET kind = ? WHERE seq = ?",
        "DELETE FROM {ks}.messages WHERE seq = ?",
        "DELETE content, system FROM {ks}.messages WHERE seq = ?",
        "BEGIN UNLOGGED BATCH INSERT INTO t (a) VALUES (1) USING TIMESTAMP 5; INSERT INTO t (a) VALUES (2); APPLY BATCH",
        "INSERT INTO t (a) VALUES (1) -- USING TIMESTAMP 5",
    ],
)
def test_a_write_without_its_time_is_refused(statement: str) -> None:
    with pytest.raises(UntimedWrite):
        timed(statement)


@pytest.mark.parametrize(
    "statement", [*STATEMENTS.values(), *SCHEMA, "TRUNCATE {ks}.messages", "ALTER TABLE t ADD a int"]
)
def test_what_says_its_time_or_writes_nothing_passes(statement: str) -> None:
    assert timed(statement) == statement


def sent_by(path: Path) -> Iterator[str]:
    """What is given to a driver's session in this file, as its source says it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("prepare", "execute", "execute_async", "execute_concurrent")
            and "session" in ast.unparse(node.func.value)
        ):
            yield ast.unparse(node.args[0])


def test_nothing_reaches_a_session_that_was_not_looked_at() -> None:
    """Prepared statements were looked at when they were prepared; everything else is looked at when it is sent."""
    rooms = [path for app in APPS for path in (Path(settings.BASE_DIR) / app).rglob("*.py")]
    sent = {(path.name, argument) for path in rooms for argument in sent_by(path)}
    assert len(sent) >= 6
    untimed = {one for one in sent if not one[1].startswith("timed(")}
    assert untimed == {
        ("bridge.py", "statement"),  # bound from what the store has prepared
        ("runner.py", "READ_RECORDS.format(ks=self.name)"),
        ("runner.py", "prepared"),
        ("runner.py", "f'TRUNCATE {self.name}.{table}'"),
    }


def test_cql_is_written_nowhere_else() -> None:
    """A statement with the keyspace's placeholder stands in one of the two registries, or in a numbered file."""
    known = {text.strip() for text in (*STATEMENTS.values(), runner.CREATE_RECORDS)}
    said = [
        node.value.strip()
        for app in APPS
        for path in (Path(settings.BASE_DIR) / app).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"{ks}\.\w", node.value)
    ]
    assert len(said) > 10
    assert [text for text in said if text not in known] == []


@pytest.mark.parametrize("name", [name for name, text in WRITES.items() if "message_deliveries" in text])
def test_every_row_of_a_mailbox_ends(name: str) -> None:
    assert "TTL ?" in WRITES[name] or name in PURGES


@pytest.mark.parametrize("name", PURGES)
def test_what_is_deleted_is_all_that_one_device_has_in_a_partition(name: str) -> None:
    assert re.fullmatch(
        r"DELETE FROM \S+ USING TIMESTAMP \? WHERE user_id = \?( AND bucket = \?)? AND device_id = \?", WRITES[name]
    )


@pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - PURGES))
def test_statements_keep_to_the_common_subset(name: str) -> None:
    assert FORBIDDEN.search(STATEMENTS[name]) is None


@pytest.mark.parametrize("name", [name for name, text in STATEMENTS.items() if text.strip().startswith("SELECT")])
def test_every_read_names_its_columns_and_its_partition(name: str) -> None:
    assert "*" not in STATEMENTS[name]
    assert "WHERE" in STATEMENTS[name]


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM {ks}.messages WHERE seq = ?", "SELECT seq FROM t ALLOW FILTERING", "UPDATE t SET a = null"],
)
def test_the_forbidden_is_found(statement: str) -> None:
    assert FORBIDDEN.search(statement)


@pytest.mark.parametrize("statement", [statement for statement in SCHEMA if statement.startswith("ALTER")])
def test_a_table_is_changed_by_one_column_of_a_plain_type(statement: str) -> None:
    added = re.fullmatch(r"ALTER TABLE \{ks\}\.\w+ ADD \w+ (\w+)", statement)
    assert added
    assert added[1] in TYPES


@pytest.mark.parametrize("statement", [statement for statement in SCHEMA if not statement.startswith("ALTER")])
def test_tables_use_plain_types_and_a_known_compaction(statement: str) -> None:
    assert statement.strip().startswith("CREATE TABLE IF NOT EXISTS {ks}.")
    body = statement[statement.index("(") + 1 : statement.rindex(") WITH") if ") WITH" in statement else None]
    columns = re.findall(r"^\s+(\w+) (\w+)(?:,| PRIMARY KEY|$)|(?<=, )(\w+) (\w+)(?=,)", body, re.MULTILINE)
    assert {first or second for _, first, _, second in columns} <= TYPES
    assert re.search(r"'class': '(LeveledCompactionStrategy|TimeWindowCompactionStrategy)'", statement)
