"""libsignal for the tests: what other clients speak is tried against its own implementation.

It is AGPL, so it is a tool of the tests alone: fetched into `.state`, never shipped, imported by nothing of ours.
"""

from chatproject.launcher.libsignal.fetching import libsignal_variables

__all__ = ["libsignal_variables"]
