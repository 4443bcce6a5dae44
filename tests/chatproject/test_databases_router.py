"""Each app's tables have one home, and a query that goes to the wrong one fails."""

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections, models, router

from chatproject import routers
from chatproject.routers import CrossesDatabases
from messaging.models import MailboxRow


@pytest.mark.parametrize("model", apps.get_models(include_auto_created=True), ids=lambda model: model._meta.label)
def test_every_model_is_read_written_and_migrated_at_home_alone(model: type[models.Model]) -> None:
    alias, other = ("messages", "default") if model._meta.app_label == "messaging" else ("default", "messages")
    assert router.db_for_read(model) == router.db_for_write(model) == alias
    assert router.allow_migrate_model(alias, model)
    assert not router.allow_migrate_model(other, model)


def test_relations_stay_within_a_database() -> None:
    alice, bob = get_user_model()(), get_user_model()()
    assert router.allow_relation(alice, bob)
    assert not router.allow_relation(alice, MailboxRow())


def test_no_model_of_ours_points_into_another_database() -> None:
    assert routers.no_relation_across() == []


def test_a_model_that_points_into_another_database_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(routers.HOMES, "devices", "messages")
    found = routers.no_relation_across()
    assert "devices.Device.user points into another database." in {error.msg for error in found}


@pytest.mark.django_db(transaction=True, databases=["default", "messages"])
class TestQueriesThatCross:
    def test_a_model_asked_of_the_wrong_database_fails_loudly(self) -> None:
        with pytest.raises(CrossesDatabases, match="message_mailbox does not live in the database 'default'"):
            MailboxRow.objects.using("default").count()
        with pytest.raises(CrossesDatabases, match="does not live in the database 'messages'"):
            get_user_model().objects.using("messages").count()

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT 1 FROM message_history",
            'SELECT 1 FROM "message_history" h',
            "SELECT 1 FROM public.message_history",
            "SELECT 1 FROM accounts_user u JOIN message_mailbox m ON true",
            "INSERT INTO mailbox_cursor VALUES (1)",
            "WITH x AS (DELETE FROM store_heartbeat RETURNING 1) SELECT 1",
        ],
    )
    def test_a_statement_that_names_a_foreign_table_is_never_sent(self, sql: str) -> None:
        with connections["default"].cursor() as cursor, pytest.raises(CrossesDatabases):
            cursor.execute(sql)

    def test_a_table_at_home_and_a_text_that_only_sounds_like_one_pass(self) -> None:
        with connections["messages"].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM message_history")
            assert cursor.fetchone() == (0,)
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT 'message_history', %s AS my_message_history", ["message_history"])
            assert cursor.fetchone() == ("message_history", "message_history")

    def test_the_guard_stands_on_a_connection_that_was_opened_again(self) -> None:
        connections["default"].close()
        connections["default"].connect()
        assert connections["default"].execute_wrappers.count(routers.refuse_foreign_tables) == 1
        with connections["default"].cursor() as cursor, pytest.raises(CrossesDatabases):
            cursor.execute("SELECT 1 FROM message_history")
