"""The checker on histories written by hand: each invariant has one that breaks it, and a neighbour of that one which does not."""

from collections.abc import Callable, Set
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from msgspec.structs import replace

from tests.faults.checker import Report, Verdict, check, judge
from tests.faults.checker.__main__ import main
from tests.faults.history import (
    Acked,
    AnyEvent,
    ChangeAnswered,
    ChangeInvoked,
    DeviceRow,
    Dumped,
    EnvelopeReceived,
    FaultOff,
    FaultOn,
    HistoryRead,
    HttpAnswered,
    LedgerRow,
    Measured,
    QueueEmpty,
    ReadSaid,
    ReceiptHeard,
    SecretFound,
    SecretsSearched,
    SendAnswered,
    SendInvoked,
    Shown,
    Skipped,
    SocketClosed,
    SocketOpened,
    StoreSearched,
    Writer,
)
from tests.faults.stories import Gadget, Story

One = TypeVar("One", bound=AnyEvent)


class Told(Story):
    """Alice has a phone and a laptop, Bob and Mallory a phone each. Alice and Bob are friends; Mallory is nobody's."""

    def __init__(self) -> None:
        super().__init__()
        for device, user in (("phone", "alice"), ("laptop", "alice"), ("bob", "bob"), ("mallory", "mallory")):
            self.register(device, user)
        self.friends = self.group("phone", "bob")

    def say(self, times: int = 1, *, by: str = "phone") -> None:
        """A message that everybody gets at once."""
        for _ in range(times):
            self.send(by, self.friends)
            for device in self.devices:
                self.deliver(device)

    def all(self, of: type[One], good: Callable[[One], bool] = lambda _: True) -> list[One]:
        return [event for event in self.events if isinstance(event, of) and good(event)]

    def drop(self, gone: AnyEvent) -> None:
        self.events = [event for event in self.events if event is not gone]

    def change(self, old: AnyEvent, **fields: object) -> None:
        self.events = [replace(event, **fields) if event is old else event for event in self.events]

    def exchange(self, one: AnyEvent, other: AnyEvent) -> None:
        """Each takes the other's moment."""
        first, second = self.events.index(one), self.events.index(other)
        self.events[first], self.events[second] = replace(other, at=one.at), replace(one, at=other.at)

    def received(self, device: str, seq: int) -> EnvelopeReceived:
        return self.all(EnvelopeReceived, lambda event: (event.device, event.seq) == (device, seq))[0]

    def shown(self, device: str, seq: int) -> Shown:
        return self.all(Shown, lambda event: (event.device, event.seq) == (device, seq))[0]

    def told_faults(
        self, *, freezes: bool = False, seconds: float = 20, recovery: float | None = None, target: str = "web-1"
    ) -> None:
        """A worker, or something else, is killed, or stopped, for a while."""
        kind = "stop" if freezes else "kill"
        self.tell(lambda at: FaultOn(at=at, fault="f", kind=kind, target=target, in_flight=1, freezes=freezes))
        self.wait(seconds)
        self.tell(lambda at: FaultOff(at=at, fault="f", recovery=recovery))

    def judged(self) -> Report:
        return judge(self.events)


@pytest.fixture
def story() -> Told:
    return Told()


def test_a_quiet_day_keeps_every_promise(story: Told) -> None:
    story.say(5)
    story.say(5, by="bob")
    story.finish()
    report = story.judged()
    assert report.violations == ()
    assert report.exit_code == 0
    assert (report.figures.invoked, report.figures.acked, report.figures.entries) == (10, 10, 11)


def test_an_empty_history_is_not_judged() -> None:
    assert judge([]).exit_code == 2


# --- I1, I2: lost, duplicated, reordered, gap ----------------------------------------------------------------------------------------


def test_lost_is_what_was_acknowledged_and_never_came(story: Told) -> None:
    story.say(3)
    story.finish()
    story.drop(story.received("bob", 3))
    story.drop(story.shown("bob", 3))
    assert story.judged().verdicts == {Verdict.LOST, Verdict.GAP}


def test_lost_is_what_came_and_was_never_shown_and_what_the_server_denies(story: Told) -> None:
    story.say(2)
    story.finish()
    story.drop(story.shown("bob", 3))
    assert story.judged().verdicts == {Verdict.LOST}
    story.tell(
        lambda at: Skipped(at=at, device="bob", conversation=story.friends, from_seq=3, to_seq=3, why="not_for_you")
    )
    assert story.judged().verdicts == {Verdict.LOST}


