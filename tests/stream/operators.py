"""An operator of the test pool: his key, his keystore, and what he signs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from aiokafka import AIOKafkaProducer
from eth_account import Account

from millpond.events.deadletters import DeadLetterEvent
from millpond.events.envelope import Envelope, encode
from millpond.events.operator_commands import OperatorCommanded, command_item
from millpond.events.topics import OPERATOR_COMMANDS
from millpond.identity import Action, Domain, ReadmitRecord, SkipRecord, sign_action
from millpond.stream.outlet import ce_time, partition_of
from millpond.stream.record import ITEM
from stream.in_process import CHAIN_ID, POOL_ID
from stream.topics_made import FIRST_STAMP_MS

KEY = "0x" + "11" * 32
OPERATOR = Account.from_key(KEY).address
STRANGERS_KEY = "0x" + "22" * 32
DOMAIN = Domain(pool=POOL_ID, chain_id=CHAIN_ID)
PASSWORD = "pond water"


def keystore(directory: Path, key: str = KEY) -> tuple[str, str]:
    """A keystore and its password file, as the command line wants them."""
    directory.mkdir(parents=True, exist_ok=True)
    path, password_file = directory / "operator.json", directory / "operator.password"
    # Opened in no time: the format is slow on purpose, which is not what is tested.
    path.write_text(json.dumps(Account.encrypt(key, PASSWORD, kdf="pbkdf2", iterations=2)))
    password_file.write_text(PASSWORD + "\n")
    password_file.chmod(0o600)
    return str(path), str(password_file)


def skip(event: DeadLetterEvent, nonce: int, **changes: object) -> SkipRecord:
    return replace(SkipRecord(**_named(event), nonce=nonce), **changes)


def readmit(event: DeadLetterEvent, nonce: int, **changes: object) -> ReadmitRecord:
    return replace(ReadmitRecord(**_named(event), nonce=nonce), **changes)


def _named(event: DeadLetterEvent) -> dict[str, object]:
    return {
        "service": event.service,
        "topic": event.topic,
        "partition": event.partition,
        "offset": event.offset,
        "content_hash": event.content_hash,
        "reason": "looked at it",
    }


def signed(action: Action, *, key: str = KEY, domain: Domain = DOMAIN) -> OperatorCommanded:
    by_key = sign_action(action, domain=domain, private_key=key)
    return OperatorCommanded(
        signer=by_key.signer, action=by_key.action, message=dict(by_key.message), signature=by_key.signature
    )


async def publish(bootstrap: str, *commands: OperatorCommanded, item: str | None = None) -> list[tuple[int, int]]:
    """Puts them on the operator's topic as anybody who may write there could; returns partition and offset of each."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    places = []
    try:
        for command in commands:
            service = str(command.message["service"])
            name = item or command_item(service, command)
            envelope = Envelope(name, OperatorCommanded.type_name, "/millpond/operator", ce_time(FIRST_STAMP_MS))
            sent = await producer.send_and_wait(
                OPERATOR_COMMANDS.name,
                command.to_bytes(),
                service.encode(),
                partition_of(service.encode(), OPERATOR_COMMANDS.partitions),
                timestamp_ms=FIRST_STAMP_MS,
                headers=[*encode(envelope), (ITEM, name.encode())],
            )
            places.append((sent.partition, sent.offset))
    finally:
        await producer.stop()
    return places
