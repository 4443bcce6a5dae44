"""What is promised within some seconds, as a test can ask for it.

A test tells what is in time from what hangs. How long something takes on a machine of its own is a figure of `make faults` and `make bench`:
where tests run, a neighbour may have half of the processor, and a commit may wait for a disk.
"""

FOR_A_BUSY_MACHINE = 2.5


def promised(seconds: float) -> float:
    """The bound for what is promised within `seconds`."""
    return FOR_A_BUSY_MACHINE * seconds
