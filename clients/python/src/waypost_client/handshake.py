"""X3DH (https://signal.org/docs/specifications/x3dh/) over the wire's 33-byte keys, and the greeting that carries it.

A greeting stands before every message of a session until the first answer on it: 0x41, version, registration id,
identity key, ephemeral key, the ids of the prekeys used.
"""

import struct
from dataclasses import dataclass

from x3dh import (
    BaseState,
    BaseStateModel,
    HashFunction,
    IdentityKeyFormat,
    IdentityKeyPairModel,
    KeyAgreementException,
    SignedPreKeyPairModel,
)
from x3dh import Bundle as LibraryBundle
from x3dh import Header as LibraryHeader
from x3dh.types import SecretType
from xeddsa.bindings import XEdDSAException

from .keyring import Keyring, PrivateKey
from .keys import KEY_TYPE, BadKey, from_wire, to_wire, verifies
from .ratchet import immediately
from .values import Bundle, Prekey, SignedPrekey

START = 0x41
VERSION = 1
NO_PREKEY = 0xFFFFFFFF
GREETING = struct.Struct(">BBH33s33sII")
INFO = b"waypost x3dh v1"


class BadHandshake(Exception):
    """A session cannot be started with this."""


class _Agreement(BaseState):
    """The library with the wire's encoding: what a signature covers, and what is authenticated, are the 33 bytes."""

    @staticmethod
    def _encode_public_key(key_format: IdentityKeyFormat, pub: bytes) -> bytes:
        return KEY_TYPE + pub


@dataclass(frozen=True, slots=True)
class Greeting:
    registration_id: int
    identity_key: bytes
    ephemeral_key: bytes
    signed_prekey_id: int
    one_time_prekey_id: int | None

    def pack(self) -> bytes:
        prekey_id = NO_PREKEY if self.one_time_prekey_id is None else self.one_time_prekey_id
        return GREETING.pack(
            START,
            VERSION,
            self.registration_id,
            self.identity_key,
            self.ephemeral_key,
            self.signed_prekey_id,
            prekey_id,
        )

    @classmethod
    def unpack(cls, message: bytes) -> tuple["Greeting", bytes]:
        """The greeting and what follows it. BadHandshake when it is none."""
        if len(message) < GREETING.size or message[0] != START or message[1] != VERSION:
            raise BadHandshake
        _, _, registration_id, identity_key, ephemeral_key, signed_id, prekey_id = GREETING.unpack_from(message)
        greeting = cls(
            registration_id, identity_key, ephemeral_key, signed_id, None if prekey_id == NO_PREKEY else prekey_id
        )
        return greeting, message[GREETING.size :]


@dataclass(frozen=True, slots=True)
class Agreement:
    """A shared secret, what both sides authenticate with every message, and the ratchet key to begin with."""

    secret: bytes
    associated_data: bytes
    ratchet_key: bytes


def greet(keyring: Keyring, bundle: Bundle, *, parties: bytes) -> tuple[Agreement, Greeting]:
    """Agree with a device that may be offline. `parties` names both sides and is authenticated with every message.

    BadHandshake when a signature does not hold or a key is none.
    """
    try:
        return _greet(keyring, bundle, parties)
    except (KeyAgreementException, XEdDSAException, BadKey, ValueError):
        raise BadHandshake from None


def _greet(keyring: Keyring, bundle: Bundle, parties: bytes) -> tuple[Agreement, Greeting]:
    prekey, signed = _usable_prekey(bundle), bundle.signed_prekey
    theirs = LibraryBundle(
        identity_key=from_wire(bundle.identity_key),
        signed_pre_key=from_wire(signed.public_key),
        signed_pre_key_sig=signed.signature,
        pre_keys=frozenset() if prekey is None else frozenset({from_wire(prekey.public_key)}),
    )
    own = _own(keyring, keyring.newest_signed(), None)
    secret, associated_data, header = immediately(own.get_shared_secret_active(theirs, parties, require_pre_key=False))
    greeting = Greeting(
        registration_id=keyring.registration_id,
        identity_key=to_wire(header.identity_key),
        ephemeral_key=to_wire(header.ephemeral_key),
        signed_prekey_id=signed.key_id,
        one_time_prekey_id=None if prekey is None else prekey.key_id,
    )
    return Agreement(secret, associated_data, theirs.signed_pre_key), greeting


def _usable_prekey(bundle: Bundle) -> Prekey | SignedPrekey | None:
    """The one-time prekey, else the last resort, whose signature must hold; a bundle may have neither."""
    resort = bundle.last_resort_prekey
    if bundle.one_time_prekey is not None or resort is None:
        return bundle.one_time_prekey
    if not verifies(bundle.identity_key, resort.public_key, resort.signature):
        raise BadHandshake
    return resort


def welcome(keyring: Keyring, greeting: Greeting, *, parties: bytes) -> Agreement:
    """The other side of `greet`. BadHandshake when a prekey it names is unknown or was used before."""
    signed = keyring.find("signed", greeting.signed_prekey_id)
    prekey = None
    if greeting.one_time_prekey_id is not None:
        prekey = keyring.find("one_time", greeting.one_time_prekey_id)
    if signed is None or (prekey is None) != (greeting.one_time_prekey_id is None):
        raise BadHandshake
    header = LibraryHeader(
        identity_key=from_wire(greeting.identity_key),
        ephemeral_key=from_wire(greeting.ephemeral_key),
        signed_pre_key=from_wire(signed.public),
        pre_key=None if prekey is None else from_wire(prekey.public),
    )
    own = _own(keyring, signed, prekey)
    secret, associated_data, _ = immediately(own.get_shared_secret_passive(header, parties, require_pre_key=False))
    return Agreement(secret, associated_data, signed.private)


def _own(keyring: Keyring, signed: PrivateKey, prekey: PrivateKey | None) -> _Agreement:
    """The library's state with just the keys this agreement needs."""
    model = BaseStateModel(
        identity_key=IdentityKeyPairModel(secret=keyring.identity, secret_type=SecretType.PRIV),
        signed_pre_key=SignedPreKeyPairModel(
            priv=signed.private, sig=signed.signature or b"", timestamp=int(signed.created_at)
        ),
        old_signed_pre_key=None,
        pre_keys=frozenset() if prekey is None else frozenset({prekey.private}),
    )
    return _Agreement.from_model(model, IdentityKeyFormat.CURVE_25519, HashFunction.SHA_256, INFO)
