"""The `waypost` command."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from . import (
    conversation_commands,
    device_commands,
    key_commands,
    link_commands,
    people_commands,
    pin_commands,
    push_commands,
    register_commands,
    talk_commands,
)
from .advice import explain
from .console import Options, add_profile, ask_secrets
from .errors import (
    ConnectedElsewhere,
    NotAnswered,
    NotRegistered,
    ProfileInUse,
    SignedOut,
    Unreachable,
    WaypostError,
)

SUBJECTS = (
    register_commands,
    talk_commands,
    conversation_commands,
    device_commands,
    pin_commands,
    people_commands,
    key_commands,
    link_commands,
    push_commands,
)
EXIT_CODES: tuple[tuple[type[WaypostError], int], ...] = (
    (NotRegistered, 3),
    (SignedOut, 3),
    (Unreachable, 4),
    (ProfileInUse, 5),
    (ConnectedElsewhere, 5),
    (NotAnswered, 6),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. 0: done; 1: refused; 2: usage; 3: no device here; 4: no server; 5: used elsewhere; 6: only queued."""
    options = parser().parse_args(arguments)
    try:
        ask_secrets(options)
        asyncio.run(_until_stopped(options))
    except WaypostError as error:
        print(f"waypost: {explain(error)}", file=sys.stderr)
        return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)
    except KeyboardInterrupt:
        return 0 if options.stops_quietly else 130
    except BrokenPipeError:
        # Whoever read the output has gone; the interpreter would complain once more while closing it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="waypost", description="Talk end-to-end encrypted over a Waypost server.")
    add_profile(top, default=True)
    commands = top.add_subparsers(metavar="command", required=True)
    for subject in SUBJECTS:
        subject.add(commands)
    return top


async def _until_stopped(options: Options) -> None:
    """SIGTERM ends a command as tidily as Ctrl-C does."""
    running = asyncio.ensure_future(options.run(options))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
