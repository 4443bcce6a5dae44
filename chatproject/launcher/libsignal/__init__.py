"""libsignal for the tests: what other clients speak is tried against its own implementation.

It is AGPL, so it is a tool of the tests alone: fetched into `.state`, never shipped, imported by nothing of ours.
"""

from chatproject.launcher.libsignal.fetching import Libsignal, fetch_libsignal
from chatproject.launcher.libsignal.variables import is_ci, libsignal_variables

__all__ = ["Libsignal", "fetch_libsignal", "is_ci", "libsignal_variables"]
