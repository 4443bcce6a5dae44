import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    # Positions have an era.
    dependencies = [("accounts", "0003_lineage"), ("conversations", "0005_ledger_message")]

    operations = [
        migrations.CreateModel(
            name="LostRange",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "conversation_id", "from_seq", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("from_seq", models.BigIntegerField()),
                ("to_seq", models.BigIntegerField()),
                (
                    "conversation",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, to="conversations.conversation"
                    ),
                ),
            ],
            options={"db_table": "conversations_lost_range"},
        ),
    ]
