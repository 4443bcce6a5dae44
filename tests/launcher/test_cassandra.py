from pathlib import Path

import pytest
import yaml

from chatproject.launcher.cassandra import RUN, CassandraNode, loopback_address
from chatproject.launcher.cassandra.node import answers_cql


def test_installations_do_not_meet_on_the_fixed_ports(tmp_path: Path) -> None:
    mine, yours = loopback_address(tmp_path / "mine"), loopback_address(tmp_path / "yours")
    assert mine.startswith("127.")
    assert mine != yours
    assert mine.rpartition(".")[0] == loopback_address(tmp_path / "mine", 3).rpartition(".")[0]


@pytest.mark.cassandra
def test_a_node_answers_when_it_has_started_and_is_gone_when_it_has_stopped(tmp_path: Path) -> None:
    node = CassandraNode(tmp_path)
    try:
        node.start()
        assert node.version.startswith("5.")
        assert answers_cql(node.address, 9042)
    finally:
        node.stop()
    assert not node.alive()
    assert not answers_cql(node.address, 9042)


@pytest.mark.cassandra
def test_only_a_test_node_refuses_to_scan_tombstones(tmp_path: Path) -> None:
    thresholds = []
    for node in (CassandraNode(tmp_path / "test"), CassandraNode(tmp_path / "run", profile=RUN)):
        node.data.mkdir(parents=True)
        node.prepare()
        settings = yaml.safe_load((node.configuration / "cassandra.yaml").read_text())
        thresholds.append(settings.get("tombstone_failure_threshold"))
    assert thresholds == [200, None]


@pytest.mark.cassandra
def test_three_nodes_share_the_ring_and_the_seed(tmp_path: Path) -> None:
    addresses = [loopback_address(tmp_path, number) for number in (1, 2, 3)]
    nodes = [
        CassandraNode(tmp_path / str(number), address=address, seed=addresses[0])
        for number, address in enumerate(addresses)
    ]
    for node in nodes:
        node.data.mkdir(parents=True)
        node.prepare()
    settings = [yaml.safe_load((node.configuration / "cassandra.yaml").read_text()) for node in nodes]
    assert len({each["initial_token"] for each in settings}) == 3
    assert {each["seed_provider"][0]["parameters"][0]["seeds"] for each in settings} == {f"{addresses[0]}:7000"}
