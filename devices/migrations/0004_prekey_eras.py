"""One-time prekeys belong to an era; those that are there when this runs, to the present one."""

import django.contrib.postgres.fields
from django.db import migrations, models

from accounts.positions import ERA

# Which era the newest device id was given in. No model describes it: emptying the models' tables must not set it back.
ENTERED = f"""
CREATE TABLE devices_era (id smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1), entered integer NOT NULL);
INSERT INTO devices_era (entered) SELECT {ERA};
"""
PRESENT = f"UPDATE devices_device SET prekeys_era = n.era, pq_prekeys_era = n.era FROM (SELECT {ERA} AS era) n"  # noqa: S608


class Migration(migrations.Migration):
    dependencies = [("devices", "0003_purged"), ("accounts", "0003_lineage")]

    operations = [
        migrations.AddField("device", "prekeys_era", models.IntegerField(db_default=0, default=0)),
        migrations.AddField("device", "pq_prekeys_era", models.IntegerField(db_default=0, default=0)),
        migrations.AddField(
            "signedprekey",
            "former",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.BinaryField(max_length=32), db_default=[], default=list, size=None
            ),
        ),
        migrations.RunSQL(ENTERED, "DROP TABLE devices_era"),
        migrations.RunSQL(PRESENT, migrations.RunSQL.noop),
    ]
