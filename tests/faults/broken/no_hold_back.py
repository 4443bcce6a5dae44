"""The client's rule: what arrives is shown as it arrives. The server is whole; clients of the tests ask `holds_back`."""

import os

from tests.faults import broken


def holds_back() -> bool:
    """Whether clients wait until seqs are contiguous."""
    return "no_hold_back" not in (broken.build(), os.environ.get(broken.VARIABLE))


def install() -> None:
    """Nothing of the server changes."""
