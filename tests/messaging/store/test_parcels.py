"""A parcel is read as it was packed, and anything else is said to be no parcel."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from conversations.entries import Recipient
from messaging.store import parcels
from tests.messaging.store.people import Chat

BODIES = st.none() | st.binary(max_size=100)


@given(BODIES, BODIES, st.booleans(), st.none() | st.integers(0, 2**63 - 1))
@hypothesis_settings(max_examples=60, deadline=None)
def test_what_was_packed_is_read(
    ciphertext: bytes | None,
    shared: bytes | None,
    start: bool,  # noqa: FBT001  (drawn)
    reply_to: int | None,
) -> None:
    entry = Chat().entry(shared=shared, reply_to=reply_to, system={"event": "renamed", "name": "ünï"})
    header = parcels.header_of(entry)
    parcel = parcels.unpack(parcels.pack(header, Recipient(uuid4(), 1, ciphertext, start)))
    assert parcel == parcels.Parcel(header, ciphertext, start)
    assert parcel.header.has_shared is (shared is not None)


@given(st.binary(max_size=60))
@hypothesis_settings(max_examples=200, deadline=None)
def test_other_bytes_are_undecodable_and_nothing_else(data: bytes) -> None:
    with pytest.raises(parcels.Undecodable):
        parcels.unpack(data)


def test_a_parcel_cut_anywhere_is_undecodable() -> None:
    packed = parcels.pack(parcels.header_of(Chat().entry()), Recipient(uuid4(), 1, b"for you"))
    for length in range(len(packed)):
        with pytest.raises(parcels.Undecodable):
            parcels.unpack(packed[:length])
