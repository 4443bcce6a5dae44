"""How the people of the checkup prove their numbers: by the code, where it goes into a file; else on the word of whoever runs the server."""

import json
import secrets
from pathlib import Path

from accounts import countries, otp, sms, valkey
from accounts.code_requests import session_key
from accounts.models import User
from accounts.phones import hash_phone
from chatproject.checkup.server import Server
from chatproject.checkup.table import Unwell


def any_number() -> str:
    """A number that no telephone has and no account, and that codes may be sent to: 555-01xx is for films (ATIS-0300115)."""
    while True:
        number = f"+1{secrets.randbelow(800) + 200}55501{secrets.randbelow(100):02}"
        if not countries.is_premium_rate(number) and not User.objects.filter(phone_hash=hash_phone(number)).exists():
            return number


def code_file() -> Path | None:
    """The file that codes go to, if they do."""
    gateway = sms.gateway()
    return gateway.path if isinstance(gateway, sms.FileGateway) else None


def proven_by_code(server: Server, number: str, codes: Path) -> str:
    """A registration token as everybody gets it: a code is asked for, read from the file, and checked."""
    before = codes.stat().st_size if codes.exists() else 0
    session_id = server.call("POST", "auth/request-otp", {"phone_number": number})["otp_session_id"]
    if not valkey.client().exists(session_key(session_id)):
        raise Unwell("the server keeps its codes in another Redis than REDIS_URL names here")
    code = _code_in(codes, before, number)
    return str(
        server.call("POST", "auth/verify-otp", {"otp_session_id": session_id, "code": code})["registration_token"]
    )


def _code_in(codes: Path, before: int, number: str) -> str:
    try:
        with codes.open("rb") as file:
            file.seek(before)
            messages = [json.loads(line) for line in file.read().splitlines()]
        return str(next(message["code"] for message in reversed(messages) if message["to"] == number))
    except (OSError, ValueError, StopIteration) as failure:
        sentence = "the code is not in the file that SMS_URL names here; --without-sms goes on without it"
        raise Unwell(sentence) from failure


def vouched_for(number: str) -> str:
    """A registration token without a code, for a number without an account."""
    return otp.vouch(number)