def test_lost_is_what_was_acknowledged_and_is_not_committed(story: Told) -> None:
    story.say()
    story.finish()
    story.drop(story.all(LedgerRow)[-1])
    assert story.judged().verdicts == {Verdict.LOST}


def test_an_explicit_gap_is_no_loss(story: Told) -> None:
    story.say(3)
    story.finish()
    story.drop(story.received("bob", 3))
    story.drop(story.shown("bob", 3))
    story.tell(lambda at: Skipped(at=at, device="bob", conversation=story.friends, from_seq=3, to_seq=3, why="gap"))
    assert story.judged().verdicts == set()


def test_an_unlinked_device_misses_nothing_that_would_matter(story: Told) -> None:
    story.say()
    story.send("phone", story.friends)
    story.unlink("laptop", by="phone")
    story.finish()
    assert story.judged().verdicts == set()


def test_a_device_that_is_installed_again_need_not_show_what_it_had(story: Told) -> None:
    story.say()
    story.send("phone", story.friends)
    story.reinstall("bob")
    story.say(2)
    story.finish()
    assert story.judged().verdicts == set()


def test_lost_is_what_is_sent_after_a_device_was_installed_again_and_never_comes(story: Told) -> None:
    story.say()
    story.reinstall("bob")
    story.say(2)
    story.finish()
    last = story.all(EnvelopeReceived, lambda event: event.device == "bob")[-1]
    story.drop(last)
    story.drop(story.shown("bob", last.seq))
    assert Verdict.LOST in story.judged().verdicts


def test_a_device_that_did_not_drain_leaves_the_run_unjudged(story: Told) -> None:
    story.say()
    story.finish()
    story.drop(story.received("bob", 2))
    story.drop(story.shown("bob", 2))
    story.drop(story.all(QueueEmpty, lambda event: event.device == "bob")[0])
    assert story.judged().verdicts == {Verdict.UNFINISHED}
    assert story.judged().exit_code == 2


def test_duplicated_is_what_is_shown_twice_not_what_comes_twice(story: Told) -> None:
    story.say(2)
    again = story.received("bob", 2)
    story.tell(lambda at: replace(again, at=at))
    story.finish()
    assert story.judged().verdicts == set()
    shown = story.shown("bob", 2)
    story.events.insert(-1, replace(shown, at=story.now))
    assert story.judged().verdicts == {Verdict.DUPLICATED}


def test_duplicated_is_a_message_shown_in_two_places(story: Told) -> None:
    story.send("phone", story.friends)
    first = story.all(LedgerRow) or story.talks[story.friends].log
    story.send("phone", story.friends)
    story.finish()
    mid = first[1].mid
    for event in list(story.events):
        if isinstance(event, EnvelopeReceived | Shown | LedgerRow) and event.seq == 3:
            story.change(
                event, mid=mid, **({"digest": f"digest of {mid}"} if isinstance(event, EnvelopeReceived) else {})
            )
    assert {Verdict.DUPLICATED, Verdict.DIVERGED} <= story.judged().verdicts


def test_reordered_and_a_gap_is_what_is_shown_out_of_its_place_not_what_arrives_so(story: Told) -> None:
    story.say(3)
    story.finish()
    one, other = story.received("bob", 2), story.received("bob", 3)
    story.exchange(story.shown("bob", 2), other)
    story.exchange(one, story.received("bob", 3))
    shown = [
        (event.seq, type(event).__name__)
        for event in story.events
        if getattr(event, "device", "") == "bob" and isinstance(event, Shown)
    ]
    assert [seq for seq, _ in shown] == sorted(seq for seq, _ in shown)
    assert not story.judged().verdicts & {Verdict.REORDERED, Verdict.GAP}
    story.exchange(story.shown("bob", 3), story.shown("bob", 4))
    assert story.judged().verdicts >= {Verdict.REORDERED, Verdict.GAP}


def test_a_gap_in_the_ledger_is_one(story: Told) -> None:
    story.send("phone", story.friends, "unknown")
    story.send("phone", story.friends)
    story.finish()
    assert story.judged().verdicts == set()
    for event in list(story.events):
        if getattr(event, "seq", 0) == 2:
            story.drop(event)
    assert story.judged().verdicts == {Verdict.GAP}


# --- I3, I4, I5: diverged, the order of senders -------------------------------------------------------------------------------------------


