"""The world of the matrix: Alice, who owns what is asked for; those who ask; and what each of them has, had and never had."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from accounts.ids import uuid7
from accounts.models import User
from devices import unlinking
from tests.cast import Installation, JsonObject, b64
from tests.linking import Linking, linked

API = "/api/v1/"
ANYBODY = "a random uuid"


@dataclass
class Ids:
    """What one column of the matrix puts into paths and bodies."""

    user_id: str
    device_id: str
    conversation_id: str
    link_id: str
    registration_id: int = 1
    message_id: str = "9007199254740993"
    key: str = "theme"

    def path(self, template: str) -> str:
        return template.format(**vars(self))

    def named(self) -> list[str]:
        """What a request with these ids says itself, longest first."""
        return sorted((self.user_id, self.conversation_id, self.link_id, self.device_id), key=len, reverse=True)


def unknown() -> Ids:
    """Ids that nothing has."""
    return Ids(str(uuid7()), "9007199254740991", str(uuid7()), str(uuid4()))


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)


@dataclass
class Asker:
    """Somebody with a token, or without one."""

    name: str
    client: httpx.AsyncClient
    device: Installation | None = None
    ids: dict[str, Ids] = field(default_factory=dict)

    async def ask(
        self, method: str, path: str, body: JsonObject | None = None, query: dict[str, Any] | None = None
    ) -> Answer:
        return await self.ask_raw(method, path, b"" if body is None else json.dumps(body).encode(), query)

    async def ask_raw(self, method: str, path: str, raw: bytes, query: dict[str, Any] | None = None) -> Answer:
        headers = {"Content-Type": "application/json"}
        if self.device is not None:
            headers["Authorization"] = f"Bearer {self.device.access_token}"
        answer = await self.client.request(method, API + path, content=raw, headers=headers, params=query)
        return Answer(answer.status_code, dict(answer.headers), answer.content)

    async def found_group(self, *others: "Asker | Installation", name: str = "a group") -> str:
        members = [one.user_id for other in others if (one := _device(other)) is not None]
        answer = await self.ask("POST", "conversations", {"kind": "group", "name": name, "member_ids": members})
        assert answer.status == 201, answer
        return str(answer.body["conversation_id"])

    async def say(self, conversation_id: str, *to: Installation, text: bytes = b"a ciphertext") -> JsonObject:
        answer = await self.ask("POST", f"conversations/{conversation_id}/messages", message(*to, text=text))
        assert answer.status == 201, answer
        return dict(answer.body)


def _device(one: "Asker | Installation") -> Installation | None:
    return one.device if isinstance(one, Asker) else one


def message(*to: Installation, text: bytes = b"a ciphertext", **changes: Any) -> JsonObject:
    """The body of a send."""
    addressed = [
        {"device_id": other.device_id, "registration_id": other.registration_id, "ciphertext": b64(text)}
        for other in to
    ]
    return {"client_message_id": str(uuid7()), "kind": "message", "messages": addressed} | changes


@dataclass
class Cast:
    """The people, made before the server is asked for anything that needs it."""

    alice: Installation
    alice_laptop: Installation
    alice_link: str
    carol: Installation
    dave: Installation
    ghost_id: str
    ghost_device_id: str
    user: Installation
    former_device: Installation
    blocked: Installation
    shunned: Installation
    admin: Installation
    # By user: a link that is open, and one that was rejected.
    links: dict[str, tuple[str, str]]


PLANTED = {
    "display_name": "Planted Alice Liddell",
    "username": "planted_alice",
    "bio": "planted words about Alice",
}
PLANTED_DEVICE = "planted phone of Alice"
PLANTED_GROUP = "planted name of a group"
PLANTED_TEXT = b"planted ciphertext of Alice"


def make_cast() -> Cast:
    """Register everybody. Alice has a laptop, a link that is open, and has blocked one; the user has a device and an account's worth of past."""
    alice = Installation(name=PLANTED_DEVICE).register()
    assert alice.http.patch("profile", dict(PLANTED)).status == 200
    laptop = linked(alice, "planted laptop of Alice")
    user = Installation(name="the user's phone").register()
    former = linked(user, "a former device")
    assert user.http.delete(f"devices/{former.device_id}").status == 204
    shunned = Installation(name="shunned").register()
    assert alice.http.put(f"relationships/{shunned.user_id}", {"state": "blocked"}).status == 200
    admin = make_admin(Installation(name="admin").register())
    return Cast(
        alice=alice,
        alice_laptop=laptop,
        alice_link=Linking(alice).claimed().link_id,
        carol=Installation(name="planted phone of Carol").register(),
        dave=Installation(name="Dave's phone").register(),
        ghost_id=(ghost := _ghost()).user_id,
        ghost_device_id=ghost.device_id,
        user=user,
        former_device=former,
        blocked=_blocked(),
        shunned=shunned,
        admin=admin,
        links={phone.user_id: (Linking(phone).link_id, _rejected(phone)) for phone in (user, shunned, admin)},
    )


