"""What goes on and what is refused while one store is dead or stands still; that everybody is told; and that all is well again without help."""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import websockets

from accounts.ids import uuid7
from tests.acceptance.conftest import require_cassandra
from tests.acceptance.estate import MESSAGES, POSTGRESQL, REDIS, SMALL_OUTBOX, Estate
from tests.acceptance.house import Resident, wait_for
from tests.cast import JsonObject, any_phone_number
from tests.deadlines import promised
from tests.sockets import DeviceSocket, connected, message

pytestmark = pytest.mark.installation

# What is promised: every answer, and everything as before after a fault.
ANSWERED = promised(5)
HEALED = 60.0
FAULTS = ["dies", "stands still"]


# Where messages are kept makes no difference to the loss of the other two.
ANY_LAYOUT = pytest.mark.parametrize("estate", ["postgresql"], indirect=True)


@pytest.fixture(scope="module", params=["postgresql", pytest.param("cassandra", marks=pytest.mark.cassandra)])
def estate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    if request.param == "cassandra":
        require_cassandra()
    estate = Estate(tmp_path_factory.mktemp("estate"), request.param)
    try:
        estate.start()
        yield estate
    finally:
        estate.stop()


@dataclass
class Phone:
    """A device whose socket stays open: what it hears is kept, what it asks is answered in time."""

    device: Resident
    socket: DeviceSocket
    acknowledges: bool = True
    got: list[JsonObject] = field(default_factory=list)
    degraded: list[list[str]] = field(default_factory=list)
    slowest: float = 0.0
    _refused: JsonObject | None = None
    _answers: dict[str, "asyncio.Future[JsonObject]"] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        return self.socket.connection.state is websockets.State.OPEN

    async def listen(self) -> None:
        try:
            await self._hear()
        finally:
            # Whoever waits for an answer learns that none comes.
            for answer in self._answers.values():
                answer.set_exception(ConnectionError("the socket is closed"))

    async def _hear(self) -> None:
        async for data in self.socket.connection:
            frame = json.loads(data)
            match frame["type"]:
                case "envelope":
                    self.got.append(frame)
                    if self.acknowledges:
                        await self.socket.ack(frame)
                case "degraded":
                    self.degraded.append(frame["stores"])
                case "sent" | "error" if frame.get("ref") in self._answers:
                    self._answers.pop(frame["ref"]).set_result(frame)

    async def send(self, conversation: str, to: Resident) -> JsonObject:
        """The answer to one try: of the message that was refused before, if there is one, so that order is kept."""
        frame = self._refused or message(conversation, [to], b"hello")
        ref = uuid7().hex
        answer = self._answers[ref] = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        await self.socket.say(frame | {"ref": ref})
        said: JsonObject = await asyncio.wait_for(answer, ANSWERED + 3)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self._refused = None if said["type"] == "sent" else frame
        return said

    def seqs(self) -> set[int]:
        return {envelope["seq"] for envelope in self.got}


