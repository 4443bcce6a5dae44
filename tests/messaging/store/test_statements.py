"""What the stores may say to Cassandra and ScyllaDB: the subset both understand, and nothing that depends on a worker's clock."""

import re

import pytest

from messaging.cql import files, runner
from messaging.store import cql_statements

STATEMENTS = cql_statements.ALL | runner.ALL
WRITES = {name: text for name, text in STATEMENTS.items() if not text.strip().startswith("SELECT")}
SCHEMA = [statement for migration in files.migrations() for statement in migration.statements] + [runner.CREATE_RECORDS]
FORBIDDEN = re.compile(
    r"\bDELETE\b|\bIF\b|ALLOW FILTERING|\bCOUNTER\b|\bINDEX\b|MATERIALIZED|\bLOGGED\b|USING TIMEOUT|BYPASS CACHE|GROUP BY|\bJSON\b|now\(\)|\bnull\b",
    re.IGNORECASE,
)
TYPES = {"uuid", "bigint", "int", "tinyint", "blob", "text", "timestamp"}


def test_the_registry_holds_every_statement() -> None:
    assert {"KEEP", "DELIVER", "ACKNOWLEDGE", "PENDING", "WRITE_RECORD"} <= STATEMENTS.keys()
    assert len(WRITES) >= 7


@pytest.mark.parametrize("name", WRITES)
def test_every_write_says_its_own_time(name: str) -> None:
    assert re.search(r"USING TIMESTAMP \?", WRITES[name])


@pytest.mark.parametrize("name", [name for name, text in WRITES.items() if "message_deliveries" in text])
def test_every_write_to_a_mailbox_ends(name: str) -> None:
    assert "TTL ?" in WRITES[name]


@pytest.mark.parametrize("name", STATEMENTS)
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


@pytest.mark.parametrize("statement", SCHEMA)
def test_tables_use_plain_types_and_a_known_compaction(statement: str) -> None:
    assert statement.strip().startswith("CREATE TABLE IF NOT EXISTS {ks}.")
    body = statement[statement.index("(") + 1 : statement.rindex(") WITH") if ") WITH" in statement else None]
    columns = re.findall(r"^\s+(\w+) (\w+)(?:,| PRIMARY KEY|$)|(?<=, )(\w+) (\w+)(?=,)", body, re.MULTILINE)
    assert {first or second for _, first, _, second in columns} <= TYPES
    assert re.search(r"'class': '(LeveledCompactionStrategy|TimeWindowCompactionStrategy)'", statement)
