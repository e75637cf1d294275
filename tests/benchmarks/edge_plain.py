"""The baseline of ``edge.agents``: a server of the websockets library that sends each message to Kafka, and answers.

It verifies nothing, stamps nothing, knows nobody and promises nothing. ``PLAIN_PORT``, ``PLAIN_TOPIC``.
"""

from __future__ import annotations

import asyncio
import json
import os

from aiokafka import AIOKafkaProducer
from websockets.asyncio.server import ServerConnection, serve


async def main() -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=os.environ["MILLPOND_KAFKA_BOOTSTRAP_SERVERS"], enable_idempotence=True, acks="all"
    )
    await producer.start()
    topic = os.environ["PLAIN_TOPIC"]

    async def answer(socket: ServerConnection) -> None:
        await socket.send('{"type":"Challenge","nonce":"0x00"}')
        device = json.loads(await socket.recv())["device"].encode()
        await socket.send('{"type":"Welcome"}')
        async for text in socket:
            message = json.loads(text)
            await producer.send_and_wait(topic, text.encode() if isinstance(text, str) else text, key=device)
            sequence = json.loads(message["payload"])["sequence"]
            await socket.send(json.dumps({"type": "Accepted", "sequence": sequence}))

    async with serve(answer, "127.0.0.1", int(os.environ["PLAIN_PORT"]), compression=None):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
