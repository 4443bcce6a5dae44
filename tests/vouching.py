"""What a device signs to vouch for another one.

Nothing of the product is imported: the signed bytes are spelled out as in the documents, and the runs under faults sign without Django.
"""

import uuid

from tests.cast import Installation, Keys, b64


def statement(user_id: str, identity_key: bytes, device_uuid: str) -> bytes:
    """What an approval signs."""
    return b"waypost-device-v1" + uuid.UUID(user_id).bytes + identity_key + uuid.UUID(device_uuid).bytes


def signature_of(approver: Installation, new: Installation, keys: Keys | None = None) -> str:
    """The approver's signature over the new installation; `keys`: another's over the same."""
    signed = statement(approver.user_id, new.keys.identity_key, new.device_uuid)
    return b64((keys or approver.keys).sign(signed))
