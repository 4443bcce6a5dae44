"""The order of beats, whoever's clock says what: PostgreSQL's era, and the beat it counted."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0002_pruning")]

    operations = [
        migrations.AddField("storeheartbeat", "era", models.IntegerField(default=0, db_default=0)),
        migrations.AddField("storeheartbeat", "beat", models.BigIntegerField(default=0, db_default=0)),
    ]
