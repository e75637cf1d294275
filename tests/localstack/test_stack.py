"""The stack comes up, keeps its data, and says in a sentence why it can't."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import sys
import time
import uuid
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from conftest import OwnStack
from millpond.localstack import ComponentFailed, LocalStack, MissingPrerequisite, StackInUse, ports
from millpond.localstack import stack as stack_module
from millpond.localstack.anvil import Anvil
from millpond.localstack.component import Component

pytestmark = pytest.mark.long

SECOND_START_SECONDS_MAX = 10


def call(anvil: Anvil, method: str, *parameters: object) -> object:
    connection = http.client.HTTPConnection("127.0.0.1", anvil.port, timeout=10)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters})
    connection.request("POST", "/", body, {"Content-Type": "application/json"})
    return json.loads(connection.getresponse().read())["result"]


async def store_something(stack: LocalStack) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic("kept", 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka.bootstrap_servers) as producer:
        await producer.send_and_wait("kept", b"record")
    connection = await asyncpg.connect(stack.postgres.dsn())
    await connection.execute("CREATE TABLE kept AS SELECT 'row' AS value")
    await connection.close()
    call(stack.anvil, "anvil_setBalance", "0x" + "11" * 20, "0x2a")
    call(stack.anvil, "evm_mine")


async def assert_still_there(stack: LocalStack) -> None:
    consumer = AIOKafkaConsumer(
        "kept", bootstrap_servers=stack.kafka.bootstrap_servers, group_id="reader", auto_offset_reset="earliest"
    )
    async with consumer:
        assert (await consumer.getone()).value == b"record"
    connection = await asyncpg.connect(stack.postgres.dsn())
    assert await connection.fetchval("SELECT value FROM kept") == "row"
    await connection.close()
    assert call(stack.anvil, "eth_getBalance", "0x" + "11" * 20, "latest") == "0x2a"
    assert call(stack.anvil, "eth_chainId") == "0x7a69"


def below_a_closed_directory(run_directory: Path, name: str) -> Path:
    """Where the server's unprivileged user has no way in: a checkout below /root is such a place."""
    closed = run_directory / name
    closed.mkdir(mode=0o700)
    return closed / "stack"


async def test_a_second_start_is_quick_and_finds_ports_and_data(run_directory: Path) -> None:
    stack = LocalStack(below_a_closed_directory(run_directory, "second-start"))
    with stack:
        addresses = [component.address for component in stack.components]
        await store_something(stack)
    begun = time.monotonic()
    with stack:
        assert time.monotonic() - begun < SECOND_START_SECONDS_MAX
        assert [component.address for component in stack.components] == addresses
        await assert_still_there(stack)
    stack.discard()


async def test_a_port_taken_meanwhile_is_replaced_and_the_data_stays(run_directory: Path) -> None:
    stack = LocalStack(below_a_closed_directory(run_directory, "taken"))
    with stack:
        taken: dict[str, int] = json.loads((stack.directory / "ports.json").read_text())
        await store_something(stack)
    blockers = [ports.listen(port) for port in taken.values()]
    try:
        with stack:
            assert not {component.port for component in stack.components} & set(taken.values())
            await assert_still_there(stack)
    finally:
        for blocker in blockers:
            blocker.close()
    stack.discard()


async def test_a_killed_component_comes_back_with_its_data(own_stack: OwnStack) -> None:
    stack = own_stack()
    await store_something(stack)
    await asyncio.sleep(2.5)  # anvil's state is written every second
    for component in stack.components:
        component.kill()
        assert not component.answers()
        assert not component.running
    for component in stack.components:
        component.start()
    await assert_still_there(stack)


def test_a_frozen_component_does_not_answer_until_thawed(own_stack: OwnStack) -> None:
    stack = own_stack()
    for component in stack.components:
        component.freeze()
        assert not component.answers()
        assert component.running
        component.thaw()
        assert answers_soon(component)


def answers_soon(component: Component) -> bool:
    return any(component.answers() for _ in range(10))


def test_two_stacks_run_side_by_side(stack: LocalStack, own_stack: OwnStack) -> None:
    other = own_stack("kafka", "postgres")
    addresses = {component.address for one in (stack, other) for component in one.components}
    assert len(addresses) == 4
    assert all(component.answers() for one in (stack, other) for component in one.components)


def test_the_environment_file_says_where_it_is(stack: LocalStack) -> None:
    lines = dict(line.split("=", 1) for line in (stack.directory / "env").read_text().splitlines())
    assert lines == {
        "MILLPOND_KAFKA_BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
        "MILLPOND_POSTGRES_DSN": stack.postgres.dsn(),
    }
    assert (stack.directory / "env").stat().st_mode & 0o077 == 0, "it holds a password"


def test_a_directory_in_use_is_refused_with_the_owner(stack: LocalStack) -> None:
    with pytest.raises(StackInUse) as refused, LocalStack(stack.directory, ("anvil",)):
        pass
    assert str(refused.value) == (
        f"Process {os.getpid()} already runs a stack in {stack.directory}: stop it, or use another directory."
    )
    assert stack.kafka.answers(), "the refused one must not have touched it"
    assert (stack.directory / "env").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the sentence names apt-get")
def test_what_is_missing_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(stack_module, "binaries", lambda: None)
    with pytest.raises(MissingPrerequisite) as missing, LocalStack(tmp_path / "stack", tools=tmp_path / "tools"):
        pass
    assert str(missing.value) == (
        "The local stack needs java and mvn and npm and postgres: install with "
        "`sudo apt-get install -y openjdk-17-jre-headless maven npm postgresql`."
    )
    assert not (tmp_path / "stack").exists()


def test_no_prerequisite_is_asked_for_that_this_start_does_not_need(
    run_directory: Path, own_stack: OwnStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_stack("anvil")  # downloads it, where it is not there yet
    monkeypatch.setenv("PATH", str(run_directory))
    assert own_stack("anvil").anvil.answers()


def test_a_cluster_id_may_begin_with_a_dash(run_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One random id in 64 does; the tool that formats the storage took it for an option."""
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(bytes=b"\xf8" + bytes(15)))
    with LocalStack(run_directory / "dash", ("kafka",)) as stack:
        described = next(stack.directory.rglob("meta.properties")).read_text()
    stack.discard()
    assert "cluster.id=-" in described


def test_a_component_that_fails_leaves_nothing_running(own_stack: OwnStack) -> None:
    with pytest.raises(ComponentFailed) as failed:
        own_stack("postgres", "anvil", postgres_settings={"max_connections": "none"})
    assert "max_connections" in str(failed.value)
    assert "postgres ended while starting" in str(failed.value)
