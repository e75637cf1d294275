"""An effect is done by reading one's own published event: nothing leaves that is not on the log, and a crash repeats it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from millpond.events.envelope import CE_TYPE
from millpond.stream.record import Record
from stream.effects import SlipPosted, build, slips_topic
from stream.tally import Drop, drops_topic
from stream.topics_made import FIRST_STAMP_MS, Fall, applied_once, create_topics, new_name, produce, read_all
from stream.workers import Workers, wait_until

DROPS = 20
WITHIN_S = 120.0


async def slips(bootstrap: str, name: str) -> dict[str, list[Record]]:
    """What a reader applies of the service's topic, by type."""
    found: dict[str, list[Record]] = {}
    for record in applied_once(await read_all(bootstrap, slips_topic(name))).get(0, []):
        found.setdefault((record.header(CE_TYPE) or b"").decode(), []).append(record)
    return found


async def test_an_effect_that_a_kill_left_uncommitted_is_repeated_with_the_same_bytes(
    kafka_bootstrap: str, workers: Workers, tmp_path: Path
) -> None:
    name, letterbox = new_name("slips"), tmp_path / "letterbox"
    await create_topics(kafka_bootstrap, build(name))
    falls = [Fall(f"drop-{n}", Drop(bucket=f"b{n % 3}", amount=n), FIRST_STAMP_MS + n) for n in range(DROPS)]
    await produce(kafka_bootstrap, name, falls, drops_topic(name, partitions=1))
    killed_at = "b1/4/10"
    doomed = workers.start(name, program="stream.effects", LETTERBOX=str(letterbox), KILLED_AT=killed_at)
    await wait_until(lambda: not doomed.running, WITHIN_S)
    assert doomed.process.returncode == -9
    assert killed_at.encode() in letterbox.read_bytes()
    successor = workers.start(name, program="stream.effects", LETTERBOX=str(letterbox))

    async def all_posted() -> bool:
        return len((await slips(kafka_bootstrap, name)).get(SlipPosted.type_name, [])) == DROPS

    await wait_until(all_posted, WITHIN_S)
    successor.terminate()

    found = await slips(kafka_bootstrap, name)
    signed = [record.value for record in found["SlipSigned"]]
    posted = Counter(letterbox.read_bytes().splitlines())
    # Nothing left that is not on the log, and all of that did.
    assert set(posted) == set(signed)
    assert len(signed) == DROPS
    again = {slip for slip, times in posted.items() if times > 1}
    assert any(killed_at.encode() in slip for slip in again)
    answers = Counter(SlipPosted.model_validate_json(record.value or b"").slip for record in found["SlipPosted"])
    assert set(answers.values()) == {1}
    assert len(answers) == DROPS
