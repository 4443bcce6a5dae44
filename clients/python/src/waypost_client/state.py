"""The device's one file: a SQLite database that only its owner may read.

Every change of ratchet state is committed together with the message it belongs to, so whatever is inside
`transaction()` happens wholly or not at all. It is never held across a network call. Two processes may open the same
profile: `BEGIN IMMEDIATE` lets one of them at a time read, ratchet and write.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import ProfileDamaged

SCHEMA_VERSION = 1
# BLOB: a column of any other type would turn "+66812345678" into a number.
SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE prekeys (
  slot TEXT NOT NULL, key_id INTEGER NOT NULL, private BLOB NOT NULL, public BLOB NOT NULL, signature BLOB,
  created_at REAL NOT NULL, uploaded INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (slot, key_id)
) WITHOUT ROWID;
CREATE TABLE peers (
  device_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, registration_id INTEGER NOT NULL, identity_key BLOB NOT NULL,
  active INTEGER NOT NULL DEFAULT 1, wants_session INTEGER NOT NULL DEFAULT 0, met_at REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX peers_of_user ON peers (user_id);
CREATE TABLE rosters (user_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE sessions (
  id INTEGER PRIMARY KEY, device_id TEXT NOT NULL, identity_key BLOB NOT NULL, base_key BLOB NOT NULL,
  associated_data BLOB NOT NULL, greeting BLOB, ratchet TEXT NOT NULL, used INTEGER NOT NULL,
  UNIQUE (device_id, base_key)
);
CREATE TABLE conversations (
  conversation_id TEXT PRIMARY KEY, next_seq INTEGER, detail BLOB, fresh INTEGER NOT NULL DEFAULT 0, read_seq INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE messages (
  id INTEGER PRIMARY KEY, conversation_id TEXT NOT NULL, message_id TEXT NOT NULL, seq INTEGER NOT NULL, sender_device_id TEXT,
  client_message_id TEXT, own INTEGER NOT NULL DEFAULT 0, shown INTEGER NOT NULL DEFAULT 0, event BLOB,
  UNIQUE (conversation_id, message_id)
);
CREATE INDEX messages_by_seq ON messages (conversation_id, seq);
CREATE INDEX messages_by_sender ON messages (conversation_id, client_message_id);
CREATE INDEX messages_held ON messages (conversation_id) WHERE shown = 0;
CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, event BLOB NOT NULL);
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT, conversation_id TEXT NOT NULL, client_message_id TEXT NOT NULL UNIQUE,
  text TEXT NOT NULL, written_at TEXT NOT NULL, reply_to TEXT, sealed BLOB, answer BLOB
);
CREATE INDEX outbox_by_conversation ON outbox (conversation_id, id);
"""


class State:
    """An open profile folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.db = _open(folder)
        except (OSError, sqlite3.Error) as error:
            raise ProfileDamaged(f"The profile in {folder} cannot be opened: {error}.") from error  # noqa: EM102 - names the folder

    def close(self) -> None:
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and nobody else writes meanwhile. A full disk or a damaged file is ProfileDamaged."""
        try:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")
        except sqlite3.Error as error:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise ProfileDamaged(f"The profile in {self.folder} cannot be written: {error}.") from error  # noqa: EM102 - as above

    def fact(self, name: str) -> Any:
        """A single remembered value, None when it was never set."""
        row = self.db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def remember(self, **facts: Any) -> None:
        """Keep these values. Inside a transaction they belong to it."""
        self.db.executemany("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", list(facts.items()))

    def changed_elsewhere(self) -> int:
        """A number that changes whenever another process has written to this profile."""
        return int(self.db.execute("PRAGMA data_version").fetchone()[0])


def _open(folder: Path) -> sqlite3.Connection:
    """SQLite gives its journal files the mode of the database, so the file is made with 0600 before it is opened."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "device.sqlite3"
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = sqlite3.connect(path, timeout=10, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    # FULL: a ratchet step that a power cut takes back would be taken twice.
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA secure_delete = ON")
    _create(db)
    return db


def _create(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    if db.execute("PRAGMA user_version").fetchone()[0] == 0:
        for statement in SCHEMA.split(";\n"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")
