"""What this app has done in this process, in numbers: read by `/metrics`. No number here belongs to a person, a device or an address."""

import threading

import msgspec

Tally = dict[str, int]


class AccountCounts(msgspec.Struct):
    """Since the process began. Tallies are by country (of a number, as in ISO 3166) or by reason."""

    codes_sent: Tally = msgspec.field(default_factory=dict)
    codes_verified: Tally = msgspec.field(default_factory=dict)
    codes_refused: Tally = msgspec.field(default_factory=dict)
    codes_wrong: int = 0
    sms_failures: Tally = msgspec.field(default_factory=dict)
    pins_wrong: int = 0
    registrations_stopped: int = 0
    tokens_reused: int = 0


# Of this process.
counts = AccountCounts()

_counting = threading.Lock()


def count(what: str, label: str | None = None) -> None:
    """One more in the number of this name, or under the label of the tally of this name. For the synchronous road, whose threads are many."""
    with _counting:
        number: int | Tally = getattr(counts, what)
        if isinstance(number, int):
            setattr(counts, what, number + 1)
        elif label is not None:
            number[label] = number.get(label, 0) + 1
