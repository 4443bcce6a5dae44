"""The load as a process: `python -m tests.faults.load [plan.json]`; without a file the plan is the first line of stdin."""

import asyncio
import sys
from pathlib import Path

import msgspec
import uvloop

from tests.faults.load.console import Load, converse
from tests.faults.load.plan import Plan

LONGEST_LINE = 1 << 20


async def main(arguments: list[str]) -> None:
    """Runs until it is told to quit, or stdin ends."""
    commands = asyncio.StreamReader(limit=LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    text = await asyncio.to_thread(Path(arguments[0]).read_bytes) if arguments else await commands.readline()
    await converse(Load(msgspec.json.decode(text, type=Plan)), commands)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
