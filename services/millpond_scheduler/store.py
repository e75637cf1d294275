"""The board on PostgreSQL: read whole on taking over; after that only what has changed is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import asyncpg

from millpond.events.gateway_jobs import JobRequested
from millpond.events.topic import Topic
from millpond.stream.postgres.rows import insert_rows
from millpond.terms.terms import Terms, canonical
from millpond.workloads.transcode import TranscodeSpec
from millpond_scheduler.rules import Board
from millpond_scheduler.rules.board import Changes, Counts
from millpond_scheduler.rules.facts import Asked, Attempt, Device, Gpu, Job, Offer, Standing, Tried

# take_out: all that has changed, of all tables at once; what is still there is put in anew. The counts go along.
TAKE_OUT: Final = """
    WITH jobs AS (DELETE FROM jobs WHERE job = ANY($1)),
        attempts AS (DELETE FROM attempts WHERE job = ANY($2)),
        asked AS (DELETE FROM asked WHERE job = ANY($3)),
        gpus AS (DELETE FROM gpus WHERE gpu = ANY($4)),
        standings AS (DELETE FROM standings WHERE gpu = ANY($5)),
        devices AS (DELETE FROM devices WHERE device = ANY($6)),
        gateways AS (DELETE FROM gateways WHERE gateway = ANY($7)),
        barred AS (DELETE FROM barred WHERE contributor = ANY($8)),
        offers AS (DELETE FROM offers WHERE terms_hash = ANY($9))
    INSERT INTO counts (accepted, assigned, ticked_ms, epoch, paused_ms) VALUES ($10, $11, $12, $13, $14)
    ON CONFLICT (only_row) DO UPDATE SET accepted = excluded.accepted, assigned = excluded.assigned,
        ticked_ms = excluded.ticked_ms, epoch = excluded.epoch, paused_ms = excluded.paused_ms
