"""Two tables of one row that no model describes: emptying the models' tables must not set back what may only rise."""

from django.db import migrations

# Read for every position given; written by an accepted restore alone.
ERA = """
CREATE TABLE accounts_era (
    id smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1), added integer NOT NULL DEFAULT 0, restored_era integer NOT NULL DEFAULT 0
);
INSERT INTO accounts_era DEFAULT VALUES
"""

# Written every few seconds by every serving process, always on its page (HOT).
BEAT = """
CREATE TABLE accounts_beat (
    id smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1), beat bigint NOT NULL DEFAULT 0, compared_run text NOT NULL DEFAULT ''
) WITH (fillfactor = 10);
INSERT INTO accounts_beat DEFAULT VALUES
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_pruning")]

    operations = [
        migrations.RunSQL(ERA, "DROP TABLE accounts_era"),
        migrations.RunSQL(BEAT, "DROP TABLE accounts_beat"),
    ]
