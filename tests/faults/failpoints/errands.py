"""What people do beside sending, again and again until it has an answer; and whether the answer, after whatever happened to the first one, is right."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.acceptance.house import Resident
from tests.cast import Answer
from tests.faults.nemesis.prober import Visited
from tests.vouching import signature_of

GIVE_UP_SECONDS = 60.0
PAUSE_SECONDS = 0.3
LATER = (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS)


@dataclass
class Errands:
    """Two people, and what they run into. `broken` has a sentence for each promise that was not kept."""

    house: Visited
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.alice, self.bob = self.house.person("Alice"), self.house.person("Bob")
        self.group = self.alice.group(self.bob)
        self._keys: set[Any] = set()
        self._newcomers: list[str] = []

    @property
    def people(self) -> list[str]:
        """Whose conversations and devices these are."""
        return [self.alice.user_id, self.bob.user_id, *self._newcomers]

    @property
    def points(self) -> Collection[str]:
        """Those that somebody has to be led to."""
        return self._errands.keys()

    @property
    def _errands(self) -> dict[str, Callable[[], None]]:
        return {
            "code_verified": self._sign_up,
            "registered": self._sign_up,
            "refreshed": self._refresh,
            "prekeys_taken": self._take_prekeys,
            "link_approved": self._link_and_unlink,
            "unlinked": self._link_and_unlink,
            "membership_changed": self._add_and_remove,
        }

    def run(self, point: str) -> None:
        """Do once what leads to the point."""
        if point in self._errands:
            self._errands[point]()

    def _sign_up(self) -> None:
        """A code, and a token for it, may be used again by whoever did not hear the answer."""
        carol = Resident(name="Carol", http=self.house.client(), house=self.house)
        asked = self._until_answered(lambda: carol.http.post("auth/request-otp", {"phone_number": carol.phone_number}))
        proof = {"otp_session_id": asked.body["otp_session_id"], "code": self.house.code(carol.phone_number)}
        verified = self._until_answered(lambda: carol.http.post("auth/verify-otp", proof))
        if not self._expect(verified, 200, "a code whose answer was lost is not taken again"):
            return
        body = {"registration_token": verified.body["registration_token"], "device": carol.device_input()}
        registered = self._until_answered(lambda: carol.http.post("auth/register-device", body))
        if self._expect(registered, 201, "a registration whose answer was lost cannot be repeated"):
            carol.signed_in(registered.body)
            self._newcomers.append(carol.user_id)
            listed = self._until_answered(lambda: carol.http.get("devices"))
            if len(listed.body.get("items", [])) != 1:
                self.broken.append("a registration that was repeated made two devices")

    def _refresh(self) -> None:
        """A refresh token works until one of the next pair is used."""
        answer = self._until_answered(
            lambda: self.alice.http.post("auth/refresh", {"refresh_token": self.alice.refresh_token})
        )
        if self._expect(answer, 200, "a refresh whose answer was lost signs the device out"):
            self.alice.with_tokens(answer.body)
            self._expect(
                self._until_answered(lambda: self.alice.http.get("profile")), 200, "a refreshed token is not accepted"
            )

    def _take_prekeys(self) -> None:
        """Nobody gets a one-time key that somebody else got."""
        path = f"keys/{self.bob.user_id}/{self.bob.device_id}"
        answer = self._until_answered(lambda: self.alice.http.get(path))
        if self._expect(answer, 200, "prekeys cannot be had"):
            for bundle in answer.body["devices"]:
                key = bundle.get("one_time_prekey")
                if key is not None and key["key_id"] in self._keys:
                    self.broken.append("a one-time prekey was handed out twice")
                self._keys.add(key["key_id"] if key is not None else None)

    def _link_and_unlink(self) -> None:
        """A device is let in once and leaves for good, however often that is asked for."""
        laptop = Resident(
            phone_number=self.alice.phone_number, name="Alice's laptop", http=self.house.client(), house=self.house
        )
        opened = self._until_answered(lambda: self.alice.http.post("devices/link", {}))
        claim = {"link_token": opened.body["link_token"], "device": laptop.device_input(3)}
        claimed = self._until_answered(lambda: laptop.http.post("devices/link/claim", claim))
        approval = {"link_id": claimed.body["link_id"], "signature": signature_of(self.alice, laptop)}
        approved = self._until_answered(lambda: self.alice.http.post("devices/link/approve", approval))
        if not self._expect(approved, 200, "an approval whose answer was lost cannot be repeated"):
            return
        path, header = f"devices/link/{approval['link_id']}", f"Link {claimed.body['claim_secret']}"
        fetched = self._until_answered(lambda: laptop.http.send_raw("GET", path, "", Authorization=header))
        if self._expect(fetched, 200, "a device that was let in is not told"):
            laptop.signed_in(fetched.body["registration"])
            self._expect_listed(laptop, 1)
            self._until_answered(lambda: self.alice.http.delete(f"devices/{laptop.device_id}"))
            self._expect_listed(laptop, 0)

    def _expect_listed(self, device: Resident, times: int) -> None:
        listed = self._until_answered(lambda: self.alice.http.get("devices"))
        found = sum(one["device_uuid"] == device.device_uuid for one in listed.body.get("items", []))
        if found != times:
            self.broken.append(f"a device is listed {found} times and not {times}")

    def _add_and_remove(self) -> None:
        """A change of members happens once, however often it is asked for."""
        members = f"conversations/{self.group}/members"
        added = self._until_answered(lambda: self.alice.http.post(members, {"user_ids": [self.bob.user_id]}))
        if added.status >= 300 and added.status != httpx.codes.CONFLICT:
            self.broken.append(f"a member cannot be added: {added.status} {added.code}")
        found = self._until_answered(lambda: self.alice.http.get(members))
        there = [member for member in found.body.get("items", []) if member["user_id"] == self.bob.user_id]
        if len(there) != 1:
            self.broken.append(f"a member was added and is there {len(there)} times")
        self._until_answered(lambda: self.alice.http.delete(f"{members}/{self.bob.user_id}"))

    def _until_answered(self, attempt: Callable[[], Answer]) -> Answer:
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while True:
            try:
                answer = attempt()
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    raise
            else:
                if answer.status not in LATER or time.monotonic() > deadline:
                    return answer
            time.sleep(PAUSE_SECONDS)

    def _expect(self, answer: Answer, status: int, otherwise: str) -> bool:
        if answer.status != status:
            self.broken.append(f"{otherwise}: {answer.status} {answer.code}")
        return answer.status == status
