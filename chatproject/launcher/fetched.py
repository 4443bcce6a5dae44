from chatproject.launcher.chromium import chromium_variables
from chatproject.launcher.libsignal import libsignal_variables


def fetched_variables() -> dict[str, str]:
    """The environment that leads the tests to what is fetched for them, and for nothing else."""
    return libsignal_variables() | chromium_variables()