def test_diverged_is_one_place_with_two_messages(story: Told) -> None:
    story.say(2)
    story.finish()
    story.change(story.received("laptop", 2), message_id="1")
    assert story.judged().verdicts == {Verdict.DIVERGED}


def test_diverged_is_a_retry_with_another_seq(story: Told) -> None:
    story.send("phone", story.friends, "ok", "ok")
    story.finish()
    assert story.judged().verdicts == set()
    story.change(story.all(SendAnswered)[-1], seq=9)
    assert Verdict.DIVERGED in story.judged().verdicts


def test_diverged_is_a_log_that_postgresql_does_not_know(story: Told) -> None:
    story.add("phone", story.friends, "mallory")
    story.say()
    story.remove("phone", story.friends, "mallory")
    story.finish()
    assert story.judged().verdicts == set()
    call = story.all(ChangeAnswered)[-1]
    story.change(call, outcome="refused")
    assert story.judged().verdicts == {Verdict.DIVERGED}


def test_reordered_is_a_sender_whose_later_message_comes_first(story: Told) -> None:
    story.say(2)
    story.finish()
    first, second = story.all(SendInvoked)
    story.change(first, number=2)
    story.change(second, number=1)
    assert story.judged().verdicts == {Verdict.REORDERED}


def test_reordered_is_an_answered_message_behind_one_that_was_sent_later(story: Told) -> None:
    story.say()
    story.say(by="bob")
    story.finish()
    assert story.judged().verdicts == set()
    first, second = story.all(SendInvoked)
    told = story.all(SendAnswered)
    story.events.remove(told[1])
    story.change(second, at=first.at - 0.005)
    story.events.insert(story.events.index(first), replace(told[1], at=first.at - 0.001))
    story.events.sort(key=lambda event: event.at)
    assert story.judged().verdicts == {Verdict.REORDERED}


def test_an_own_message_whose_answer_was_lost_for_a_while_keeps_its_place(story: Told) -> None:
    story.say(2)
    story.finish()
    first, second = (event for event in story.all(Shown) if event.own)
    story.events.remove(first)
    gone_on = Skipped(
        at=second.at,
        device=first.device,
        conversation=first.conversation,
        from_seq=first.seq,
        to_seq=first.seq,
        why="not_for_you",
    )
    story.events.insert(story.events.index(second), gone_on)
    story.events.insert(story.events.index(second) + 1, replace(first, at=second.at, late=True))
    assert story.judged().verdicts == set()
    story.change(story.events[story.events.index(second) + 1], own=False)
    assert Verdict.REORDERED in story.judged().verdicts


# --- I6, I14: leaked, unlinked --------------------------------------------------------------------------------------------------------------


def to_mallory(story: Told, seq: int) -> None:
    envelope = story.received("bob", seq)
    story.tell(
        lambda at: replace(envelope, at=at, device="mallory", socket=story.devices["mallory"].socket, addressed="")
    )


def test_leaked_is_what_came_before_a_member_joined_or_after_she_left(story: Told) -> None:
    story.say()
    story.add("phone", story.friends, "mallory")
    story.say()
    story.remove("phone", story.friends, "mallory")
    story.say()
    assert [event.seq for event in story.all(EnvelopeReceived, lambda event: event.device == "mallory")] == [3, 4, 5]
    good = list(story.events)
    for seq in (2, 6):
        story.events = list(good)
        to_mallory(story, seq)
        story.finish()
        assert story.judged().verdicts == {Verdict.LEAKED}
    story.events = good
    story.finish()
    assert story.judged().verdicts == set()


def test_a_server_cannot_forget_a_removal_that_it_answered(story: Told) -> None:
    story.add("phone", story.friends, "mallory")
    story.remove("phone", story.friends, "mallory")
    story.say()
    story.finish()
    for event in list(story.events):
        if getattr(event, "system", "") == "member_removed":
            story.change(event, system="renamed")
    assert Verdict.DIVERGED in story.judged().verdicts


def test_leaked_is_history_of_a_time_before_the_stay(story: Told) -> None:
    story.say()
    story.add("phone", story.friends, "mallory")
    story.say()
    for seq, verdicts in ((3, set[Verdict]()), (2, {Verdict.LEAKED})):
        told = story.talks[story.friends].log[seq - 1]
        events = len(story.events)
        story.tell(
            lambda at, row=told: HistoryRead(  # type: ignore[misc]
                at=at, device="mallory", conversation=story.friends, seq=row.seq, message_id=row.message_id
            )
        )
        story.finish()
        assert story.judged().verdicts == verdicts
        del story.events[events:]


