"""Sending over HTTP: the same send as on the socket."""
# ruff: noqa: F811  (fixtures have the names of the arguments that ask for them)

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from accounts.ids import uuid7
from conversations.models import LedgerRow
from messaging import runtime
from tests.callers import Caller, message
from tests.cast import b64
from tests.conversations.conftest import alice, bob, calling, carol, carol_phone, many  # noqa: F401  (fixtures)
from tests.messaging.conftest import Connect

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "messages"]),
    pytest.mark.usefixtures("many", "unlimited"),
]


@pytest.fixture
async def conversation(alice: Caller, bob: Caller) -> str:
    return await alice.direct(bob)


async def test_a_send_is_answered_like_on_the_socket_and_a_repeated_one_with_its_first_place(
    alice: Caller, bob: Caller, conversation: str, connect: Connect
) -> None:
    body = message(bob)
    path = f"conversations/{conversation}/messages"
    async with connect(bob.device) as socket:
        first = await alice.post(path, body)
        envelope = await socket.expect("envelope")
    again = await alice.post(path, body | {"messages": message(bob, text=b"another")["messages"]})
    assert (first.status, again.status) == (201, 200)
    assert first.body == {
        "conversation_id": conversation,
        "client_message_id": body["client_message_id"],
        "message_id": envelope["message_id"],
        "seq": 1,
        "sent_at": envelope["sent_at"],
        "duplicate": False,
    }
    assert again.body == first.body | {"duplicate": True}


async def test_forty_repetitions_at_once_make_one_message(alice: Caller, bob: Caller, conversation: str) -> None:
    body = message(bob)
    answers = await asyncio.gather(*(alice.post(f"conversations/{conversation}/messages", body) for _ in range(40)))
    assert {answer.body["message_id"] for answer in answers} == {answers[0].body["message_id"]}
    assert await LedgerRow.objects.acount() == 1


async def test_refusals_are_those_of_a_send_and_store_nothing(
    alice: Caller, bob: Caller, carol: Caller, conversation: str
) -> None:
    [to_bob] = message(bob)["messages"]
    stale = to_bob | {"registration_id": to_bob["registration_id"] % 16383 + 1}
    table: list[tuple[dict[str, Any], int, dict[str, Any]]] = [
        (
            {"messages": []},
            409,
            {
                "error_code": "MISMATCHED_DEVICES",
                "missing": [{"user_id": bob.user_id, "device_id": bob.device.device_id}],
                "extra": [],
            },
        ),
        (
            message(bob, carol),
            409,
            {"error_code": "MISMATCHED_DEVICES", "missing": [], "extra": [carol.device.device_id]},
        ),
        ({"messages": [stale]}, 410, {"error_code": "STALE_DEVICES", "stale": [bob.device.device_id]}),
        ({"messages": [to_bob, to_bob]}, 400, {"field": "messages"}),
        ({"client_message_id": str(uuid4())}, 400, {"field": "client_message_id"}),
        ({"client_message_id": str(uuid7(1_600_000_000_000))}, 409, {"error_code": "STALE_KEY"}),
        ({"deletes": "12345"}, 400, {"field": "deletes"}),
        ({"messages": [to_bob | {"ciphertext": b64(bytes(65537))}]}, 413, {"limit": "ciphertext", "max": 65536}),
        ({"messages": [to_bob | {"ciphertext": None}]}, 400, {"field": "messages"}),
        ({"messages": [to_bob | {"registration_id": "5"}]}, 400, {"field": "messages.0.registration_id"}),
        ({"messages": [to_bob | {"device_id": 5}]}, 400, {"field": "messages.0.device_id"}),
        ({"messages": [to_bob | {"ciphertext": "a"}]}, 400, {"field": "messages.0.ciphertext"}),
        ({"kind": "system"}, 400, {"field": "kind"}),
        ({"urgent": 1}, 400, {"field": "urgent"}),
        ({"expires_in": 0}, 400, {"field": "expires_in"}),
        ({"reply_to": "0"}, 400, {"field": "reply_to"}),
        ({"shared": 5}, 400, {"field": "shared"}),
        ({"messages": [to_bob] * 1537}, 400, {"field": "messages"}),
        ({"padding": "x" * 2 * 1024 * 1024}, 413, {"limit": "body", "max": 2 * 1024 * 1024}),
    ]
    for change, status, facts in table:
        answer = await alice.say(conversation, bob, **change)
        assert (answer.status, answer.body) == (status, answer.body | facts), change.keys()
    assert await LedgerRow.objects.acount() == 0


async def test_a_message_that_comes_after_another_waits_for_it_to_be_committed(
    alice: Caller, bob: Caller, conversation: str
) -> None:
    first = message(bob)
    second = message(bob, after_client_message_id=first["client_message_id"])
    path = f"conversations/{conversation}/messages"
    early = await alice.post(path, second)
    assert (early.status, early.code, early.body["reason"]) == (409, "CONFLICT", "predecessor_missing")
    assert (await alice.post(path, first)).body["seq"] == 1
    assert (await alice.post(path, second)).body["seq"] == 2
    # Another device's message is no predecessor of one's own.
    foreign = message(alice, after_client_message_id=first["client_message_id"])
    assert (await bob.post(path, foreign)).status == 409


async def test_one_send_over_http_is_not_held_up_by_another_of_its_device(
    alice: Caller, bob: Caller, conversation: str
) -> None:
    wrong = [alice.say(conversation, bob, messages=[]) for _ in range(10)]
    right = [alice.say(conversation, bob) for _ in range(10)]
    answers = await asyncio.gather(*(send for pair in zip(wrong, right, strict=True) for send in pair))
    assert [answer.status for answer in answers] == [409, 201] * 10
    assert {answer.code for answer in answers[::2]} == {"MISMATCHED_DEVICES"}


async def test_a_device_that_sends_too_fast_is_told_when_to_go_on(settings: Any, alice: Caller, bob: Caller) -> None:
    conversation = await alice.direct(bob)
    settings.LIMITS = settings.LIMITS | {"SEND_BURST": [2], "SEND_PER_SECOND": [1]}
    process = await runtime.running()
    process.sending = type(process.sending)(process.commits)
    answers = [await alice.say(conversation, bob) for _ in range(3)]
    assert [answer.status for answer in answers] == [201, 201, 429]
    assert answers[-1].code == "RATE_LIMITED"
    assert int(answers[-1].headers["retry-after"]) == 1
