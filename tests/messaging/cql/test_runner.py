"""Numbered CQL files: applied once, resumed when interrupted, refused when changed; on a real node."""

from pathlib import Path
from typing import Any

import pytest

from messaging.cql import commands, files, runner
from messaging.store.profiles import django_database

FIRST = "-- People; and what they say.\nCREATE TABLE IF NOT EXISTS {ks}.people (id uuid PRIMARY KEY, name text);\n"
BEAT = "INSERT INTO {ks}.store_heartbeat (id, timeline) VALUES (1, 1) USING TIMESTAMP 1"
BEATS = "SELECT id FROM {ks}.store_heartbeat"
SECOND = "ALTER TABLE {ks}.people ADD phone text;\nALTER TABLE {ks}.people ADD laptop text;\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_people.cql").write_text(FIRST)
    (tmp_path / "0002_devices.cql").write_text(SECOND)
    return tmp_path


def columns(keyspace: runner.Keyspace) -> set[str]:
    return set(keyspace._metadata.tables["people"].columns)


class TestFiles:
    def test_a_file_is_its_statements_without_comments(self, folder: Path) -> None:
        first, second = files.migrations(folder)
        assert (first.version, first.label, len(first.statements)) == (1, "0001_people", 1)
        assert first.statements[0].startswith("CREATE TABLE IF NOT EXISTS {ks}.people")
        assert len(second.statements) == 2
        assert first.checksum != second.checksum

    @pytest.mark.parametrize("name", ["0004_later.cql", "0002_again.cql", "next.cql", "0003-dash.cql"])
    def test_gaps_doubles_and_strange_names_are_refused(self, folder: Path, name: str) -> None:
        (folder / name).write_text(SECOND)
        with pytest.raises(ValueError, match=r"numbered|no name"):
            files.migrations(folder)


@pytest.mark.cassandra
class TestRunner:
    def test_files_are_applied_once_and_in_order(self, config: dict[str, Any], folder: Path) -> None:
        wanted = files.migrations(folder)
        with runner.connected(config) as keyspace:
            assert runner.pending(keyspace, wanted) == wanted
            assert runner.migrate(keyspace, wanted=wanted, target=1) == wanted[:1]
            assert columns(keyspace) == {"id", "name"}
            assert runner.migrate(keyspace, wanted=wanted) == wanted[1:]
            assert columns(keyspace) == {"id", "name", "phone", "laptop"}
            assert runner.migrate(keyspace, wanted=wanted) == []
        with runner.connected(config) as again:
            assert {version: record.state for version, record in again.applied().items()} == {1: "done", 2: "done"}

    def test_an_interrupted_file_is_resumed_after_what_is_already_in_effect(
        self, config: dict[str, Any], folder: Path
    ) -> None:
        wanted = files.migrations(folder)
        with runner.connected(config) as keyspace:
            runner.migrate(keyspace, wanted=wanted, target=1)
            keyspace.record(wanted[1], "running")
            keyspace.change(f"ALTER TABLE {keyspace.name}.people ADD phone text")
        with runner.connected(config) as keyspace:
            assert runner.pending(keyspace, wanted) == wanted[1:]
            runner.migrate(keyspace, wanted=wanted)
            assert columns(keyspace) == {"id", "name", "phone", "laptop"}
            assert keyspace.applied()[2].state == "done"

    def test_a_file_that_fails_stays_unfinished_and_goes_on_when_it_is_mended(
        self, config: dict[str, Any], folder: Path
    ) -> None:
        (folder / "0002_devices.cql").write_text(
            "ALTER TABLE {ks}.people ADD phone text;\nALTER TABLE {ks}.people ADD laptop nonsense;\n"
        )
        with pytest.raises(runner.MigrationError, match="refused"), runner.connected(config) as keyspace:
            runner.migrate(keyspace, wanted=files.migrations(folder))
        (folder / "0002_devices.cql").write_text(SECOND)
        with runner.connected(config) as keyspace:
            assert keyspace.applied()[2].state == "running"
            runner.migrate(keyspace, wanted=files.migrations(folder))
            assert columns(keyspace) == {"id", "name", "phone", "laptop"}

    def test_a_file_changed_after_it_was_applied_is_refused(self, config: dict[str, Any], folder: Path) -> None:
        with runner.connected(config) as keyspace:
            runner.migrate(keyspace, wanted=files.migrations(folder))
            (folder / "0001_people.cql").write_text(FIRST.replace("name text", "name blob"))
            with pytest.raises(runner.MigrationError, match="0001_people was changed"):
                runner.migrate(keyspace, wanted=files.migrations(folder))

    def test_faking_records_and_does_nothing(self, config: dict[str, Any], folder: Path) -> None:
        with runner.connected(config) as keyspace:
            runner.migrate(keyspace, wanted=files.migrations(folder), fake=True)
            assert "people" not in keyspace._metadata.tables
            assert runner.pending(keyspace, files.migrations(folder)) == []

    def test_the_keyspace_is_replicated_in_the_urls_data_centre(self, config: dict[str, Any]) -> None:
        with runner.connected(config) as keyspace:
            keyspace.create()
            strategy = keyspace._metadata.replication_strategy
            assert (strategy.name, strategy.dc_replication_factors[config["dc"]]) == (
                "NetworkTopologyStrategy",
                config["rf"],
            )

    @pytest.mark.parametrize("name", ["Upper", "1st", "with-dash", "x; DROP KEYSPACE y", "a" * 49])
    def test_a_strange_keyspace_is_refused_before_anything_is_said_to_the_cluster(
        self, config: dict[str, Any], name: str
    ) -> None:
        with (
            pytest.raises(runner.MigrationError, match="no name for a keyspace"),
            runner.connected(config | {"keyspace": name}),
        ):
            pass

    def test_what_is_planned_shown_and_emptied(self, config: dict[str, Any]) -> None:
        said: list[str] = []
        database = django_database(config)
        request = commands.Request(target=None, fake=False, lock=False, say=said.append, warn=said.append)
        assert [one.version for one in commands.plan(database, request, show=True)] == [1, 2]
        commands.migrate("messages", database, request)
        assert commands.plan(database, request, show=True) == []
        commands.show(database, said.append)
        with runner.connected(config) as keyspace:
            keyspace._session.execute(BEAT.format(ks=keyspace.name))
        commands.empty(database)
        with runner.connected(config) as keyspace:
            assert list(keyspace._session.execute(BEATS.format(ks=keyspace.name))) == []
            assert keyspace.applied()[1].state == "done"
        assert said == [
            "Planned operations:",
            "  messaging.cql.0001_initial",
            "  messaging.cql.0002_beats",
            "Migrating without a lock: nobody else may migrate this keyspace now.",
            f"Migrating the keyspace {config['keyspace']}:",
            "  Applying messaging.cql.0001_initial...",
            "  Applying messaging.cql.0002_beats...",
            "Planned operations:",
            "  No planned migration operations.",
            "messaging",
            " [X] 0001_initial",
            " [X] 0002_beats",
        ]