def test_a_new_device_begins_where_the_log_says_that_it_is_there(story: Told) -> None:
    story.say()
    story.register("tablet", "alice", what="link")
    story.say()
    assert [event.seq for event in story.all(EnvelopeReceived, lambda event: event.device == "tablet")] == [3, 4]
    good = list(story.events)
    story.finish()
    assert story.judged().verdicts == set()
    story.events = good
    earlier = story.received("bob", 2)
    story.tell(lambda at: replace(earlier, at=at, device="tablet", addressed=""))
    story.finish()
    assert story.judged().verdicts == {Verdict.LEAKED}


def test_a_device_that_was_linked_before_must_have_it_whatever_the_log_says(story: Told) -> None:
    """The server forgets the laptop, and says so: it cannot talk itself out."""
    story.say()
    story.finish()
    story.drop(story.received("laptop", 2))
    story.drop(story.shown("laptop", 2))
    assert story.judged().verdicts == {Verdict.LOST}


def test_a_device_whose_link_was_asked_for_twice_may_have_been_there_since_the_first(story: Told) -> None:
    unsure = story.ask("link")
    story.tell(lambda at: ChangeAnswered(at=at, call=unsure, outcome="unknown"))
    story.devices["tablet"] = Gadget("tablet", "alice")
    story.say()
    call = story.ask("link")
    story.tell(lambda at: ChangeAnswered(at=at, call=call, outcome="ok", user="alice", device="tablet"))
    story.connect("tablet")
    story.finish()
    assert story.judged().verdicts == set()
    [first] = story.all(ChangeInvoked, lambda event: event.call == unsure)
    story.drop(first)
    story.drop(story.all(ChangeAnswered, lambda event: event.call == unsure)[0])
    assert story.judged().verdicts == {Verdict.LEAKED}


def test_unlinked_is_what_comes_after_the_unlink(story: Told) -> None:
    story.say()
    story.unlink("laptop", by="phone")
    story.say()
    envelope = story.received("bob", 4)
    story.finish()
    assert story.judged().verdicts == set()
    story.events.insert(-1, replace(envelope, at=story.now, device="laptop", addressed=""))
    assert story.judged().verdicts == {Verdict.UNLINKED}


def test_unlinked_is_a_device_that_connects_again(story: Told) -> None:
    story.unlink("laptop", by="phone")
    story.tell(lambda at: SocketOpened(at=at, device="laptop", socket="again"))
    story.finish()
    assert Verdict.UNLINKED in story.judged().verdicts


def test_a_server_that_is_stopped_closes_no_socket_meanwhile(story: Told) -> None:
    story.say()
    frozen = FaultOn(at=story.now, fault="asleep", kind="worker stopped", target="web-1", freezes=True)
    story.unlink("laptop", by="phone")
    gone = next(event for event in story.all(SocketClosed) if event.device == "laptop")
    story.now += 200
    story.say()
    story.finish()
    story.events.remove(gone)
    story.events += [frozen, replace(gone, at=frozen.at + 150), FaultOff(at=frozen.at + 149, fault="asleep")]
    story.events.sort(key=lambda event: event.at)
    assert Verdict.UNLINKED not in story.judged().verdicts
    long_ago = story.events[0].at
    story.events.insert(1, FaultOn(at=long_ago, fault="over", kind="worker stopped", target="web-1", freezes=True))
    story.events.insert(2, FaultOff(at=long_ago, fault="over"))
    assert Verdict.UNLINKED not in story.judged().verdicts
    story.events.remove(frozen)
    story.events.append(replace(frozen, freezes=False))
    story.events.sort(key=lambda event: event.at)
    assert Verdict.UNLINKED in story.judged().verdicts


def test_a_message_in_flight_while_its_device_is_unlinked_may_still_come(story: Told) -> None:
    story.send("phone", story.friends)
    story.deliver("bob")
    call = story.ask("unlink", by="phone", device="laptop")
    story.deliver("laptop")
    story.devices["laptop"].is_active = False
    story.answer(call)
    story.disconnect("laptop", code=4401)
    story.finish()
    assert story.judged().verdicts == set()


# --- I7, I8: mixed, torn ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [{"digest": "another"}, {"digest": ""}, {"sender_user": "mallory"}, {"addressed": "bob"}], ids=str
)
def test_mixed_is_a_payload_that_is_not_what_it_says(story: Told, change: dict[str, str]) -> None:
    story.say()
    story.finish()
    story.change(story.received("laptop", 2), **change)
    assert story.judged().verdicts == {Verdict.MIXED}


