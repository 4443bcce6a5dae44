"""The checkup: one short life against the running server, and a direct look at each store.

Beside the steps (`life`) stand who lives it (`visitors`), how their codes are had (`codes`), their keys (`keys`), the stores (`stores`), and what
a person reads of it all (`table`).
"""
