"""Ledger rows are found by their id through a B-tree.

A BRIN index serves rows that lie in the order of their ids. Once old rows are removed new ones fill their places, and its ranges, which never
shrink, span all ids: each look-up would read the whole table.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Sends go on while the index is made.
    atomic = False
    dependencies = [("conversations", "0004_tallies")]

    operations = [
        AddIndexConcurrently("ledgerrow", models.Index(fields=["message_id"], name="ledger_message")),
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS ledger_message_id",
            "CREATE INDEX ledger_message_id ON conversations_ledger USING brin (message_id)",
        ),
    ]
