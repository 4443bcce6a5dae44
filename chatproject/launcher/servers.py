"""`servers`: private servers in the foreground, for working on one test at a time."""

import shlex
import signal
from collections.abc import Mapping
from pathlib import Path

from chatproject.launcher.console import say
from chatproject.launcher.fetched import fetched_variables
from chatproject.launcher.private import private_servers
from chatproject.launcher.state import STATE, only_one


def main(_arguments: list[str]) -> int:
    """Keeps PostgreSQL, Valkey and Cassandra running until Ctrl-C; `.state/dev/env` leads a shell to them."""
    directory = STATE / "dev"
    refusal = f"The servers for this checkout run already: source {directory / 'env'}"
    with only_one("servers", refusal), private_servers(directory) as environment:
        variables = directory / "env"
        _write(variables, environment | fetched_variables())
        try:
            say(f"  Ready. In another shell: . {variables} && python -m pytest …   Ctrl-C stops them.")
            signal.pause()
        except KeyboardInterrupt:
            return 0
        finally:
            variables.unlink()
    return 0


def _write(path: Path, environment: Mapping[str, str]) -> None:
    path.touch(mode=0o600)
    path.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()))
