"""An operator's signed action as a record of ``operator.commands.v1``."""

from __future__ import annotations

from millpond.errors import MillpondError
from millpond.events.envelope import Envelope, encode
from millpond.events.operator_commands import OperatorCommanded, command_item
from millpond.events.topics import OPERATOR_COMMANDS
from millpond.identity import SignedAction
from millpond.settings import KafkaSettings
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.log import Outbound
from millpond.stream.outlet import ce_time, partition_of
from millpond.stream.record import ITEM, Place


class NoCommandsTopic(MillpondError):
    """There is no topic {topic} on {servers}, so no service can read the command. Run: millpond topics apply"""


def commanded(signed: SignedAction) -> OperatorCommanded:
    return OperatorCommanded(
        signer=signed.signer, action=signed.action, message=dict(signed.message), signature=signed.signature
    )


async def publish_command(
    settings: KafkaSettings, subject: str, command: OperatorCommanded, now_ms: int
) -> tuple[Place, int]:
    """Where it stands, once Kafka has it. ``subject``: the record's key, under which its nonce counts.

    Raises ``NoCommandsTopic``, ``LogAway`` and ``SendFailed``.
    """
    topic = OPERATOR_COMMANDS.name
    count = (await KafkaLog(settings.client_options()).partitions([topic]))[topic]
    if not count:
        raise NoCommandsTopic(topic=topic, servers=settings.bootstrap_servers)
    place = Place(topic, partition_of(subject.encode(), count))
    publisher = await KafkaPublisher.open(settings.client_options())
    try:
        next_offset = await (await publisher.send(place, [_outbound(subject, command, now_ms)]))
    finally:
        await publisher.close()
    return place, next_offset - 1


def _outbound(subject: str, command: OperatorCommanded, now_ms: int) -> Outbound:
    item = command_item(subject, command)
    envelope = Envelope(id=item, type=OperatorCommanded.type_name, source="/millpond/operator", time=ce_time(now_ms))
    headers = (*encode(envelope), (ITEM, item.encode()))
    return Outbound(subject.encode(), command.to_bytes(), headers, now_ms)
