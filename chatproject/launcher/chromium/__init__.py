"""A headless Chromium for the tests, with the libraries and fonts that a bare machine lacks: it is fetched into `.state` and never shipped."""

from chatproject.launcher.chromium.fetching import chromium_variables

__all__ = ["chromium_variables"]
