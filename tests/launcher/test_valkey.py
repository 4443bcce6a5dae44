from pathlib import Path

import redis

from chatproject.launcher.valkey import ValkeyServer


def client(server: ValkeyServer) -> "redis.Redis":
    return redis.Redis.from_url(server.url)


def test_it_answers_on_a_socket_and_keeps_nothing(valkey: ValkeyServer) -> None:
    valkey.start()
    with client(valkey) as alice:
        alice.set("hint", "look")
        assert alice.config_get("port") == {"port": "0"}
    valkey.stop()
    assert list(valkey.data.iterdir()) == []
    valkey.start()
    with client(valkey) as alice:
        assert alice.get("hint") is None


def test_a_killed_server_starts_again_on_the_same_url(valkey: ValkeyServer) -> None:
    valkey.start()
    url = valkey.url
    valkey.kill()
    assert not valkey.alive()
    valkey.start()
    assert valkey.url == url
    with client(valkey) as alice:
        assert alice.ping()


def test_two_directories_have_two_servers(valkey: ValkeyServer, tmp_path: Path) -> None:
    other = ValkeyServer(tmp_path / "other")
    valkey.start()
    other.start()
    try:
        with client(valkey) as alice, client(other) as bob:
            alice.set("whose", "Alice's")
            assert bob.get("whose") is None
    finally:
        other.stop()
