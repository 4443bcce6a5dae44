"""`bench`: the benchmarks on servers of their own, Cassandra's as large as a benchmark wants it."""

from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.cassandra import BENCH
from chatproject.launcher.child import run_child
from chatproject.launcher.private import private_servers
from chatproject.launcher.state import STATE, only_one


def main(arguments: list[str]) -> int:
    """The benchmarks' exit code; `arguments` are theirs."""
    refusal = "The benchmarks run already in this checkout."
    with only_one("bench", refusal), private_servers(STATE / "bench", BENCH) as environment:
        return run_child([str(PYTHON), "-m", "benchmarks", *arguments], environment)
