"""How much is deposited at once: many small entries, few of a large group."""

from uuid import UUID, uuid4

import msgspec

from conversations.entries import LogEntry, Recipient
from messaging import relay


def entry(recipients: int) -> LogEntry:
    return LogEntry(
        conversation_id=uuid4(),
        seq=1,
        message_id=1,
        position=1,
        kept_ms=1,
        client_message_id=uuid4(),
        recipients=tuple(Recipient(UUID(int=1), number) for number in range(recipients)),
    )


def test_small_entries_are_deposited_by_the_hundred() -> None:
    assert relay._deposit_size([entry(2)] * relay.LARGEST_DEPOSIT) == relay.LARGEST_DEPOSIT
    assert relay._deposit_size([entry(2)] * 7) == 7


def test_entries_of_a_large_group_are_deposited_a_few_at_a_time_and_never_none() -> None:
    most = relay.LARGEST_DEPOSIT_ROWS
    assert relay._deposit_size([entry(most // 2)] * 5) == 2
    assert relay._deposit_size([entry(3), entry(most), entry(3)]) == 1
    assert relay._deposit_size([entry(most + 1)] * 5) == 1


def test_what_is_deposited_together_is_written_in_the_time_a_store_has() -> None:
    large = entry(4)
    ciphertexts = tuple(msgspec.structs.replace(one, ciphertext=b"x" * 65536) for one in large.recipients)
    of_devices = msgspec.structs.replace(large, recipients=ciphertexts)
    assert relay._deposit_size([of_devices] * 100) == relay.LARGEST_DEPOSIT_BYTES // (4 * 65536)
    shared = msgspec.structs.replace(large, shared=b"x" * 65536)
    assert relay._deposit_size([shared] * 100) == relay.LARGEST_DEPOSIT_BYTES // 65536