@dataclass
class Scene:
    """Alice and Bob, connected, and a conversation of theirs in which something was said."""

    estate: Estate
    alice: Phone
    bob: Phone
    conversation: str

    def body(self) -> JsonObject:
        """A send over HTTP."""
        frame = message(self.conversation, [self.bob.device])
        return {name: value for name, value in frame.items() if name not in ("type", "conversation_id")}

    async def say(self) -> JsonObject:
        return await self.alice.send(self.conversation, self.bob.device)

    async def is_sent(self) -> bool:
        return bool((await self.say())["type"] == "sent")

    async def pace(self, count: int) -> float:
        """The median of so many sends, one after the other, in seconds."""
        times = []
        for _ in range(count):
            began = time.monotonic()
            assert (await self.say())["type"] == "sent"
            times.append(time.monotonic() - began)
        return statistics.median(times)

    async def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """One call of Alice's, tried once, and answered in time."""
        place = path if path.startswith("/") else f"/api/v1/{path}"
        headers = {"Authorization": f"Bearer {self.alice.device.http.token}"}
        async with httpx.AsyncClient(base_url=self.estate.house.http, timeout=20, headers=headers) as client:
            began = time.monotonic()
            answer = await client.request(method, place, json=body)
            assert time.monotonic() - began < ANSWERED, (method, path)
            return answer

    async def refused(self, method: str, path: str, body: Any = None) -> None:
        answer = await self.call(method, path, body)
        assert (answer.status_code, answer.json()["error_code"]) == (503, "STORAGE_UNAVAILABLE"), (path, answer.text)
        assert int(answer.headers["retry-after"]) >= 1

    async def health(self) -> tuple[int, JsonObject]:
        answer = await self.call("GET", "/health/ready")
        return answer.status_code, answer.json()

    async def everybody_is_told(self, *stores: str) -> None:
        await until(lambda: all(phone.degraded[-1:] == [list(stores)] for phone in (self.alice, self.bob)), 12)

        async def is_shown() -> bool:
            # What was found out a second ago is not asked for again.
            status, body = await self.health()
            down = {name for name in (REDIS, MESSAGES, POSTGRESQL) if body["checks"][name] == "down"}
            return (status, down) == (503 if POSTGRESQL in stores else 200, set(stores))

        await eventually(is_shown, 5)

    async def healed(self) -> None:
        """Sends are accepted and arrive, everybody is told that all is well, and health says so, within the time that is promised."""
        began = time.monotonic()

        answers: list[JsonObject] = []

        async def is_sent() -> bool:
            answers.append(await self.say())
            return bool(answers[-1]["type"] == "sent")

        try:
            await eventually(is_sent, HEALED)
        except TimeoutError:
            raise AssertionError(answers[-3:]) from None
        sent = (await self.say())["seq"]
        await until(lambda: sent in self.bob.seqs(), HEALED)
        await until(lambda: all(phone.degraded[-1:] == [[]] for phone in (self.alice, self.bob)), HEALED)

        async def is_well() -> bool:
            return bool((await self.health())[1]["status"] == "ok")

        await eventually(is_well, HEALED)
        assert time.monotonic() - began < HEALED
        print(f"\nwell again after {time.monotonic() - began:.1f} s")  # noqa: T201  (a figure to report)
        assert max(self.alice.slowest, self.bob.slowest) < ANSWERED
        assert self.alice.is_open
        assert self.bob.is_open


@asynccontextmanager
async def away(estate: Estate, store: str, fault: str) -> AsyncIterator[None]:
    """As the estate does it, while the phones go on hearing: with a loop that stood still until a server has started, they would look gone."""
    with ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, estate.away(store, fault))
        try:
            yield
        finally:
            await asyncio.to_thread(stack.close)


