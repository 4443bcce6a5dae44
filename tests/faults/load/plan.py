"""What a run of the load is: where the servers are, how many people there are, how often something happens."""

import msgspec

Span = tuple[float, float]


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line on stdin, or the file named on the command line. Times are in seconds; `…_every` 0 means never.

    `urls` are the bases of the HTTP API ("http://127.0.0.1:8000"), taken in turn. `sms` is the file the gateway appends codes to. `history` and
    `markers` are written: the events, and one planted secret a line, with its kind in front, for the search in log files.
    """

    urls: tuple[str, ...]
    sms: str
    history: str
    markers: str
    seed: int = 1

    users: int = 40
    devices: int = 2
    guests: int = 10
    conversations: int = 12
    largest: int = 30
    skewed: int = 4

    rate: float = 45.0
    pipelining: int = 5
    http_share: float = 0.03
    # Every so manieth message of a device in a conversation has one content for everybody instead of a ciphertext for each.
    shared_every: int = 5
    # Every so manieth expires, after so many seconds: before a guest who is away comes back.
    expiring_every: int = 9
    expires_in: int = 20
    # Every so manieth deletes the device's last message in the conversation that had one content for everybody.
    deleting_every: int = 17
    size: int = 200
    give_up: float = 180.0
    # Longer than what is promised, so that a late answer is seen as late and not as none.
    patience: float = 8.0

    membership_every: float = 10.0
    devices_every: float = 20.0
    reinstall_every: float = 90.0
    found_every: float = 120.0
    look_every: float = 3.0
    guests_every: float = 15.0
    connected: Span = (5.0, 60.0)

    slow: int = 1
    silent: int = 1
    mad: int = 2
