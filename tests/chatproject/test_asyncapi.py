"""The description of the socket says what the socket does: made from the frames themselves, and whole."""

import json
import re
from typing import Any

import msgspec
import pytest
import yaml

from accounts.wire.refusals import RateLimited
from chatproject.asyncapi import ERROR_FRAME, SUMMARIES, document
from messaging.frames import CLIENT_FRAMES, CODECS, JSON, SERVER_FRAMES, AnyClientFrame, BadFrame, error_frame
from tests.cast import Http

FRAMES = [("client", frame) for frame in CLIENT_FRAMES] + [("server", frame) for frame in SERVER_FRAMES]


def schema_of(side: str, frame: Any) -> dict[str, Any]:
    described = document()
    message = described["components"]["messages"][f"{side}.{frame.__struct_config__.tag}"]
    schema: dict[str, Any] = described["components"]["schemas"][message["payload"]["$ref"].rpartition("/")[2]]
    return schema


def test_it_is_served_as_yaml(anyone: Http) -> None:
    answer = anyone.get("/api/asyncapi.yaml")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/yaml")
    described = yaml.safe_load(answer.body)
    assert described == document()
    assert described["asyncapi"].startswith("3.")
    assert anyone.post("/api/asyncapi.yaml").status == 405


@pytest.mark.parametrize(("side", "frame"), FRAMES, ids=lambda value: getattr(value, "__name__", value))
def test_every_field_of_every_frame_is_described(side: str, frame: Any) -> None:
    schema = schema_of(side, frame)
    fields = msgspec.structs.fields(frame)
    assert schema["properties"].keys() == {"type"} | {field.encode_name for field in fields}
    assert schema["properties"]["type"] == {"enum": [frame.__struct_config__.tag]}
    assert set(schema["required"]) == {"type"} | {field.encode_name for field in fields if field.required}


def test_each_side_says_its_own_frames_and_no_more() -> None:
    described = document()
    tags = {
        "hear": {f"client.{frame.__struct_config__.tag}" for frame in CLIENT_FRAMES},
        "tell": {f"server.{frame.__struct_config__.tag}" for frame in SERVER_FRAMES} | {"server.error"},
    }
    for name, operation in described["operations"].items():
        assert {message["$ref"].rpartition("/")[2] for message in operation["messages"]} == tags[name]
    assert SUMMARIES.keys() == {name.partition(".")[2] for side in tags.values() for name in side}


def test_every_reference_leads_somewhere() -> None:
    described = document()
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(described)))
    assert references
    for reference in references:
        place = described
        for step in reference.split("/"):
            place = place[step]


def test_a_pattern_means_the_same_elsewhere() -> None:
    patterns = re.findall(r'"pattern": "([^"]+)"', json.dumps(document()))
    assert patterns
    assert not any("Z" in pattern for pattern in patterns)


def test_a_frame_of_the_contract_that_is_not_described_is_refused() -> None:
    """What is not there yet is neither described nor accepted."""
    described = {frame.__struct_config__.tag for frame in CLIENT_FRAMES}
    for absent in {"typing", "call", "presence"} - described:
        with pytest.raises(BadFrame):
            CODECS[JSON].parse(json.dumps({"type": absent}))
    assert {frame.__struct_config__.tag for frame in AnyClientFrame.__args__} == described


def test_a_refusal_has_the_described_fields() -> None:
    refused = error_frame(RateLimited(retry_after=2), "7")
    assert refused.keys() <= ERROR_FRAME["properties"].keys()
    assert refused.keys() >= set(ERROR_FRAME["required"])
    assert refused["error_code"] in ERROR_FRAME["properties"]["error_code"]["enum"]