"""

# The library's own table in the same schema: how far each input has been read is stored once, there.
GET_POSITIONS: Final = "SELECT topic, partition, next_offset FROM positions"

Row = tuple[Any, ...]


COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "jobs": {
        "job": "text",
        "partition": "int",
        "gateway": "text",
        "spec": "text",
        "terms_hash": "text",
        "deadline_ms": "bigint",
        "accepted_order": "bigint",
        "tried": "text",
    },
    "attempts": {
        "job": "text",
        "number": "int",
        "lease": "text",
        "gpu": "text",
        "device": "text",
        "contributor": "text",
        "assigned_ms": "bigint",
        "lease_ms": "bigint",
        "lease_until_ms": "bigint",
        "gone": "boolean",
        "forgiven": "boolean",
    },
    "asked": {"job": "text", "request": "text", "partition": "int", "stamp_ms": "bigint"},
    "gpus": {
        "gpu": "text",
        "hardware_id": "text",
        "device": "text",
        "contributor": "text",
        "slots": "int",
        "workloads": "text[]",
        "online": "boolean",
    },
    "standings": {"gpu": "text", "last_assigned": "bigint", "failures": "int", "rests_until_ms": "bigint"},
    "devices": {"device": "text", "contributor": "text", "delegation": "text", "expires_ms": "bigint"},
    "gateways": {"gateway": "text", "admitted": "boolean"},
    "barred": {"contributor": "text"},
    "offers": {"terms_hash": "text", "version": "bigint", "effective_from_epoch": "bigint", "document": "text"},
}


class BoardStore:
    """See ``millpond.stream.service.StateStore``. ``reads``: whose positions the board knows."""

    def __init__(self, reads: Sequence[Topic]) -> None:
        self._reads = reads

    @property
    def schema(self) -> str:
        return files("millpond_scheduler").joinpath("schema.sql").read_text()

    async def load(self, connection: asyncpg.Connection, keys: Sequence[str] | None) -> Board:
        board = Board()
        for row in await connection.fetch("SELECT * FROM jobs"):
            board.jobs[row["job"]] = _job(row)
        for row in await connection.fetch("SELECT * FROM attempts"):
            board.attempts[row["job"]] = Attempt(*row)
        for row in await connection.fetch("SELECT * FROM asked"):
            request = JobRequested.model_validate_json(row["request"])
            board.asked[row["job"]] = Asked(request, row["partition"], row["stamp_ms"])
        for gpu, hardware_id, device, contributor, slots, workloads, online in await connection.fetch(
            "SELECT * FROM gpus"
        ):
            board.gpus[gpu] = Gpu(gpu, hardware_id, device, contributor, slots, tuple(workloads), online)
        for gpu, *standing in await connection.fetch("SELECT * FROM standings"):
            board.standings[gpu] = Standing(*standing)
        for device, *facts in await connection.fetch("SELECT * FROM devices"):
            board.devices[device] = Device(*facts)
        board.gateways = dict(map(tuple, await connection.fetch("SELECT gateway, admitted FROM gateways")))
        board.barred = {row["contributor"] for row in await connection.fetch("SELECT contributor FROM barred")}
        for hash_, version, epoch, document in await connection.fetch("SELECT * FROM offers"):
            board.offers[hash_] = Offer(version, epoch, hash_, Terms.model_validate_json(document))
        counts = await connection.fetchrow("SELECT accepted, assigned, ticked_ms, epoch, paused_ms FROM counts")
        board.counts = Counts() if counts is None else Counts(*counts)
        board.read = await self._positions(connection)
        board.index()
        return board

    async def save(self, connection: asyncpg.Connection, before: Board, after: Board) -> None:
        changes, after.changes = after.changes, Changes()
        tables, counts = _tables(after, changes), after.counts
        if not changes.counts and not any(ids for ids, _ in tables.values()):
            return
        ids = [list(ids) for ids, _ in tables.values()]
        await connection.execute(
            TAKE_OUT, *ids, counts.accepted, counts.assigned, counts.ticked_ms, counts.epoch, counts.paused_ms
        )
        for table, (changed, rows_of) in tables.items():
            await insert_rows(connection, table, COLUMNS[table], list(rows_of(sorted(changed))))

    async def _positions(self, connection: asyncpg.Connection) -> dict[str, list[int]]:
        read = {topic.name: [0] * topic.partitions for topic in self._reads}
        for topic, partition, next_offset in await connection.fetch(GET_POSITIONS):
            if topic in read:
                read[topic][partition] = next_offset
        return read


def _job(row: asyncpg.Record) -> Job:
    return Job(
        row["job"],
        row["partition"],
        row["gateway"],
        TranscodeSpec.model_validate_json(row["spec"]),
        row["terms_hash"],
        row["deadline_ms"],
        row["accepted_order"],
        tuple(Tried(*each) for each in json.loads(row["tried"])),
    )


def _tables(board: Board, changes: Changes) -> Mapping[str, tuple[set[str], Callable[[Iterable[str]], Iterable[Row]]]]:
    """Of each table in the order of ``TAKE_OUT``: what has changed, and the rows of those that are still there."""

    def jobs(ids: Iterable[str]) -> Iterable[Row]:
        for job in (board.jobs[id_] for id_ in ids if id_ in board.jobs):
            tried = json.dumps([[each.gpu, each.contributor, each.reason] for each in job.tried])
            spec = job.spec.model_dump_json()
            yield job.id, job.partition, job.gateway, spec, job.terms_hash, job.deadline_ms, job.order, tried

    def attempts(ids: Iterable[str]) -> Iterable[Row]:
        for a in (board.attempts[id_] for id_ in ids if id_ in board.attempts):
            times = a.assigned_ms, a.lease_ms, a.lease_until_ms
            yield a.job, a.number, a.lease, a.gpu, a.device, a.contributor, *times, a.gone, a.forgiven

    def asked(ids: Iterable[str]) -> Iterable[Row]:
        for each in (board.asked[id_] for id_ in ids if id_ in board.asked):
            yield each.request.job, each.request.model_dump_json(), each.partition, each.stamp_ms

    def gpus(ids: Iterable[str]) -> Iterable[Row]:
        for g in (board.gpus[id_] for id_ in ids if id_ in board.gpus):
            yield g.id, g.hardware_id, g.device, g.contributor, g.slots, list(g.workloads), g.online

    def standings(ids: Iterable[str]) -> Iterable[Row]:
        for id_, s in ((id_, board.standings[id_]) for id_ in ids if id_ in board.standings):
            yield id_, s.last_assigned, s.failures, s.rests_until_ms

    def devices(ids: Iterable[str]) -> Iterable[Row]:
        for id_, d in ((id_, board.devices[id_]) for id_ in ids if id_ in board.devices):
            yield id_, d.contributor, d.delegation, d.expires_ms

    def offers(ids: Iterable[str]) -> Iterable[Row]:
        for o in (board.offers[id_] for id_ in ids):
            yield o.hash, o.version, o.effective_from_epoch, canonical(o.terms)

    return {
        "jobs": (changes.jobs, jobs),
        "attempts": (changes.attempts, attempts),
        "asked": (changes.asked, asked),
        "gpus": (changes.gpus, gpus),
        "standings": (changes.standings, standings),
        "devices": (changes.devices, devices),
        "gateways": (changes.gateways, lambda ids: ((id_, board.gateways[id_]) for id_ in ids)),
        "barred": (changes.barred, lambda ids: ((id_,) for id_ in ids if id_ in board.barred)),
        "offers": (changes.offers, offers),
    }
