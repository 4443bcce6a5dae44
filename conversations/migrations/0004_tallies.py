"""What remains of ledger rows that are gone."""

import django.db.models.deletion
from django.db import migrations, models

import conversations.models

# Rows are written once and removed in the order they came: vacuumed a twentieth at a time, what is freed is filled again soon.
LEDGER = (
    "ALTER TABLE conversations_ledger SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000)"
)


class Migration(migrations.Migration):
    dependencies = [("conversations", "0003_outbox_failures")]

    operations = [
        migrations.CreateModel(
            name="LedgerFloor",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("made_ms", models.BigIntegerField()),
            ],
            options={"db_table": "conversations_ledger_floor"},
        ),
        migrations.CreateModel(
            name="Tally",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "conversation_id",
                        "block",
                        "sender_user_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("block", models.BigIntegerField()),
                ("sender_user_id", models.UUIDField()),
                ("marks", conversations.models.MarksField()),
                (
                    "conversation",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="conversations.conversation",
                    ),
                ),
            ],
            options={"db_table": "conversations_tally"},
        ),
        migrations.RunSQL(LEDGER, migrations.RunSQL.noop),
    ]
