import os

from chatproject.launcher.console import complain
from chatproject.launcher.errors import LauncherError
from chatproject.launcher.libsignal.fetching import fetch_libsignal


def libsignal_variables() -> dict[str, str]:
    """The environment that leads the tests to libsignal. Where it cannot be had, one loud line says why; in CI that is an error."""
    try:
        found = fetch_libsignal()
    except LauncherError as reason:
        if is_ci():
            raise
        complain(f"!!! libsignal is not here: {reason} Its tests are SKIPPED.")
        return {}
    return {"LIBSIGNAL_NODE": str(found.node), "LIBSIGNAL_MODULE": str(found.module)}


def is_ci() -> bool:
    """Whether nothing may be skipped, because nobody reads what was."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}