def test_torn_is_a_refused_message_that_is_stored_but_not_one_that_was_unknown_first(story: Told) -> None:
    story.send("phone", story.friends, "unknown", "refused")
    story.finish()
    assert story.judged().verdicts == set()
    first, _ = story.all(SendAnswered)
    story.change(first, outcome="refused")
    assert story.judged().verdicts == {Verdict.TORN}


def test_torn_is_a_message_without_an_answer_that_not_everybody_got(story: Told) -> None:
    story.send("phone", story.friends, "unknown")
    story.finish()
    assert story.judged().verdicts == set(), "all got it"
    story.drop(story.received("laptop", 2))
    story.drop(story.shown("laptop", 2))
    assert story.judged().verdicts == {Verdict.TORN}


# --- I9: hung, malformed -----------------------------------------------------------------------------------------------------------------------


def test_hung_is_a_send_without_an_answer_in_time_unless_the_server_was_stopped(story: Told) -> None:
    def slow(story: Told, seconds: float) -> Told:
        story.say()
        story.finish()
        answer = story.all(SendAnswered)[-1]
        later = [event for event in story.events if event.at >= answer.at]
        story.events = [replace(event, at=event.at + seconds) if event in later else event for event in story.events]
        return story

    assert slow(Told(), 3).judged().verdicts == set()
    assert slow(Told(), 9).judged().verdicts == {Verdict.HUNG}
    for seconds, verdicts in ((2, {Verdict.HUNG}), (5, set())):
        stopped = slow(Told(), 9)
        invoked = stopped.all(SendInvoked)[0]
        place = stopped.events.index(invoked) + 1
        stop = FaultOn(at=invoked.at, fault="f", kind="stop", target="web-1", freezes=True)
        stopped.events[place:place] = [stop, FaultOff(at=invoked.at + seconds, fault="f")]
        assert stopped.judged().verdicts == verdicts


def test_hung_is_a_call_that_never_ends(story: Told) -> None:
    story.say()
    story.ask("unlink", by="phone", device="laptop")
    story.finish()
    assert story.judged().verdicts == {Verdict.HUNG}


def test_malformed_is_what_no_client_could_expect(story: Told) -> None:
    story.tell(
        lambda at: HttpAnswered(at=at, route="GET keys", status=503, documented=True, code="STORAGE_UNAVAILABLE")
    )
    story.finish()
    assert story.judged().verdicts == set()
    story.tell(lambda at: HttpAnswered(at=at, route="GET keys", status=500, documented=False))
    assert story.judged().verdicts == {Verdict.MALFORMED}


# --- P8, P10, I10, I13: late, backlog, unrecovered, resources -------------------------------------------------------------------------------------


def test_late_is_a_connected_device_that_waits_for_the_sweep(story: Told) -> None:
    story.send("phone", story.friends)
    story.deliver("laptop")
    story.wait(25)
    story.deliver("bob")
    story.finish()
    assert story.judged().verdicts == {Verdict.LATE}


def test_who_was_not_connected_or_suffers_a_fault_is_not_late(story: Told) -> None:
    story.disconnect("bob")
    story.send("phone", story.friends)
    story.deliver("laptop")
    story.wait(25)
    story.connect("bob")
    story.deliver("bob")
    story.tell(lambda at: FaultOn(at=at, fault="f", kind="kill", target="valkey"))
    story.send("phone", story.friends)
    story.wait(25)
    story.deliver("bob")
    story.tell(lambda at: FaultOff(at=at, fault="f"))
    story.finish()
    assert story.judged().verdicts == set()


@pytest.mark.parametrize("change", [{"backlog": 3}, {"watermark_reached": False}], ids=str)
def test_backlog_is_what_is_left_in_the_outbox(story: Told, change: dict[str, object]) -> None:
    story.say()
    story.finish()
    story.change(story.all(Dumped)[0], **change)
    assert story.judged().verdicts == {Verdict.BACKLOG}


@pytest.mark.parametrize(("seconds", "verdicts"), [(30, set()), (70, {Verdict.BACKLOG})])
def test_backlog_is_a_watermark_that_is_behind_a_minute_after_the_last_fault(
    story: Told, seconds: float, verdicts: set[Verdict]
) -> None:
    story.told_faults()
    story.wait(seconds)
    story.tell(lambda at: Measured(at=at, process="postgresql", what="watermark_lag", value=30))
    story.finish()
    assert story.judged().verdicts == verdicts


