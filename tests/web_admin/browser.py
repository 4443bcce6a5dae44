"""A real browser: headless Chromium, driven through its DevTools protocol. What it complains about is kept."""

import base64
import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PATIENCE_SECONDS = 30.0
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--window-size=1400,1000",
]


class Tab:
    """One tab. `complaints`: what the console said of errors, blocked resources among them."""

    def __init__(self, channel: ClientConnection) -> None:
        self.complaints: list[str] = []
        self._channel = channel
        self._number = 0
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one command."""
        self._number += 1
        self._channel.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while (message := self._receive()).get("id") != self._number:
            pass
        assert "error" not in message, (method, message["error"])
        return dict(message["result"])

    def run(self, script: str) -> Any:
        """The value of a script in the page."""
        result = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def go(self, url: str) -> None:
        """Open a page, and wait for it."""
        self.ask("Page.navigate", url=url)
        self.settle()

    def settle(self) -> None:
        """Wait until the page is loaded and its scripts have uncovered it."""
        ready = "document.readyState === 'complete' && !document.documentElement.hasAttribute('x-cloak')"
        deadline = time.monotonic() + PATIENCE_SECONDS
        time.sleep(0.2)
        while not self.run(ready):
            assert time.monotonic() < deadline, self.run("document.documentElement.outerHTML.slice(0, 2000)")
            time.sleep(0.05)

    def fill(self, **fields: str) -> None:
        """Type into the fields of these names."""
        for name, value in fields.items():
            self.run(f"document.querySelector('[name={name}]').value = {json.dumps(value)}")

    def submit(self, form: str) -> None:
        """Send a form as its button does, and wait for what comes."""
        self.run(f"setTimeout(() => document.querySelector({json.dumps(form)}).requestSubmit())")
        self.settle()

    def text(self, selector: str = "body") -> str:
        """What can be read there."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def picture(self, path: Path) -> None:
        """The whole page, as a PNG file."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._channel.recv(timeout=PATIENCE_SECONDS))
        params = message.get("params", {})
        if message.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:600])
        if message.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(params["args"])[:600])
        return message


@contextmanager
def chromium() -> Iterator[Tab]:
    """A tab of a browser that has never been anywhere."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [os.environ["CHROMIUM"], *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        with subprocess.Popen(
            command, env=_environment(profile), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                with connect(_address(Path(profile)), max_size=None) as channel:
                    yield Tab(channel)
            finally:
                process.terminate()


def _environment(home: str) -> dict[str, str]:
    """Its libraries and fonts, where it came with some."""
    brought = {"LD_LIBRARY_PATH": "CHROMIUM_LIBRARIES", "FONTCONFIG_PATH": "CHROMIUM_FONTS"}
    given = {name: os.environ[of] for name, of in brought.items() if of in os.environ}
    return os.environ | given | {"HOME": home}


def _address(profile: Path) -> str:
    """Of the tab's socket, once the browser has written its port down."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    port = profile / "DevToolsActivePort"
    while not (port.exists() and port.read_text().count("\n") >= 1):
        assert time.monotonic() < deadline, "the browser did not start"
        time.sleep(0.05)
    with urllib.request.urlopen(f"http://127.0.0.1:{port.read_text().split()[0]}/json") as answer:
        pages = [page for page in json.load(answer) if page["type"] == "page"]
    return str(pages[0]["webSocketDebuggerUrl"])
