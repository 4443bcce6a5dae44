import django.contrib.postgres.indexes
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="MailboxCursor",
            fields=[
                ("device_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("low_position", models.BigIntegerField()),
                ("moved_ms", models.BigIntegerField()),
                ("low_bucket", models.IntegerField()),
                ("user_id", models.UUIDField()),
            ],
            options={
                "db_table": "mailbox_cursor",
            },
        ),
        migrations.CreateModel(
            name="StoreHeartbeat",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("timeline", models.IntegerField()),
                ("system_identifier", models.BigIntegerField()),
                ("beat_ms", models.BigIntegerField()),
                ("local_dc", models.TextField()),
            ],
            options={
                "db_table": "store_heartbeat",
            },
        ),
        migrations.CreateModel(
            name="HistoryRow",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "conversation_id", "seq", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("seq", models.BigIntegerField()),
                ("message_id", models.BigIntegerField(null=True)),
                ("position", models.BigIntegerField(null=True)),
                ("kept_ms", models.BigIntegerField(null=True)),
                ("sender_device_id", models.BigIntegerField(null=True)),
                ("reply_to", models.BigIntegerField(null=True)),
                ("deletes", models.BigIntegerField(null=True)),
                ("expires_ms", models.BigIntegerField(null=True)),
                ("deleted_at", models.DateTimeField(null=True)),
                ("conversation_id", models.UUIDField()),
                ("client_message_id", models.UUIDField(null=True)),
                ("sender_user_id", models.UUIDField(null=True)),
                ("sender_device_number", models.IntegerField(null=True)),
                ("urgent", models.BooleanField(null=True)),
                ("kind", models.TextField(null=True)),
                ("content", models.BinaryField(null=True)),
                ("system", models.JSONField(null=True)),
            ],
            options={
                "db_table": "message_history",
                "indexes": [
                    django.contrib.postgres.indexes.BrinIndex(
                        fields=["kept_ms"], name="message_history_kept", pages_per_range=64
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="MailboxRow",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "device_id",
                        "position",
                        "message_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("device_id", models.BigIntegerField()),
                ("position", models.BigIntegerField()),
                ("message_id", models.BigIntegerField()),
                ("ends_ms", models.BigIntegerField()),
                ("seq", models.BigIntegerField(null=True)),
                ("delivered_at", models.DateTimeField(null=True)),
                ("user_id", models.UUIDField()),
                ("conversation_id", models.UUIDField(null=True)),
                ("envelope", models.BinaryField()),
            ],
            options={
                "db_table": "message_mailbox",
                "indexes": [
                    django.contrib.postgres.indexes.BrinIndex(
                        fields=["ends_ms"], name="message_mailbox_ends", pages_per_range=64
                    )
                ],
            },
        ),
        # Ciphertext does not compress: do not try. An acknowledged row is written again, shorter, where there is room for it on its page.
        migrations.RunSQL(
            "ALTER TABLE message_history ALTER COLUMN content SET STORAGE EXTERNAL;"
            "ALTER TABLE message_mailbox ALTER COLUMN envelope SET STORAGE EXTERNAL;"
            "ALTER TABLE message_mailbox SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05);",
            migrations.RunSQL.noop,
        ),
    ]