@pytest.mark.parametrize(("seconds", "verdicts"), [(30, set()), (70, {Verdict.UNRECOVERED})])
def test_unrecovered_is_a_send_that_fails_a_minute_after_the_fault(
    story: Told, seconds: float, verdicts: set[Verdict]
) -> None:
    story.told_faults()
    story.wait(seconds)
    story.send("phone", story.friends, "unknown", "ok")
    story.finish()
    report = story.judged()
    assert report.verdicts == verdicts
    assert report.figures.worst_recovery == pytest.approx(seconds, abs=1)


def test_unrecovered_is_also_where_nothing_is_answered_at_all(story: Told) -> None:
    story.told_faults()
    for _ in range(3):
        story.wait(35)
        story.send("phone", story.friends, "unknown")
    story.finish()
    for answer in story.all(SendAnswered, lambda event: event.outcome == "unknown"):
        story.drop(answer)
    report = story.judged()
    assert Verdict.UNRECOVERED in report.verdicts
    assert report.figures.worst_recovery == pytest.approx(105, abs=2)


@pytest.mark.parametrize(
    ("what", "before", "after", "verdicts"),
    [
        ("rss", 100e6, 109e6, set()),
        ("rss", 100e6, 112e6, {Verdict.RESOURCES}),
        ("rss", 100e6, 60e6, set()),
        ("descriptors", 40, 47, set()),
        ("descriptors", 40, 60, {Verdict.RESOURCES}),
        ("connections", 40, 50, set()),
        ("connections", 40, 60, {Verdict.RESOURCES}),
    ],
)
def test_resources_are_what_a_process_holds_more_than_before(
    story: Told, what: str, before: float, after: float, verdicts: set[Verdict]
) -> None:
    story.tell(lambda at: Measured(at=at, process="web-1", what=what, value=before, phase="before"))
    story.told_faults()
    story.tell(lambda at: Measured(at=at, process="web-1", what=what, value=after, phase="after"))
    story.finish()
    assert story.judged().verdicts == verdicts


def test_a_fault_that_never_ended_leaves_the_run_unjudged(story: Told) -> None:
    story.tell(lambda at: FaultOn(at=at, fault="f", kind="kill", target="valkey"))
    story.finish()
    assert Verdict.UNFINISHED in story.judged().verdicts


# --- I11, I12: receipt, secret; resurrected -------------------------------------------------------------------------------------------------------


def test_receipt_of_a_device_that_has_not_acknowledged(story: Told) -> None:
    story.say()
    story.finish()
    story.drop(story.all(Acked, lambda event: event.device == "bob")[-1])
    assert story.judged().verdicts == {Verdict.RECEIPT}


def test_receipt_of_a_stranger_or_told_to_one(story: Told) -> None:
    story.say()
    story.finish()
    [receipt] = story.all(ReceiptHeard)
    for change in ({"by_user": "mallory"}, {"device": "mallory"}, {"message_id": "1"}):
        assert judge(replace(event, **change) if event is receipt else event for event in story.events).verdicts == {
            Verdict.RECEIPT
        }


def test_receipt_told_twice_on_one_socket(story: Told) -> None:
    story.say()
    story.finish()
    [receipt] = story.all(ReceiptHeard)
    once_more = [replace(receipt, at=receipt.at + 1), replace(receipt, at=receipt.at + 1, socket="alice, come back")]
    for again, verdicts in zip(once_more, ({Verdict.RECEIPT}, set()), strict=True):
        assert judge([*story.events, again]).verdicts == verdicts


def test_receipt_of_reading_what_was_not_read(story: Told) -> None:
    story.say(2)
    story.read("bob", story.friends)
    story.finish()
    assert story.judged().verdicts == set()
    [said] = story.all(ReadSaid)
    story.change(said, seq=2)
    assert story.judged().verdicts == {Verdict.RECEIPT}


def test_a_mark_that_went_back(story: Told) -> None:
    story.say(2)
    story.read("bob", story.friends)
    story.people["bob"].read[story.friends] = 2
    story.finish()
    assert story.judged().verdicts == {Verdict.RECEIPT}