async def until(fact: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not fact():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def eventually(fact: Callable[[], Awaitable[bool]], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await fact():  # noqa: ASYNC110
            await asyncio.sleep(0.2)


def play(estate: Estate, act: Callable[[Scene], Awaitable[None]]) -> None:
    """Two people connect, talk a little, and then `act` happens."""
    house = estate.house
    wait_for(house.is_ready, HEALED)
    alice, bob = house.person("Alice's phone"), house.person("Bob's phone")
    conversation = alice.direct(bob)

    async def whole() -> None:
        async with connected(house.ws, alice) as one, connected(house.ws, bob) as other:
            scene = Scene(estate, Phone(alice, one), Phone(bob, other), conversation)
            listening = [asyncio.create_task(phone.listen()) for phone in (scene.alice, scene.bob)]
            try:
                for _ in range(3):
                    # A worker may not have noticed yet that the outbox, which was full before, is empty.
                    await eventually(scene.is_sent, HEALED)
                await until(lambda: scene.bob.seqs() >= {1, 2, 3}, 10)
                await act(scene)
            finally:
                for task in listening:
                    task.cancel()
                await asyncio.gather(*listening, return_exceptions=True)

    asyncio.run(whole())


async def left_for(scene: Scene, phone: Phone) -> list[JsonObject]:
    """What a new socket of the device still gets: nothing that was acknowledged on the old one."""
    async with connected(scene.estate.house.ws, phone.device) as socket:
        await socket.expect("queue_empty")
        return [frame for frame in socket.unread if frame["type"] == "envelope"]


@ANY_LAYOUT
@pytest.mark.parametrize("fault", FAULTS)
def test_without_redis_messages_flow_and_what_guards_secrets_refuses(estate: Estate, fault: str) -> None:
    wait_for(estate.house.is_ready, HEALED)
    carol = estate.house.person("Carol's phone")

    async def act(scene: Scene) -> None:
        before = await scene.pace(15)
        async with away(estate, REDIS, fault):
            await scene.everybody_is_told("redis")
            during = await scene.pace(15)
            assert during < 1.5 * before + 0.05
            last = (await scene.say())["seq"]
            await until(lambda: last in scene.bob.seqs(), 15)
            bobs = scene.bob.device
            await scene.refused("POST", "auth/request-otp", {"phone_number": any_phone_number()})
            await scene.refused("POST", "auth/verify-otp", {"otp_session_id": str(uuid7()), "code": "123456"})
            await scene.refused("GET", f"keys/{bobs.user_id}/*")
            await scene.refused("POST", "users/lookup", {"usernames": ["bob"]})
            assert (await scene.call("GET", "conversations")).status_code == 200
            page = await scene.call("GET", f"conversations/{scene.conversation}/messages?limit=100")
            assert len(page.json()["items"]) == last
            async with connected(estate.house.ws, carol) as guest:
                assert (await guest.hear())["stores"] == ["redis"]
        await scene.healed()
        asked = await scene.call("POST", "auth/request-otp", {"phone_number": any_phone_number()})
        assert asked.status_code == 200
        assert await left_for(scene, scene.bob) == []

    play(estate, act)


@ANY_LAYOUT
@pytest.mark.parametrize("fault", FAULTS)
def test_without_postgresql_nothing_is_accepted_and_open_sockets_drain_and_acknowledge(
    estate: Estate, fault: str
) -> None:
    async def act(scene: Scene) -> None:
        scene.bob.acknowledges = False
        count = 300
        for _ in range(count // 10):
            answers = await asyncio.gather(*(scene.say() for _ in range(10)))
            assert {answer["type"] for answer in answers} == {"sent"}
        last = max(answer["seq"] for answer in answers)
        await until(lambda: len(scene.bob.got) >= 256, 30)
        assert last not in scene.bob.seqs(), "the window is full, the rest is in the mailbox"
        await asyncio.sleep(2)
        async with away(estate, POSTGRESQL, fault):
            first = await scene.say()
            assert (first["type"], first["error_code"], first["retryable"]) == ("error", "STORAGE_UNAVAILABLE", True)
            await scene.everybody_is_told("postgresql")
            scene.bob.acknowledges = True
            await scene.bob.socket.ack(*scene.bob.got[3:])
            await until(lambda: last in scene.bob.seqs(), 20)
            refused = await scene.say()
            assert refused["error_code"] == "STORAGE_UNAVAILABLE"
            body = scene.body()
            for method, path, json_body in (
                ("GET", "conversations", None),
                ("GET", "profile", None),
                ("POST", f"conversations/{scene.conversation}/messages", body),
                ("GET", f"conversations/{scene.conversation}/messages", None),
                ("POST", "auth/refresh", {"refresh_token": scene.alice.device.refresh_token}),
            ):
                await scene.refused(method, path, json_body)
            began = time.monotonic()
            with pytest.raises(websockets.InvalidStatus) as refusal:
                async with connected(estate.house.ws, scene.alice.device, ready=False):
                    pass
            assert refusal.value.response.status_code == 503
            assert time.monotonic() - began < ANSWERED
        await scene.healed()
        assert await left_for(scene, scene.bob) == []

    play(estate, act)


@pytest.mark.parametrize("fault", FAULTS)
def test_without_the_message_store_sends_are_kept_up_to_the_cap_and_then_refused(estate: Estate, fault: str) -> None:
    async def act(scene: Scene) -> None:
        history = f"conversations/{scene.conversation}/messages?limit=100"
        async with away(estate, MESSAGES, fault):
            kept = [await scene.say() for _ in range(5)]
            assert {answer["type"] for answer in kept} == {"sent"}
            await scene.everybody_is_told("messages")
            await until(lambda: kept[-1]["seq"] in scene.bob.seqs(), 15)
            page = (await scene.call("GET", history)).json()
            assert page["sources_missing"] == [{"from_seq": 1, "to_seq": 3}]
            assert [item["seq"] for item in page["items"]] == [8, 7, 6, 5, 4]

            async def is_full() -> bool:
                answer = await scene.say()
                assert answer["type"] == "sent" or answer["error_code"] == "STORAGE_UNAVAILABLE"
                return bool(answer["type"] == "error" and answer["retryable"])

            began = time.monotonic()
            await eventually(is_full, 40)
            assert time.monotonic() - began > 1

            async def is_refused() -> bool:
                # Each worker looks for itself how full it is, now and then.
                answer = await scene.call("POST", f"conversations/{scene.conversation}/messages", scene.body())
                return answer.status_code == 503 and answer.json()["error_code"] == "STORAGE_UNAVAILABLE"

            await eventually(is_refused, 10)
            entries = (await scene.call("GET", "/health/databases")).json()["databases"]
            assert entries["messages"]["status"] == "down"
            assert entries["messages"]["backlog"] >= SMALL_OUTBOX
        await scene.healed()
        head = (await scene.say())["seq"]
        await until(lambda: scene.bob.seqs() >= set(range(1, head + 1)), 30)
        page = (await scene.call("GET", history)).json()
        assert "sources_missing" not in page, page["sources_missing"]
        assert [item["seq"] for item in page["items"]] == list(range(head, max(0, head - 100), -1))

    play(estate, act)
