"""A web process as it is served."""

import gc
import socket
import subprocess
import sys
from typing import Any

import httpx

PROGRAM = "from chatproject.serve import main; main('tests.chatproject.test_serve:application')"


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Says how many objects the collector leaves out, and how many it looks through."""
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
        return
    body = f"{gc.get_freeze_count()} {len(gc.get_objects())}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def test_the_collector_leaves_out_what_a_web_process_has_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        command = [sys.executable, "-c", PROGRAM, "--fd", str(listener.fileno())]
        with subprocess.Popen(command, pass_fds=[listener.fileno()]) as process:
            try:
                answer = httpx.get(url, timeout=30).text
            finally:
                process.terminate()
    left_out, looked_through = map(int, answer.split())
    assert left_out > 10 * looked_through