def test_secret_is_one_that_stands_in_a_file_or_a_search_that_finds_nothing(story: Told) -> None:
    story.tell(lambda at: SecretsSearched(at=at, planted=12, files=9, control_found=True))
    story.finish()
    assert story.judged().verdicts == set()
    good = list(story.events)
    story.tell(lambda at: SecretFound(at=at, label="access token", file="web-1.log"))
    assert story.judged().verdicts == {Verdict.SECRET}
    story.events = good
    story.tell(lambda at: SecretsSearched(at=at, planted=12, files=9, control_found=False))
    assert story.judged().verdicts == {Verdict.SECRET}


def test_resurrected_is_a_ciphertext_after_its_ack(story: Told) -> None:
    story.say()
    assert _read_later(story, seconds=0) == set()
    assert _read_later(story, seconds=20) == {Verdict.RESURRECTED}


def test_an_ack_behind_the_backlog_of_a_fault_has_until_that_is_worked_off(story: Told) -> None:
    story.told_faults(recovery=30)
    story.say()
    assert _read_later(story, seconds=20) == set()
    assert _read_later(story, seconds=50) == {Verdict.RESURRECTED}


@pytest.mark.parametrize(("target", "soon"), [("Cassandra 2", set()), ("web-1", {Verdict.RESURRECTED})])
def test_an_ack_soon_after_a_stores_fault_has_until_the_store_has_caught_up(
    story: Told, target: str, soon: Set[Verdict]
) -> None:
    """Probes do not see its backlog: they are served without it."""
    story.told_faults(recovery=1, target=target)
    story.wait(10)
    story.say()
    assert _read_later(story, seconds=20) == soon
    assert _read_later(story, seconds=70) == {Verdict.RESURRECTED}


def _read_later(story: Told, *, seconds: float) -> Set[Verdict]:
    """What is said when history gives Bob the ciphertext he has acknowledged, so long after it. The story is what it was afterwards."""
    events, now, ids = list(story.events), story.now, story.received("bob", 2).message_id
    story.wait(seconds)
    read = partial(HistoryRead, device="bob", conversation=story.friends, seq=2, message_id=ids, digest="d")
    story.tell(lambda at: read(at=at))
    story.finish()
    found = story.judged().verdicts
    story.events, story.now = events, now
    return found


@pytest.mark.parametrize(("expires_in", "verdicts"), [(20, set()), (0, {Verdict.LOST, Verdict.GAP})])
def test_what_expires_need_not_come(story: Told, expires_in: int, verdicts: set[Verdict]) -> None:
    _say_expiring(story, expires_in, seconds=30)
    story.say()
    story.finish()
    _never_came(story)
    assert story.judged().verdicts == verdicts


@pytest.mark.parametrize(
    ("expires_in", "seconds", "kind", "verdicts"),
    [
        (20, 100, "kill", {Verdict.RESURRECTED}),
        (20, 60, "kill", set()),
        (0, 100, "kill", set()),
        (20, 100, "clock an hour behind", set()),
    ],
)
def test_resurrected_is_what_comes_after_it_has_expired(
    story: Told, expires_in: int, seconds: float, kind: str, verdicts: set[Verdict]
) -> None:
    story.tell(lambda at: FaultOn(at=at, fault="f", kind=kind, target="web-1", in_flight=1))
    _say_expiring(story, expires_in, seconds=seconds)
    story.tell(lambda at: FaultOff(at=at, fault="f"))
    story.finish()
    assert story.judged().verdicts == verdicts


def _say_expiring(story: Told, expires_in: int, *, seconds: float) -> None:
    """While Bob is away for so long."""
    story.disconnect("bob")
    story.say()
    story.change(story.all(SendInvoked)[-1], expires_in=expires_in)
    story.wait(seconds)


@pytest.mark.parametrize(
    ("is_deleted", "read", "verdicts"),
    [
        (True, {"deleted": True}, set()),
        (True, {"has_content": True}, {Verdict.RESURRECTED}),
        (False, {"deleted": True}, {Verdict.MIXED}),
        (False, {"has_content": True}, set()),
    ],
)
def test_history_is_empty_where_somebody_has_deleted_and_only_there(
    story: Told, *, is_deleted: bool, read: dict[str, bool], verdicts: set[Verdict]
) -> None:
    story.say(2)
    _delete_first(story, is_deleted=is_deleted)
    story.wait(20)
    _read_first(story, **read)
    story.finish()
    assert story.judged().verdicts == verdicts


def test_what_is_read_while_it_is_being_deleted_may_be_either(story: Told) -> None:
    story.say(2)
    _delete_first(story)
    for read in ({"deleted": True}, {"has_content": True}):
        _read_first(story, **read)
    story.finish()
    assert story.judged().verdicts == set()


