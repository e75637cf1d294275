"""The rules' state in PostgreSQL: what waits, what is closed, and which watermarks are said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final

import asyncpg

from millpond.events.rewards_epochs import EpochClosing
from millpond.events.topics import SCHEDULER_ASSIGNMENTS
from millpond.stream import Place
from millpond.stream.postgres.rows import insert_rows
from millpond_metering.rules import Epoch, Job, Part, Progress, State
from millpond_metering.rules.parts import KEPT
from millpond_metering.rules.state import EPOCH_KEY, epoch_of
from millpond_metering.rules.watermarks import JOINED

_WAITING: Final = {
    "job": "text",
    "name": "text",
    "kind": "text",
    "topic": "text",
    "partition": "int",
    "record_offset": "bigint",
    "stamp_ms": "bigint",
    "value": "bytea",
}
_WATERMARKS: Final = {"epoch": "bigint", "partition": "int", "copy": "int"}


class MeteringStore:
    """A job's rows are written as its parts come, and go when its line is written: what waits is all there is."""

    schema = (files("millpond_metering") / "schema.sql").read_text()

    async def load(self, connection: asyncpg.Connection, keys: Sequence[str] | None) -> State:
        assert keys is not None, "metering is grouped: it loads what a batch is about"
        jobs = [key for key in keys if not key.startswith(EPOCH_KEY)]
        epochs = [epoch_of(key) for key in keys if key.startswith(EPOCH_KEY)]
        return State(
            await _jobs(connection, jobs) if jobs else {},
            await _epochs(connection, epochs) if epochs else {},
        )

    async def save(self, connection: asyncpg.Connection, before: State, after: State) -> None:
        changed = {job: known for job, known in after.jobs.items() if known is not before.jobs.get(job)}
        if changed:
            await _save_jobs(connection, before.jobs, changed)
        for epoch, known in after.epochs.items():
            if known is not before.epochs.get(epoch):
                await _save_epoch(connection, epoch, before.epochs.get(epoch, Epoch()), known)


async def _jobs(connection: asyncpg.Connection, jobs: Sequence[str]) -> dict[str, Job]:
    found: dict[str, Job] = {}
    parts: defaultdict[str, dict[str, Part]] = defaultdict(dict)
    # One statement, one snapshot: closed jobs have no kind.
    rows = await connection.fetch(
        """
        SELECT job, name, kind, topic, partition, record_offset, stamp_ms, value, NULL::int AS attempt
        FROM waiting WHERE job = ANY($1)
        UNION ALL SELECT job, '', '', '', 0, 0, 0, '', attempt FROM closed_jobs WHERE job = ANY($1)
        """,
        jobs,
    )
    for job, name, kind, topic, partition, offset, stamp_ms, value, attempt in rows:
        if kind:
            parts[job][name] = Part(kind, Place(topic, partition), offset, stamp_ms, value)
        else:
            found[job] = Job(is_closed=True, attempt=attempt)
    return found | {job: Job(known) for job, known in parts.items()}


async def _save_jobs(connection: asyncpg.Connection, before: Mapping[str, Job], changed: Mapping[str, Job]) -> None:
    new = [
        (job, name, part.kind, *part.place, part.offset, part.stamp_ms, part.value)
        for job, known in changed.items()
        for name, part in known.parts.items()
        if job not in before or name not in before[job].parts
    ]
    closed = {job: known.attempt for job, known in changed.items() if known.is_closed}
    await insert_rows(connection, "waiting", _WAITING, new)
    if closed:
        await connection.execute(
            """
            WITH gone AS (DELETE FROM waiting WHERE job = ANY($1))
            INSERT INTO closed_jobs SELECT * FROM unnest($1::text[], $2::int[])
            """,
            list(closed),
            list(closed.values()),
        )


async def _epochs(connection: asyncpg.Connection, epochs: Sequence[int]) -> dict[int, Epoch]:
    closings = {
        row["epoch"]: EpochClosing.model_validate_json(row["value"])
        for row in await connection.fetch("SELECT * FROM closings WHERE epoch = ANY($1)", epochs)
    }
    written: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
    for epoch, partition, copy in await connection.fetch("SELECT * FROM watermarks WHERE epoch = ANY($1)", epochs):
        written[epoch].add((partition, copy))
    progress = await _progress(connection)
    return {epoch: Epoch(closings.get(epoch), frozenset(written[epoch]), progress) for epoch in epochs}


async def _progress(connection: asyncpg.Connection) -> dict[int, Progress]:
    """Positions first: whatever is below them has left its mark in ``waiting`` by the time that is read.

    The library's own table, since it alone knows of records that no rule gets to see: repeats, fillers, skipped poison.
    """
    read: defaultdict[int, dict[str, int]] = defaultdict(dict)
    positions = "SELECT topic, partition, next_offset FROM positions WHERE topic = ANY($1)"
    for topic, partition, next_offset in await connection.fetch(positions, JOINED):
        read[partition][topic] = next_offset
    # A readmitted record has another place, beyond comparison: it holds back whatever closes meanwhile.
    undecided = await connection.fetch(
        """
        SELECT partition, min(CASE WHEN topic = $2 THEN record_offset ELSE 0 END) FROM waiting
        WHERE name = $1 GROUP BY partition
        """,
        KEPT,
        SCHEDULER_ASSIGNMENTS.name,
    )
    first = dict(map(tuple, undecided))
    return {partition: Progress(offsets, first.get(partition)) for partition, offsets in read.items()}


async def _save_epoch(connection: asyncpg.Connection, epoch: int, before: Epoch, after: Epoch) -> None:
    if after.closing is not None and before.closing is None:
        await connection.execute("INSERT INTO closings VALUES ($1, $2)", epoch, after.closing.to_bytes())
    new = [(epoch, partition, copy) for partition, copy in sorted(after.written - before.written)]
    await insert_rows(connection, "watermarks", _WATERMARKS, new)
