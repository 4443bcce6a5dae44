"""What Django's models cannot say about the log's tables."""

from django.db import migrations

# The low bits of message ids: unique on the server, whatever the clock does.
SERIAL = "CREATE SEQUENCE conversations_message_serial AS bigint CACHE 1"

# message_id rises with the rows: a few kilobytes of BRIN find one, where a B-tree would cost every append.
BRIN = "CREATE INDEX ledger_message_id ON conversations_ledger USING brin (message_id) WITH (pages_per_range = 16, autosummarize = on)"

# Heads move with every append and no index names what moves: room on the page keeps those updates there (HOT).
ROOM = "ALTER TABLE conversations_conversation SET (fillfactor = 60)"

# Rows live for milliseconds here. Bundles are ciphertext: compressing them costs and gains nothing.
OUTBOX = """
ALTER TABLE conversations_outbox ALTER COLUMN bundle SET STORAGE EXTERNAL;
ALTER TABLE conversations_outbox SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0)
"""


class Migration(migrations.Migration):
    dependencies = [("conversations", "0001_initial")]

    operations = [
        migrations.RunSQL(SERIAL, "DROP SEQUENCE conversations_message_serial"),
        migrations.RunSQL(BRIN, "DROP INDEX ledger_message_id"),
        migrations.RunSQL(ROOM, migrations.RunSQL.noop),
        migrations.RunSQL(OUTBOX, migrations.RunSQL.noop),
    ]