@pytest.mark.parametrize(("is_deleted", "verdicts"), [(True, set()), (False, {Verdict.MIXED})])
def test_mixed_is_what_comes_empty_and_nobody_has_deleted(
    story: Told, *, is_deleted: bool, verdicts: set[Verdict]
) -> None:
    story.disconnect("bob")
    story.say(2)
    _delete_first(story, is_deleted=is_deleted)
    story.finish()
    story.change(story.received("bob", 2), deleted=True, digest="", addressed="")
    assert story.judged().verdicts == verdicts


def test_what_somebody_deletes_need_not_come(story: Told) -> None:
    story.say(2)
    _delete_first(story)
    story.finish()
    _never_came(story)
    assert story.judged().verdicts == set()


@pytest.mark.parametrize(("is_deleted", "verdicts"), [(True, set()), (False, {Verdict.REORDERED, Verdict.GAP})])
def test_what_was_deleted_may_come_late(story: Told, *, is_deleted: bool, verdicts: set[Verdict]) -> None:
    """Whoever asked for it was told that it is deleted, and went on."""
    story.say(2)
    _delete_first(story, is_deleted=is_deleted)
    story.finish()
    first, second = story.shown("bob", 2), story.shown("bob", 3)
    story.exchange(first, second)
    story.change(next(event for event in story.all(Shown) if (event.device, event.seq) == ("bob", 2)), late=True)
    assert story.judged().verdicts == verdicts


def _never_came(story: Told) -> None:
    """Bob heard nothing of the first message."""
    gone = story.received("bob", 2).message_id
    for event in story.all(EnvelopeReceived | Acked | Shown | ReceiptHeard):  # type: ignore[arg-type]
        is_bobs = "bob" in (event.device, getattr(event, "by_device", ""))
        if is_bobs and gone in (getattr(event, "message_id", ""), *getattr(event, "message_ids", ())):
            story.drop(event)


def _delete_first(story: Told, *, is_deleted: bool = True) -> None:
    """The second message, or none, deletes the first."""
    first, second = story.all(SendInvoked)
    story.change(second, deletes=first.mid if is_deleted else "")


def _read_first(story: Told, *, deleted: bool = False, has_content: bool = False) -> None:
    """Bob reads the first message in history."""
    read = partial(HistoryRead, device="bob", conversation=story.friends, seq=2)
    message_id = next(row.message_id for row in story.talks[story.friends].log if row.seq == 2)
    story.tell(lambda at: read(at=at, message_id=message_id, deleted=deleted, has_content=has_content))


@pytest.mark.parametrize(("rows", "verdicts"), [(0, set()), (1, {Verdict.RESURRECTED})])
def test_resurrected_is_an_acknowledged_row_with_content(story: Told, rows: int, verdicts: set[Verdict]) -> None:
    story.tell(lambda at: StoreSearched(at=at, acknowledged=100, with_content=rows))
    story.finish()
    assert story.judged().verdicts == verdicts


# --- the program ------------------------------------------------------------------------------------------------------------------------------------


def test_the_program_reads_files_and_ends_with_the_judgement(
    story: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story.say(2)
    story.finish()
    with Writer(tmp_path / "all.jsonl") as writer:
        for event in story.events:
            writer.write(event)
    assert check([tmp_path / "all.jsonl"]).verdicts == set()
    assert main([str(tmp_path / "all.jsonl")]) == 0
    assert "every promise was kept" in capsys.readouterr().out
    lost = story.shown("bob", 2)
    with Writer(tmp_path / "lost.jsonl") as writer:
        for event in story.events:
            if event is not lost:
                writer.write(event)
    assert main([str(tmp_path / "lost.jsonl")]) == 1
    assert "lost: talk" in capsys.readouterr().out
    assert main([]) == 2


def test_each_verdict_has_a_test_here() -> None:
    source = Path(__file__).read_text()
    assert [verdict.name for verdict in Verdict if f"Verdict.{verdict.name}" not in source] == []


def test_devices_that_postgresql_calls_inactive_need_not_drain(story: Told) -> None:
    story.finish()
    story.drop(story.all(QueueEmpty, lambda event: event.device == "mallory")[0])
    assert story.judged().verdicts == {Verdict.UNFINISHED}
    story.change(story.all(DeviceRow, lambda event: event.device == "mallory")[0], active=False)
    assert story.judged().verdicts == set()