def _rejected(phone: Installation) -> str:
    """A link that has come to nothing."""
    link = Linking(phone).claimed()
    assert link.reject().status == 200
    return link.link_id


def make_admin(device: Installation) -> Installation:
    """The same, of a person with every right in the web admin."""
    User.objects.filter(pk=device.user_id).update(is_staff=True, is_superuser=True)
    return device


def _ghost() -> Installation:
    """Somebody whose account is deleted."""
    ghost = Installation(name="planted phone of a ghost").register()
    assert ghost.http.delete("account").status == 200
    return ghost


def _blocked() -> Installation:
    """Somebody whom staff has blocked."""
    device = Installation(name="blocked").register()
    unlinking.block_user(User.objects.get(pk=device.user_id).pk)
    return device


@dataclass
class World:
    """Everybody, and the columns of each who asks."""

    cast: Cast
    askers: dict[str, Asker]
    alice: Asker
    private: list[str]


async def make_world(cast: Cast, client: httpx.AsyncClient) -> World:
    """Give everybody conversations to have and to have left."""
    alice, dave = Asker("alice", client, cast.alice), Asker("dave", client, cast.dave)
    group = await alice.found_group(cast.carol, name=PLANTED_GROUP)
    sent = await alice.say(group, cast.alice_laptop, cast.carol, text=PLANTED_TEXT)
    theirs = Ids(
        cast.alice.user_id, cast.alice.device_id, group, cast.alice_link, cast.alice.registration_id, sent["message_id"]
    )
    askers = {
        "anonymous": Asker("anonymous", client),
        "user": Asker("user", client, cast.user),
        "unlinked device": Asker("unlinked device", client, cast.former_device),
        "blocked user": Asker("blocked user", client, cast.blocked),
        "one whom the victim blocks": Asker("one whom the victim blocks", client, cast.shunned),
        "admin": Asker("admin", client, cast.admin),
    }
    for asker in askers.values():
        asker.ids = {"own": unknown(), "another's": theirs, "unknown": unknown(), "ended": unknown()}
    for name in ("user", "one whom the victim blocks", "admin"):
        await _settle(askers[name], cast, dave)
    return World(cast, askers, alice, _private(cast, sent))


async def _settle(asker: Asker, cast: Cast, dave: Asker) -> None:
    """Their own group, and one they were removed from."""
    device = asker.device
    assert device is not None
    own, former = await asker.found_group(dave), await dave.found_group(asker)
    assert (await asker.ask("POST", f"conversations/{former}/leave", {})).status == 204
    link, ended_link = cast.links[device.user_id]
    ended_device = cast.former_device.device_id if device is cast.user else cast.ghost_device_id
    asker.ids["own"] = Ids(device.user_id, device.device_id, own, link, device.registration_id)
    asker.ids["ended"] = Ids(cast.ghost_id, ended_device, former, ended_link)


def _private(cast: Cast, sent: JsonObject) -> list[str]:
    """What nobody but Alice and those she talks to may be shown."""
    return [
        cast.alice.phone_number,
        cast.alice.phone_number.removeprefix("+"),
        PLANTED_DEVICE,
        "planted laptop of Alice",
        PLANTED_GROUP,
        "planted phone of",
        b64(PLANTED_TEXT),
        cast.carol.phone_number,
        cast.carol.user_id,
        cast.alice_laptop.device_uuid,
        sent["message_id"],
        sent["client_message_id"],
    ]
