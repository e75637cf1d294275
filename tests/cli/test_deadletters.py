"""``millpond deadletters`` as an operator uses it: on real Kafka, with a service that runs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.terminal import Command
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.topics import OPERATOR_COMMANDS
from millpond.stream.record import Place
from millpond_cli.app import app
from stream import operators
from stream.in_process import CHAIN_ID, POOL_ID, running
from stream.operators import OPERATOR, STRANGERS_KEY
from stream.poisons import drop, put
from stream.tally import drops_topic, tally
from stream.topics_made import create_topics, new_name, read_all
from stream.workers import wait_until

WITHIN_S = 120.0
POOL = {"MILLPOND_POOL_ID": POOL_ID, "MILLPOND_POOL_CHAIN_ID": str(CHAIN_ID)}


def invoke(*arguments: str, environment: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, ["deadletters", *arguments], env=environment or POOL)


class Terminal:
    """The command as a process of its own: the service under test logs in this one."""

    def __init__(self, bootstrap: str, directory: Path) -> None:
        self._bootstrap = bootstrap
        self._directory = directory

    async def run(self, *arguments: str) -> tuple[int, str]:
        words = ("deadletters", *arguments, "--bootstrap-servers", self._bootstrap)
        command = Command(self._directory, *words, environment=POOL)
        return await command.ended(), command.out + command.err


async def test_a_stopped_partition_goes_on_after_skip_and_the_record_comes_back_after_readmit(
    kafka_bootstrap: str, database: str, tmp_path: Path
) -> None:
    name, terminal = new_name(), Terminal(kafka_bootstrap, tmp_path)
    keystore, password_file = operators.keystore(tmp_path)
    by_operator = ("--reason", "a test of mine", "--keystore", keystore, "--password-file", password_file)
    stranger = operators.keystore(tmp_path / "stranger", STRANGERS_KEY)
    by_stranger = ("--reason", "let me", "--keystore", stranger[0], "--password-file", stranger[1])
    service = tally(name)
    await create_topics(kafka_bootstrap, service)
    topic = service.reads[0].name
    where = (name, topic, "0", "1")
    # Poison to this reader only: a later one knows the type.
    unknown = drop("d1", amount=20).having("ce_type", b"Drizzle")
    await put(kafka_bootstrap, topic, [drop("d0", amount=1), unknown, drop("d2", amount=300)])
    async with running(service, kafka_bootstrap, database, operators=(OPERATOR,)) as instance:
        await wait_until(lambda: instance.stops() == {Place(topic, 0): "poison"}, WITHIN_S)

        async def listed(*options: str) -> list[dict[str, object]]:
            status, output = await terminal.run("list", name, "--json", *options)
            assert status == 0, output
            return list(json.loads(output)["dead_letters"])

        rows = await wait_until(listed, WITHIN_S)
        assert len(rows) == 1
        (row,) = rows
        assert {key: row[key] for key in ("service", "topic", "partition", "offset", "state", "reason", "command")} == {
            "service": name,
            "topic": topic,
            "partition": 0,
            "offset": 1,
            "state": "stopped",
            "reason": "unknown_type",
            "command": "skip",
        }
        status, output = await terminal.run("show", *where)
        assert status == 0, output
        assert '{"bucket":"b","amount":20}' in output
        assert "header    ce_type: Drizzle" in output
        assert str(row["content_hash"]) in output
        assert f"millpond deadletters skip {name} {topic} 0 1" in output

        # What does not apply is not even signed; a stranger's signature is refused by the service.
        status, output = await terminal.run("readmit", *where, *by_operator)
        assert (status, "can't be readmitted" in output) == (1, True), output
        status, output = await terminal.run("skip", *where, *by_stranger)
        assert status == 1, output
        assert f"{name} refused SkipRecord" in output
        assert "may not give this pool orders" in output
        assert instance.stops() == {Place(topic, 0): "poison"}

        status, output = await terminal.run("skip", *where, *by_operator)
        assert status == 0, output
        assert output.startswith(f"Skipped: {topic}[0]@1, by SkipRecord of {OPERATOR}")
        await wait_until(lambda: instance.stops() == {}, WITHIN_S)
        assert [row["state"] for row in await listed() if row["topic"] == topic] == ["skipped"]
    upgraded = drops_topic(name)
    object.__setattr__(upgraded, "event_types", {**upgraded.event_types, "Drizzle": upgraded.events[0]})
    async with running(tally(name, reads=(upgraded,)), kafka_bootstrap, database, operators=(OPERATOR,)) as instance:
        status, output = await terminal.run("readmit", *where, *by_operator)
        assert status == 0, output
        assert output.startswith(f"ReAdmitted: {topic}[0]@1")
        reported = await wait_until(lambda: totals(kafka_bootstrap, name, 3), WITHIN_S)
        assert reported == [1, 301, 321]
    assert [row["state"] for row in await listed("--all") if row["topic"] == topic] == ["readmitted"]
    assert [row["topic"] for row in await listed()] == [OPERATOR_COMMANDS.name]  # the stranger's
    status, output = await terminal.run("list", name)
    assert (status, "refused_command" in output) == (0, True), output
    # Nobody answers: told so, and the command stays on the log for when the service is back.
    status, output = await terminal.run(
        "readmit", name, *commands_place(rows=await listed()), *by_operator, "--wait", "0"
    )
    assert (status, "has not answered within 0 s" in output) == (1, True), output


def commands_place(rows: list[dict[str, object]]) -> tuple[str, str, str]:
    (row,) = rows
    return str(row["topic"]), str(row["partition"]), str(row["offset"])


async def totals(bootstrap: str, name: str, count: int) -> list[int] | None:
    records = await read_all(bootstrap, f"{name}.levels.v1")
    if len(records) < count:
        return None
    return [json.loads(record.value or b"")["total"] for record in records]


async def test_bytes_that_are_no_text_are_shown_in_hexadecimal_and_a_large_value_from_its_old_place(
    kafka_bootstrap: str, database: str, tmp_path: Path
) -> None:
    name, terminal = new_name(), Terminal(kafka_bootstrap, tmp_path)
    service = tally(name, reads=(drops_topic(name, poison="aside"),))
    await create_topics(kafka_bootstrap, service)
    topic = service.reads[0].name
    # More than half of what the dead-letter topic allows: it stands at its old place only.
    large = replace(drop("large"), value=b"not JSON " * 70_000)
    await put(kafka_bootstrap, topic, [replace(drop("binary"), value=b"\xff\xfe\x1b[2J", key=b"\x00\xff"), large])
    async with running(service, kafka_bootstrap, database):
        await wait_until(lambda: dead_letters(kafka_bootstrap, name, 2), WITHIN_S)
    status, output = await terminal.run("show", name, topic, "0", "0")
    assert status == 0, output
    assert "00000000  ff fe 1b 5b 32 4a" in output
    assert "\x1b[2J" not in output
    status, output = await terminal.run("show", name, topic, "0", "1")
    assert status == 0, output
    assert "630000 bytes:\nnot JSON not JSON" in output
    assert output.count("not JSON") < 1_000


async def dead_letters(bootstrap: str, name: str, count: int) -> bool:
    return len(await read_all(bootstrap, f"{name}.deadletters.v1")) == count


def test_a_service_that_never_ran_and_a_place_without_a_dead_letter_are_named(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    brokers = ("--bootstrap-servers", kafka_bootstrap)
    name = new_name("nobody")
    result = invoke("list", name, *brokers)
    assert result.exit_code == 1
    assert f"There is no topic {name}.deadletters.v1" in result.output
    asyncio.run(create_topics(kafka_bootstrap, tally(name)))
    result = invoke("list", name, *brokers)
    assert (result.exit_code, result.output) == (
        0,
        "No dead letters that wait for anybody; --all shows the closed ones.\n",
    )
    keystore, password_file = operators.keystore(tmp_path)
    signing = ("--reason", "r", "--keystore", keystore, "--password-file", password_file)
    for command, options in (("show", ()), ("skip", signing), ("readmit", signing)):
        result = invoke(command, name, "a.b.v1", "0", "5", *options, *brokers)
        assert result.exit_code == 1
        assert f"{name} has no dead letter a.b.v1[0]@5." in result.output, command


def test_without_arguments_every_service_of_the_pool_that_has_run_is_asked(kafka_bootstrap: str) -> None:
    result = invoke("list", "--bootstrap-servers", kafka_bootstrap)
    assert result.exit_code == 0, result.output


def test_a_broker_that_is_away_a_wrong_password_and_a_missing_pool_are_one_sentence_each(tmp_path: Path) -> None:
    keystore, password_file = operators.keystore(tmp_path)
    place = ("metering", "agent.results.v1", "0", "0")
    signing = ("--reason", "r", "--keystore", keystore, "--password-file", password_file)
    away = ("--bootstrap-servers", "127.0.0.1:1")
    for command, options in (("list", ()), ("show", place), ("skip", (*place, *signing))):
        result = invoke(command, *options, *away)
        assert result.exit_code == 1
        assert result.output.startswith("Kafka does not answer at 127.0.0.1:1"), command
        assert "Traceback" not in result.output
    Path(password_file).write_text("wrong\n")
    result = invoke("skip", *place, *signing, *away)
    assert (result.exit_code, "does not open" in result.output) == (1, True)
    result = invoke("skip", *place, *signing, *away, environment={"MILLPOND_POOL_ID": ""})
    assert (result.exit_code, "MILLPOND_POOL_ID is not set" in result.output) == (1, True)


@pytest.mark.parametrize("command", ["skip", "readmit"])
def test_an_order_needs_a_reason_and_a_key(command: str) -> None:
    result = invoke(command, "metering", "agent.results.v1", "0", "0")
    assert result.exit_code == 2
    assert OperatorCommanded.type_name not in result.output
