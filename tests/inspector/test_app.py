"""The inspector on real Kafka and PostgreSQL: a result in, an answer to each output out, in the result's partition."""

from __future__ import annotations

from pathlib import Path

from conftest import OwnStack
from inspector.test_observe import observer, stored
from metering.samples import RENDITIONS, claim, output, signed, story
from metering.topics import Writers
from millpond.blobs import BlobStore
from millpond.events.topics import INSPECTOR_OBSERVATIONS
from millpond.stream.plan import decode
from millpond_inspector.app import inspector
from millpond_inspector.sandbox import Sandbox
from stream.disasters import run_until_caught_up
from stream.topics_made import create_topics, read_all


async def test_every_output_is_answered_where_its_result_stands(
    own_stack: OwnStack, tmp_path: Path, videos: dict[str, bytes]
) -> None:
    stack = own_stack("kafka", "postgres")
    bootstrap, database = stack.kafka.bootstrap_servers, stack.postgres.dsn()
    store = BlobStore.at(str(tmp_path / "blobs"))
    good, bad = await stored(store, videos["odd size"]), await stored(store, b"no video")
    with Sandbox() as sandbox:
        service = inspector(observer(store, sandbox))
        await create_topics(bootstrap, service)
        async with Writers(bootstrap) as writers:
            for number in range(6):
                job = story(f"job-{number}").job
                outputs = [output(job, each, blob=blob) for each, blob in zip(RENDITIONS, (good, bad), strict=True)]
                await writers.put(job, signed(claim(job, outputs=outputs, sequence=number + 1).model_dump_json()))
            await writers.put(story("gone").job, signed(claim(story("gone").job, sequence=9).model_dump_json()))
        await run_until_caught_up(bootstrap, database, service)
        records = await read_all(bootstrap, INSPECTOR_OBSERVATIONS)
    results = {each.key: each for each in writers.written}
    for record in records:
        arrived = decode(INSPECTOR_OBSERVATIONS, record)
        result = results[(record.key or b"").decode()]
        assert record.partition == result.place.partition
        assert arrived.event.result == result.event.payload_hash  # type: ignore[union-attr]
    kinds = [record.header("ce_type") for record in records]
    assert kinds.count(b"OutputObserved") == 6
    assert kinds.count(b"OutputUnreadable") == 6
    assert kinds.count(b"OutputUnavailable") == 2
