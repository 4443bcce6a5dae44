"""Sources: where messages are kept. There is one so far; every conversation, and every entry of its log, carries its name."""

DEFAULT = "default"
