"""A push service of the tests' own, behind real TLS, and subscriptions of which they have the private keys."""

import asyncio
import base64
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

import http_ece
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.cast import JsonObject

AUTH = b"sixteen bytes !!"


class Pushed(NamedTuple):
    """One request that arrived."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class PushService:
    """What it answers may be changed while it runs."""

    port: int = 0
    status: int = 201
    headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""
    hangs: bool = False
    pushed: list[Pushed] = field(default_factory=list)
    connections: set["asyncio.Task[None]"] = field(default_factory=set)

    def endpoint(self, name: str = "phone") -> str:
        return f"https://localhost:{self.port}/push/{name}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        try:
            while await self._answer_one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.connections.discard(task)
            writer.transport.abort()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.pushed.append(Pushed(head[0], headers, body))
        if self.hangs:
            await asyncio.Event().wait()
        lines = [f"HTTP/1.1 {self.status} Whatever", f"Content-Length: {len(self.answer)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + self.answer)
        await writer.drain()
        return True


@asynccontextmanager
async def push_service(folder: Path) -> AsyncIterator[PushService]:
    """A running one. `folder` gets its certificate, in `ca.pem`."""
    service = PushService()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(folder))
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0, ssl=context)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()
        for task in set(service.connections):
            task.cancel()
        await asyncio.gather(*service.connections, return_exceptions=True)
        await server.wait_closed()


def certificate(folder: Path) -> Path:
    """Key and certificate of localhost in one file; the certificate alone in `ca.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a push service")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(Encoding.PEM)
    (folder / "ca.pem").write_bytes(pem)
    (folder / "both.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + pem)
    return folder / "both.pem"


class Subscription:
    """What a browser has after `pushManager.subscribe`."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def keys(self) -> JsonObject:
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {"p256dh": unpadded(point), "auth": unpadded(AUTH)}

    def at(self, endpoint: str) -> JsonObject:
        """The body of a registration."""
        return {"provider": "webpush", "endpoint": endpoint, "keys": self.keys}

    def read(self, pushed: Pushed) -> bytes:
        """What the message says to whoever has the private key."""
        plain: bytes = http_ece.decrypt(pushed.body, private_key=self._key, auth_secret=AUTH, version="aes128gcm")
        return plain


def unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
