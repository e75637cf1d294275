"""A service with an effect, run as a program: it signs slips, and posts each once it reads it on its own topic."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import asyncpg

from millpond.events.event import Event
from millpond.events.topic import Topic
from millpond.stream.decision import Decision, Input, Outgoing, Received
from millpond.stream.main import run_service
from millpond.stream.service import Service
from stream.tally import Buckets, BucketStore, Drop, dead_letters_topic, drops_topic


class SlipSigned(Event):
    """What is to be posted, byte for byte."""

    bucket: str
    slip: str


class SlipPosted(Event):
    """What the outside said to it."""

    bucket: str
    slip: str
    answer: str


class SlipStore(BucketStore):
    """A posted slip changes no bucket."""

    async def save(self, connection: asyncpg.Connection, before: Buckets, after: Buckets) -> None:
        if after != before:
            await super().save(connection, before, after)


def post(letterbox: Path, slip: bytes) -> None:
    with letterbox.open("ab") as posted:
        posted.write(slip + b"\n")


def slips_topic(name: str) -> Topic:
    events = (SlipSigned, SlipPosted)
    return Topic(f"{name}.slips.v1", "bucket", 1, owner=name, readers=(name,), poison="stop", events=events)


def build(name: str) -> Service[Buckets]:
    slips, drops = slips_topic(name), drops_topic(name, partitions=1)
    letterbox, killed_at = Path(os.environ.get("LETTERBOX", "")), os.environ.get("KILLED_AT", "")

    async def observe(received: Received) -> object:
        """The effect: only for what is on the log. Its finding is recorded as an event, like any other."""
        if not isinstance(received.event, SlipSigned):
            return None
        post(letterbox, received.value)
        if received.event.slip == killed_at:
            # After the effect, before anything of it is committed.
            os.kill(os.getpid(), signal.SIGKILL)
        return f"thanks for {received.event.slip}"

    def decide(buckets: Buckets, received: Input) -> Decision[Buckets]:
        assert isinstance(received, Received)
        match received.event:
            case Drop(bucket=bucket, amount=amount):
                total, drops = buckets.get(bucket, (0, 0))
                signed = SlipSigned(bucket=bucket, slip=f"{bucket}/{drops + 1}/{amount}")
                after = {**buckets, bucket: (total + amount, drops + 1)}
                return Decision(after, (Outgoing(slips, bucket, signed, received.stamp_ms),))
            case SlipSigned(bucket=bucket, slip=slip):
                posted = SlipPosted(bucket=bucket, slip=slip, answer=str(received.finding))
                return Decision(buckets, (Outgoing(slips, bucket, posted, received.stamp_ms),))
            case _:
                return Decision(buckets)

    def keys(received: Input) -> Iterable[str]:
        return (received.key,) if isinstance(received, Received) else ()

    return Service(
        name=name,
        shape="single_active",
        reads=(drops, slips),
        writes=(slips,),
        dead_letters=dead_letters_topic(name, 1),
        decide=decide,
        store=SlipStore(),
        keys=keys,
        observe=observe,
    )


if __name__ == "__main__":
    sys.exit(run_service(lambda: build(os.environ["TALLY_NAME"])))
