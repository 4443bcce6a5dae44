"""The server that is looked at: its HTTP calls and its sockets, as any client reaches them."""

import json
import ssl
import time
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import httpx
import websockets
import websockets.sync.client
from websockets.sync.client import ClientConnection

from chatproject.checkup.table import Unwell

PATIENCE_SECONDS = 15.0

JsonObject = dict[str, Any]


class Server:
    """One base URL. Close it when done."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        tls = ssl.create_default_context()
        # Neither a proxy of the environment nor its credentials: it is this very server that is looked at.
        self._http = httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS, trust_env=False, verify=tls)
        self._tls = tls if self.url.startswith("https:") else None

    def close(self) -> None:
        self._http.close()

    def call(
        self, method: str, path: str, body: JsonObject | None = None, *, authorization: str = "", status: int = 200
    ) -> JsonObject:
        """The body of the answer to a call below /api/v1. Raises Unwell when its status is another than expected."""
        answer = self.answer(method, f"/api/v1/{path}", body, authorization=authorization)
        if answer.status_code != status:
            raise Unwell(_complaint(method, path, answer))
        return dict(answer.json()) if answer.content else {}

    def answer(
        self, method: str, path: str, body: JsonObject | None = None, *, authorization: str = ""
    ) -> httpx.Response:
        """Whatever the server says to this. Raises Unwell when it sends somewhere else."""
        headers = {"Authorization": authorization} if authorization else {}
        answer = self._http.request(method, path, json=body, headers=headers)
        if answer.is_redirect:
            sentence = f"the server sends plain calls to {answer.headers.get('location', '')[:40]}: give that --server"
            raise Unwell(sentence)
        return answer

    def socket(self, access_token: str) -> "Socket":
        """An open socket of the token's device; what it says first has been heard."""
        opening = websockets.sync.client.connect(
            self.url.replace("http", "ws", 1) + "/ws",
            subprotocols=[websockets.Subprotocol("waypost.v1.json")],
            additional_headers={"Authorization": f"Bearer {access_token}"},
            open_timeout=PATIENCE_SECONDS,
            close_timeout=1,
            compression=None,
            proxy=None,
            ssl=self._tls,
        )
        socket = Socket(opening)
        socket.expect("ready")
        return socket


class Socket:
    """One device's socket. Frames that nobody waits for yet are kept in order."""

    def __init__(self, opening: AbstractContextManager[ClientConnection]) -> None:
        self._open = ExitStack()
        self._connection = self._open.enter_context(opening)
        self._unread: list[JsonObject] = []

    def say(self, frame: JsonObject) -> None:
        self._connection.send(json.dumps(frame))

    def expect(self, kind: str, **fields: Any) -> JsonObject:
        """The next frame of this type with these fields. Raises Unwell for an `error` frame in its stead, TimeoutError when none comes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        for frame in self._unread:
            if _is_it(frame, kind, fields):
                self._unread.remove(frame)
                return frame
        while True:
            frame = json.loads(self._connection.recv(timeout=max(deadline - time.monotonic(), 0)))
            if _is_it(frame, kind, fields):
                return dict(frame)
            if frame.get("type") == "error":
                sentence = f"the socket answered {frame.get('error_code')}: {frame.get('error')}"
                raise Unwell(sentence)
            self._unread.append(frame)

    def close_code(self) -> int:
        """The code the server closes with; it may take a while. Raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while True:
                self._connection.recv(timeout=max(deadline - time.monotonic(), 0))
        except websockets.ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else 1006

    def close(self) -> None:
        self._open.close()


def _is_it(frame: JsonObject, kind: str, fields: JsonObject) -> bool:
    return frame.get("type") == kind and all(frame.get(name) == value for name, value in fields.items())


def _complaint(method: str, path: str, answer: httpx.Response) -> str:
    try:
        refusal = answer.json()
        said = f"{refusal['error_code']}: {refusal['error']}"
    except (ValueError, KeyError, TypeError):
        said = "with no refusal of ours: does something else listen there?"
    call = "/".join(part for part in path.split("/") if not any(letter.isdigit() for letter in part))
    return f"{method} {call} was answered with {answer.status_code}, {said}"
