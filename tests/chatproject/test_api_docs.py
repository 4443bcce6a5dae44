"""The documentation of the API: made from the code, and served from here."""

import re

from django.contrib.staticfiles import finders

from chatproject.api import api
from tests.cast import Http


def test_the_docs_page_loads_nothing_from_elsewhere(anyone: Http) -> None:
    answer = anyone.get("/api/docs")
    assert answer.status == 200
    page = answer.body.decode()
    assert "//" not in re.sub(r"<!--.*?-->", "", page)
    assets = re.findall(r'(?:src|href)="/static/([^"]+)"', page)
    assert len(assets) >= 3
    assert all(finders.find(asset) for asset in assets)


def test_openapi_names_every_call_once_with_its_token(anyone: Http) -> None:
    document = anyone.get("/api/openapi.json").body
    assert document["openapi"].startswith("3.")
    paths = document["paths"]
    assert {
        "/api/v1/auth/register-device",
        "/api/v1/devices/{device_id}",
        "/api/v1/keys/{user_id}/{device_id}",
    } <= paths.keys()
    operations = [operation for methods in paths.values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    open_calls = {operation["operationId"] for operation in operations if "security" not in operation}
    assert {name.rpartition("_api_")[2] for name in open_calls} == {
        "request_otp",
        "verify_otp",
        "register_device",
        "refresh",
        "claim_link",
    }


def test_bodies_and_answers_are_described() -> None:
    schema = api.get_openapi_schema()
    register = schema["paths"]["/api/v1/auth/register-device"]["post"]
    assert register["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/RegistrationIn")
    properties = schema["components"]["schemas"]["RegistrationOut"]["properties"]
    assert properties["device_id"]["type"] == "string"
    assert properties["user_id"]["format"] == "uuid"


def test_every_call_may_be_refused_with_a_known_code() -> None:
    schema = api.get_openapi_schema()
    refusal = schema["components"]["schemas"]["Refusal"]
    codes = refusal["properties"]["error_code"]["enum"]
    assert {"INVALID_REQUEST", "MISMATCHED_DEVICES", "STORAGE_UNAVAILABLE"} <= set(codes)
    assert "RETRY_IN_ORDER" not in codes, "on the socket alone"
    for methods in schema["paths"].values():
        for operation in methods.values():
            answer = operation["responses"]["default"]["content"]["application/json"]["schema"]
            assert answer == {"$ref": "#/components/schemas/Refusal"}
    assert all(f"| {code} |" in schema["info"]["description"] for code in codes)


def test_a_body_may_be_left_out_where_no_field_is_required() -> None:
    paths = api.get_openapi_schema()["paths"]
    assert not paths["/api/v1/auth/logout"]["post"]["requestBody"]["required"]
    assert not paths["/api/v1/conversations/{conversation_id}/leave"]["post"]["requestBody"]["required"]
    assert paths["/api/v1/auth/refresh"]["post"]["requestBody"]["required"]
