"""The README's service is short, and it runs."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import types
from pathlib import Path

import millpond.stream
from millpond.events.topics import OPERATOR_COMMANDS
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.source import Observed, Source
from millpond.telemetry.metrics import Metrics
from stream.topics_made import FIRST_STAMP_MS, applied_once, make_topics, read_all
from stream.workers import TESTS, Workers, wait_until

FOLDER = TESTS.parent / "libs" / "millpond" / "stream"
README = (FOLDER / "README.md").read_text()
LINES_MAX = 40
WITHIN_S = 120.0

PUBLIC = {
    *(
        "Cursor",
        "CursorUnreadable",
        "Follow",
        "FollowEnded",
        "FollowState",
        "FollowStopped",
        "FollowStore",
        "NotFollowed",
    ),
    *("Decision", "Input", "Outgoing", "Place", "Received", "Tick", "Timer"),
    *("HostSettings", "KafkaFeed", "KafkaPublisher", "Service", "StateStore", "run_service"),
    *("NotAcknowledged", "NotObservable", "Observed", "Source"),
}


def example() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    return code


def test_the_public_face_is_this() -> None:
    assert set(millpond.stream.__all__) == PUBLIC
    assert len(millpond.stream.__all__) == len(PUBLIC)
    for name in PUBLIC:
        found = getattr(millpond.stream, name)
        assert found.__doc__ or callable(found), name


def test_what_is_not_public_is_not_there() -> None:
    assert not hasattr(millpond.stream, "no_such_thing")


def test_rules_bring_no_client_and_no_loop_with_them() -> None:
    heavy = {"aiokafka", "asyncpg", "faststream", "structlog", "prometheus_client", "uvicorn"}
    program = "import sys, millpond.stream.decision; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert not heavy & set(loaded.stdout.split())


def test_every_file_stands_in_the_readme_and_every_file_of_it_exists() -> None:
    named = set(re.findall(r"`(\w+(?:\.py|\.md|/))`", README))
    here = {path.name + "/" * path.is_dir() for path in FOLDER.iterdir() if path.suffix in ("", ".py", ".md")}
    here -= {"__init__.py", "README.md", "__pycache__/"}
    # Small files that say all in their name.
    assert here - named <= {"backoff.py", "feed.py"}
    assert named - here <= {"rules.py"}


def test_the_example_is_short() -> None:
    lines = [line for line in example().splitlines() if line.strip()]
    assert len(lines) < LINES_MAX


async def test_the_example_runs(kafka_bootstrap: str, workers: Workers, tmp_path: Path) -> None:
    (tmp_path / "pond.py").write_text(example())
    pond = types.ModuleType("pond")
    exec(compile(example(), "pond.py", "exec"), pond.__dict__)
    await make_topics(kafka_bootstrap, (pond.DROPS, pond.FLOODS, pond.LETTERS, OPERATOR_COMMANDS))
    metrics = Metrics(service="rain")
    connection = {"bootstrap_servers": kafka_bootstrap}
    async with Source("rain", lambda: KafkaPublisher.open(connection), metrics) as source:
        drops = [
            Observed(pond.DROPS, f"b{n % 2}", pond.Drop(bucket=f"b{n % 2}"), f"drop-{n}", FIRST_STAMP_MS + n)
            for n in range(14)
        ]
        await source.publish(drops)
        await source.publish(drops[:5])
    worker = workers.start("pond", program="pond", PYTHONPATH=str(tmp_path))

    async def flooded() -> bool:
        return len(await read_all(kafka_bootstrap, pond.FLOODS)) >= 4

    await wait_until(flooded, WITHIN_S)
    await asyncio.to_thread(worker.terminate)
    applied = applied_once(await read_all(kafka_bootstrap, pond.FLOODS))
    floods = [
        pond.Overflowed.model_validate_json(record.value or b"") for records in applied.values() for record in records
    ]
    assert sorted((flood.bucket, flood.drops) for flood in floods) == [("b0", 3), ("b0", 6), ("b1", 3), ("b1", 6)]
