"""What expires is found by its time; the indexes over all times served nobody.

BRIN ranges never shrink: once ended mailbox rows are removed and their places filled again, each range spans all times.
"""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Deposits go on while the index is made.
    atomic = False
    dependencies = [("messaging", "0001_initial")]

    operations = [
        RemoveIndexConcurrently("historyrow", "message_history_kept"),
        RemoveIndexConcurrently("mailboxrow", "message_mailbox_ends"),
        AddIndexConcurrently(
            "historyrow",
            models.Index(
                fields=["expires_ms"],
                name="message_history_expiring",
                condition=models.Q(expires_ms__isnull=False, content__isnull=False),
            ),
        ),
    ]
