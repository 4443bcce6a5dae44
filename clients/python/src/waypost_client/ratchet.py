"""The Double Ratchet as this client parameterises it, and its messages as bytes.

https://signal.org/docs/specifications/doubleratchet/ with X25519, HKDF-SHA-256 for the root chain, HMAC-SHA-256 for the
message chains, AES-256-CBC with HMAC-SHA-256 for the messages.
"""

import json
import struct
import warnings
from collections.abc import Coroutine
from typing import Any, TypeVar

from doubleratchet import DoubleRatchet, EncryptedMessage, Header
from doubleratchet.recommended import HashFunction, aead_aes_hmac, kdf_hkdf, kdf_separate_hmacs
from doubleratchet.recommended.diffie_hellman_ratchet_curve25519 import DiffieHellmanRatchet

HEADER = struct.Struct(">32sII")
MOST_SKIPPED = 1000
T = TypeVar("T")


class _RootChain(kdf_hkdf.KDF):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"waypost root chain v1"


class _MessageChain(kdf_separate_hmacs.KDF):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256


class _Cipher(aead_aes_hmac.AEAD):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"waypost message v1"


SETTINGS: dict[str, Any] = {
    "diffie_hellman_ratchet_class": DiffieHellmanRatchet,
    "root_chain_kdf": _RootChain,
    "message_chain_kdf": _MessageChain,
    "message_chain_constant": b"\x02\x01",
    "dos_protection_threshold": MOST_SKIPPED,
    "max_num_skipped_message_keys": MOST_SKIPPED,
    "aead": _Cipher,
}


class _Ratchet(DoubleRatchet):
    @staticmethod
    def _build_associated_data(associated_data: bytes, header: Header) -> bytes:
        return len(associated_data).to_bytes(4, "big") + associated_data + _pack_header(header)


class Ratchet:
    """One side of a conversation between two devices. `dump` gives everything that must be kept."""

    def __init__(self, ratchet: _Ratchet) -> None:
        self._ratchet = ratchet

    @classmethod
    def load(cls, dumped: str) -> "Ratchet":
        return cls(_Ratchet.from_json(json.loads(dumped), **SETTINGS))

    @classmethod
    def start(cls, secret: bytes, their_key: bytes, message: bytes, associated_data: bytes) -> tuple["Ratchet", bytes]:
        """The side that speaks first, and its first message."""
        ratchet, first = immediately(
            _Ratchet.encrypt_initial_message(
                shared_secret=secret,
                recipient_ratchet_pub=their_key,
                message=message,
                associated_data=associated_data,
                **SETTINGS,
            )
        )
        return cls(ratchet), _pack(first)

    @classmethod
    def answer(
        cls, secret: bytes, own_private: bytes, message: bytes, associated_data: bytes
    ) -> tuple["Ratchet", bytes]:
        """The side that was spoken to, and what was said. Raises whatever the libraries raise on hostile bytes."""
        ratchet, plaintext = immediately(
            _Ratchet.decrypt_initial_message(
                shared_secret=secret,
                own_ratchet_priv=own_private,
                message=_unpack(message),
                associated_data=associated_data,
                **SETTINGS,
            )
        )
        return cls(ratchet), plaintext

    def encrypt(self, message: bytes, associated_data: bytes) -> bytes:
        return _pack(immediately(self._ratchet.encrypt_message(message, associated_data)))

    def decrypt(self, message: bytes, associated_data: bytes) -> bytes:
        """The plaintext; on any failure the ratchet is what it was before."""
        with warnings.catch_warnings():
            # The library warns of a long gap and goes on; the gap is told elsewhere.
            warnings.simplefilter("ignore")
            return immediately(self._ratchet.decrypt_message(_unpack(message), associated_data))

    def dump(self) -> str:
        return self._ratchet.model.model_dump_json()


def immediately(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits: the libraries are async in form only, and a ratchet step belongs into
    a database transaction, which must not be left half done for other tasks to see."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    coroutine.close()
    raise AssertionError


def _pack_header(header: Header) -> bytes:
    return HEADER.pack(header.ratchet_pub, header.previous_sending_chain_length, header.sending_chain_length)


def _pack(message: EncryptedMessage) -> bytes:
    return _pack_header(message.header) + message.ciphertext


def _unpack(message: bytes) -> EncryptedMessage:
    ratchet_pub, previous, length = HEADER.unpack_from(message)
    return EncryptedMessage(header=Header(ratchet_pub, previous, length), ciphertext=message[HEADER.size :])
