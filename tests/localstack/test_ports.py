"""Ports are chosen long before their servers listen: meanwhile nobody else may choose them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from millpond.localstack import ports


def test_a_held_port_is_nobody_elses_and_its_server_can_listen_there_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ports.hold_free() as held:
        number = ports.number_of(held)
        monkeypatch.setattr(ports, "LOWEST", number)
        monkeypatch.setattr(ports, "HIGHEST", number)
        monkeypatch.setattr(ports, "ATTEMPTS_MAX", 1)
        for _ in range(2):
            with pytest.raises(AssertionError, match="all taken"):
                ports.hold_free()
            server = ports.listen(number)
            with socket.create_connection(("127.0.0.1", number)):
                server.accept()[0].close()
                server.close()
    assert ports.is_free(number)


def test_a_next_start_finds_its_ports_but_for_those_where_somebody_listens(tmp_path: Path) -> None:
    remembered = tmp_path / "ports.json"
    first = {name: ports.number_of(held) for name, held in ports.assign(remembered, ["kafka", "anvil"]).items()}
    with ports.listen(first["kafka"]):
        second = {name: ports.number_of(held) for name, held in ports.assign(remembered, ["kafka", "anvil"]).items()}
    assert second["anvil"] == first["anvil"]
    assert second["kafka"] not in first.values()
