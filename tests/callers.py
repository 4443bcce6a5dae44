"""People who call a running server over HTTP, many at once: the asynchronous sibling of `cast.Http`."""

from typing import Any

import httpx

from accounts.ids import uuid7
from tests.cast import Answer, Installation, JsonObject, b64


class Caller:
    """One device at work. Paths are relative to /api/v1."""

    def __init__(self, client: httpx.AsyncClient, device: Installation) -> None:
        self._client = client
        self.device = device
        self.user_id = device.user_id

    async def get(self, path: str, **query: Any) -> Answer:
        return await self.send("GET", path, query=query)

    async def post(self, path: str, body: JsonObject | None = None) -> Answer:
        return await self.send("POST", path, body)

    async def put(self, path: str, body: JsonObject | None = None) -> Answer:
        return await self.send("PUT", path, body)

    async def patch(self, path: str, body: JsonObject | None = None) -> Answer:
        return await self.send("PATCH", path, body)

    async def delete(self, path: str, body: JsonObject | None = None) -> Answer:
        return await self.send("DELETE", path, body)

    async def send(
        self, method: str, path: str, body: JsonObject | None = None, query: dict[str, Any] | None = None
    ) -> Answer:
        response = await self._client.request(
            method,
            f"/api/v1/{path}",
            json=body,
            params=query,
            headers={"Authorization": f"Bearer {self.device.access_token}"},
        )
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        return Answer(
            response.status_code,
            dict(response.headers),
            response.json() if is_json and response.content else response.content,
        )

    # --- what people do ------------------------------------------------------------------------------------------------------

    async def direct(self, other: "Caller") -> str:
        """The id of the direct conversation with them."""
        answer = await self.post("conversations", {"kind": "direct", "user_id": other.user_id})
        assert answer.status in (200, 201), answer
        return str(answer.body["conversation_id"])

    async def group(self, *others: "Caller", **fields: Any) -> str:
        """The id of a new group with them."""
        answer = await self.post(
            "conversations", {"kind": "group", "member_ids": [other.user_id for other in others]} | fields
        )
        assert answer.status == 201, answer
        return str(answer.body["conversation_id"])

    async def say(self, conversation_id: str, *to: "Caller", **changes: Any) -> Answer:
        """Send a message to these devices."""
        return await self.post(f"conversations/{conversation_id}/messages", message(*to, **changes))

    async def said(self, conversation_id: str, *to: "Caller", **changes: Any) -> JsonObject:
        """The fields of `sent` of a message to these devices."""
        answer = await self.say(conversation_id, *to, **changes)
        assert answer.status == 201, answer
        assert isinstance(answer.body, dict)
        return answer.body

    async def history(self, conversation_id: str, **query: Any) -> JsonObject:
        """A page of the history."""
        answer = await self.get(f"conversations/{conversation_id}/messages", **query)
        assert answer.status == 200, answer
        assert isinstance(answer.body, dict)
        return answer.body

    async def events(self, conversation_id: str) -> list[JsonObject]:
        """The `system` parts of the history, oldest first."""
        page = await self.history(conversation_id, limit=100)
        return [item["system"] for item in reversed(page["items"]) if item["kind"] == "system"]


def message(*to: Caller, text: bytes = b"ciphertext", **changes: Any) -> JsonObject:
    """The body of a send with the same ciphertext for each device."""
    return {
        "client_message_id": str(uuid7()),
        "kind": "message",
        "messages": [
            {
                "device_id": other.device.device_id,
                "registration_id": other.device.registration_id,
                "ciphertext": b64(text),
            }
            for other in to
        ],
    } | changes
