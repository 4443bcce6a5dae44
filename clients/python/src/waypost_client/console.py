"""What every command of `waypost` needs: its profile, what it prints, what a person types."""

import argparse
import asyncio
import getpass
import os
import sys
import termios
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from .errors import NotTyped

PLATFORMS = ("desktop", "android", "ios", "web", "bot")
Options = argparse.Namespace
Command = Callable[[Options], Awaitable[None]]


def command(
    commands: Any,
    name: str,
    run: Command,
    summary: str,
    *,
    stops_quietly: bool = False,
    asks: Mapping[str, str] | None = None,
) -> argparse.ArgumentParser:
    """Add a command. `asks`: options that a person is asked for, without an echo, when they are not given; by name, with the prompt."""
    added: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
    added.set_defaults(run=run, stops_quietly=stops_quietly, asks=asks or {})
    add_profile(added, default=False)
    return added


def add_profile(target: argparse.ArgumentParser, *, default: bool) -> None:
    """These may stand before the command or after it; after it they must not fall back to their defaults again."""
    home = Path(os.environ.get("WAYPOST_HOME", Path.home() / ".waypost"))
    suppressed = argparse.SUPPRESS
    target.add_argument(
        "--profile", default="default" if default else suppressed, help="which device to be (default: default)"
    )
    target.add_argument(
        "--state",
        type=Path,
        default=None if default else suppressed,
        help=f"the profile's folder (default: {home}/PROFILE)",
    )
    target.add_argument(
        "--json", action="store_true", default=False if default else suppressed, help="one JSON object per line"
    )


def folder(options: Options) -> Path:
    """The folder of the chosen profile."""
    if options.state is not None:
        return Path(options.state)
    return Path(os.environ.get("WAYPOST_HOME", Path.home() / ".waypost")) / str(options.profile)


def ask_secrets(options: Options) -> None:
    """Fill in what the command asks for: typed at the terminal, or the next lines of standard input. Raises NotTyped."""
    for name, prompt in options.asks.items():
        if getattr(options, name) is None:
            setattr(options, name, ask_secret(prompt))


def ask_secret(prompt: str) -> str:
    """What a person types, which nobody sees. Raises NotTyped."""
    try:
        typed = getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline()
    except EOFError:
        typed = ""
    if not typed.rstrip("\r\n"):
        raise NotTyped
    return typed.rstrip("\r\n")


def say(options: Options, line: str, value: Any) -> None:
    """The line, or with --json the value."""
    print(msgspec.json.encode(value).decode() if options.json else line, flush=True)


def aside(options: Options, line: str) -> None:
    """A line beside the output; nothing with --json."""
    if not options.json:
        print(line, file=sys.stderr, flush=True)


def prompt(text: str) -> None:
    """Ask for a line."""
    print(text, end="", file=sys.stderr, flush=True)


@contextmanager
def unseen() -> Iterator[None]:
    """What is typed meanwhile does not appear on the terminal."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        print(file=sys.stderr)


async def typed_lines() -> AsyncIterator[str]:
    """Lines of standard input. A thread reads them, and is left behind if nobody types any more."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Queue[str | None] = asyncio.Queue()

    def hand_over(line: str | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(typed.put_nowait, line)

    def read() -> None:
        # Not through sys.stdin: a thread that waits inside it holds its lock, and the interpreter could not end.
        rest = b""
        while block := os.read(sys.stdin.fileno(), 65536):
            *complete, rest = (rest + block).split(b"\n")
            for line in complete:
                hand_over(line.decode(errors="replace").rstrip("\r"))
        if rest:
            hand_over(rest.decode(errors="replace"))
        hand_over(None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await typed.get()) is not None:
        yield line
