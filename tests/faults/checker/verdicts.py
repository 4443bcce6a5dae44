"""What the checker can say against a run. The words are used everywhere: in reports, in tests, in the table of broken builds."""

from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    """One way in which a promise was broken."""

    LOST = "lost"
    """I1. An acknowledged message, or a system entry, is not there for a device that must have it; or it is not in the ledger at all."""
    DUPLICATED = "duplicated"
    """I1. A device showed a message twice."""
    REORDERED = "reordered"
    """I2, I5. A device showed a lower seq after a higher one; or seqs contradict the order of one sender, or of answers and later calls."""
    GAP = "gap"
    """I2. A device went on without a seq that is its own and that nobody said was missing; or the ledger has a hole."""
    DIVERGED = "diverged"
    """I3, I4. One message has two places, one place two messages; or the log tells of other changes than clients and PostgreSQL do."""
    LEAKED = "leaked"
    """I6. A device got what was committed while its user was no member, or before it was there."""
    UNLINKED = "unlinked"
    """I14. An unlinked device got what was committed after it, connected again, or kept its socket."""
    MIXED = "mixed"
    """I7. A payload is not what was sent under its name, or comes from somebody else, or was meant for another device."""
    TORN = "torn"
    """I8. A refused send was stored; or one without an answer reached some devices and not all."""
    HUNG = "hung"
    """I9. A call had no answer in time, and nothing froze the server meanwhile."""
    MALFORMED = "malformed"
    """I9. An HTTP answer that no client could expect."""
    LATE = "late"
    """P8. A connected device waited for a message as only a sweep can explain, while nothing was wrong."""
    BACKLOG = "backlog"
    """I10. Something is still undeposited at the end, or the watermark does not come after it."""
    UNRECOVERED = "unrecovered"
    """P10. Sends still failed a minute after a fault had ended."""
    RECEIPT = "receipt"
    """I11. A receipt from somebody who is no recipient or said nothing of the kind, or twice on one socket, or a mark that went back."""
    SECRET = "secret"
    """I12. A planted secret stands in a file, or the search for them does not find what it must."""
    RESOURCES = "resources"
    """I13. A process holds a tenth more than before the faults."""
    RESURRECTED = "resurrected"
    """The ciphertext of an acknowledged message is still, or again, kept; or that of an expired one is sent."""
    UNFINISHED = "unfinished"
    """The run cannot be judged: its end is missing, or a device that was to drain did not."""


class Violation(msgspec.Struct, frozen=True):
    """One thing that must not be, and where."""

    verdict: Verdict
    what: str
    at: float | None = None
