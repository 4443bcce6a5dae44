"""Bytes <-> frames. One definition serves JSON (text frames, base64) and MessagePack (binary frames, raw bytes)."""

import re
from typing import Any

import msgspec

from accounts.wire.refusals import ChatError, InvalidRequest
from messaging.frames.spoken import AnyClientFrame
from messaging.frames.told import ServerFrame

JSON = "waypost.v1.json"
MSGPACK = "waypost.v1.msgpack"
SUBPROTOCOLS = (JSON, MSGPACK)


class _AnyFrame(msgspec.Struct):
    """The least a frame must be: a map with a type."""

    type: str
    ref: Any = None


class NotAFrame(Exception):
    """These bytes are no map with a string `type`."""


class BadFrame(Exception):
    """A frame, but not a good one: `refusal` says why, `ref` is its ref where it has one."""

    def __init__(self, refusal: ChatError, ref: str | None) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal
        self.ref = ref


class Codec:
    """One subprotocol. `encode` gives the bytes of a frame; a JSON socket sends them as text."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_text = name == JSON
        module: Any = msgspec.json if self.is_text else msgspec.msgpack
        self._encoder = module.Encoder()
        self._frames = module.Decoder(AnyClientFrame)
        self._any = module.Decoder(_AnyFrame)

    def parse(self, data: bytes | str) -> AnyClientFrame:
        """The frame in these bytes. Raises NotAFrame or BadFrame."""
        try:
            frame: AnyClientFrame = self._frames.decode(data)
        except (msgspec.ValidationError, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as failure:
            raise self._explain(data, failure) from failure
        if frame.ref is not None and not is_plain(frame.ref):
            raise BadFrame(InvalidRequest(field="ref"), None)
        return frame

    def _explain(self, data: bytes | str, failure: Exception) -> NotAFrame | BadFrame:
        try:
            least = self._any.decode(data)
        except (msgspec.ValidationError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return NotAFrame()
        ref = least.ref if isinstance(least.ref, str) and len(least.ref) <= 64 and is_plain(least.ref) else None
        return BadFrame(InvalidRequest(**field_of(failure)), ref)

    def encode(self, frame: ServerFrame | dict[str, Any]) -> bytes:
        """The frame's bytes."""
        return self._encoder.encode(frame)  # type: ignore[no-any-return]


CODECS = {name: Codec(name) for name in SUBPROTOCOLS}
_PATH = re.compile(r"`\$\.?(?P<path>[^`]*)`$")


def field_of(failure: Exception) -> dict[str, Any]:
    """The dotted path msgspec names in its message, as the fact `field`; nothing where it names none."""
    found = _PATH.search(str(failure))
    path = found["path"].replace("[...]", "").replace("[", ".").replace("]", "").strip(".") if found else ""
    return {"field": path} if path else {}


def is_plain(text: str) -> bool:
    """Whether text may be stored and repeated: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
