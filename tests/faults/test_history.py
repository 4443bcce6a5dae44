from pathlib import Path

import pytest

from tests.faults import history
from tests.faults.history import OutOfOrder, SendInvoked, Shown, Writer


def shown(seq: int, at: float) -> Shown:
    return Shown(at=at, device="2", conversation="c", seq=seq, message_id=str(seq), mid=f"m{seq}")


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    send = SendInvoked(at=1.5, call="1", user="alice", device="1", conversation="c", mid="m1", number=1, digest="d")
    with Writer(tmp_path / "alice.jsonl") as alice:
        alice.write(send)
    assert list(history.read([tmp_path / "alice.jsonl"])) == [send]


def test_files_are_merged_by_time(tmp_path: Path) -> None:
    with Writer(tmp_path / "alice.jsonl") as alice, Writer(tmp_path / "bob.jsonl") as bob:
        for seq in (1, 3, 5):
            alice.write(shown(seq, seq))
            bob.write(shown(seq + 1, seq + 1))
    events = history.read([tmp_path / "alice.jsonl", tmp_path / "bob.jsonl"])
    assert [event.at for event in events] == [1, 2, 3, 4, 5, 6]


def test_a_torn_last_line_is_ignored_and_never_continued(tmp_path: Path) -> None:
    path = tmp_path / "alice.jsonl"
    with Writer(path) as alice:
        alice.write(shown(1, 1))
    with path.open("ab") as file:
        file.write(b'{"type":"shown","at":2')
    assert [event.at for event in history.read([path])] == [1]
    with Writer(path) as again:
        again.write(shown(3, 3))
    assert [event.at for event in history.read([path])] == [1, 3]


def test_an_event_before_the_last_is_refused(tmp_path: Path) -> None:
    with Writer(tmp_path / "alice.jsonl") as alice:
        alice.write(shown(1, 2))
        with pytest.raises(OutOfOrder):
            alice.write(shown(2, 1))


def test_events_are_stamped_with_the_monotonic_clock_by_themselves(tmp_path: Path) -> None:
    with Writer(tmp_path / "alice.jsonl") as alice:
        alice.write(history.QueueEmpty(device="2", socket="s"))
        alice.write(history.QueueEmpty(device="2", socket="s"))
    first, second = history.read([tmp_path / "alice.jsonl"])
    assert 0 < first.at <= second.at
