"""Where the registry's state lies: loaded whole by who takes over, written as far as it has changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from importlib.resources import files
from typing import Any, Final

import asyncpg

from millpond.events.device_claims import Gpu
from millpond.terms.terms import Terms
from millpond_registry.rules.gpus import capacity_of
from millpond_registry.rules.state import (
    Capacity,
    Card,
    Contributor,
    Delegation,
    Device,
    Flow,
    Gateway,
    Published,
    Pulse,
    Standing,
    State,
)
from millpond_registry.rules.table import Table

SCHEMA: Final = files("millpond_registry").joinpath("schema.sql")


class RegistryStore:
    """One row for each contributor, device, pulse, device's GPUs, gateway."""

    @property
    def schema(self) -> str:
        return SCHEMA.read_text()

    async def load(self, connection: asyncpg.Connection, keys: Sequence[str] | None) -> State:
        assert keys is None, "one active process: all or nothing"

        async def rows(table: str) -> list[asyncpg.Record]:
            return list(await connection.fetch(f"SELECT * FROM {table}"))  # noqa: S608 - names of this file

        running = next(iter(await rows("running")), None)
        state = State(
            terms=tuple(map(_published, await connection.fetch("SELECT * FROM terms ORDER BY version"))),
            contributors=Table.of((row["address"], _contributor(row)) for row in await rows("contributors")),
            devices=Table.of((row["device"], _device(row)) for row in await rows("devices")),
            pulses=Table.of((row["device"], _pulse(row)) for row in await rows("pulses")),
            cards=Table.of((row["device"], _cards(row)) for row in await rows("cards")),
            gateways=Table.of((row["gateway"], _gateway(row)) for row in await rows("gateways")),
            nonces=Table.of((row["signer_and_subject"], int(row["nonce"])) for row in await rows("nonces")),
            advertised={row["capability"]: Capacity(row["gpus"], row["slots"]) for row in await rows("advertised")},
        )
        if running is not None:
            flow = Flow(running["excused_ms"], running["paused_ms"], running["judged_ms"], running["ticking"])
            state = replace(state, epoch=running["epoch"], flow=flow)
        return replace(state, capacity=capacity_of(state))

    async def save(self, connection: asyncpg.Connection, before: State, after: State) -> None:
        if pulses := after.pulses.changed_since(before.pulses):
            await _save_pulses(connection, pulses)
        for version in after.terms[len(before.terms) :]:
            await connection.execute(
                "INSERT INTO terms VALUES ($1, $2, $3)", version.terms.version, version.document, version.stamp_ms
            )
        if contributors := after.contributors.changed_since(before.contributors):
            await connection.executemany(
                """
                INSERT INTO contributors VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (address) DO UPDATE SET
                    state = excluded.state, suspended = excluded.suspended, devices = excluded.devices,
                    pending = excluded.pending, revoked = excluded.revoked, since_ms = excluded.since_ms,
                    nonce = excluded.nonce, left_nonce = excluded.left_nonce
                """,
                [_contributor_row(each) for _, each in contributors],
            )
        if devices := after.devices.changed_since(before.devices):
            await connection.executemany(
                """
                INSERT INTO devices VALUES ($1, $2, $3, $4) ON CONFLICT (device) DO UPDATE SET
                    contributor = excluded.contributor, delegation = excluded.delegation, removed = excluded.removed
                """,
                [(name, each.contributor, json.dumps(_plain(each.delegation)), each.removed) for name, each in devices],
            )
        if cards := after.cards.changed_since(before.cards):
            await connection.executemany(
                "INSERT INTO cards VALUES ($1, $2) ON CONFLICT (device) DO UPDATE SET cards = excluded.cards",
                [(name, json.dumps([_card_row(card) for card in each])) for name, each in cards],
            )
        await _save_orders(connection, before, after)


async def _save_pulses(connection: asyncpg.Connection, pulses: Sequence[tuple[str, Pulse]]) -> None:
    # Thousands in a second: one statement for all of them. Sessions change rarely, so they travel as JSON.
    await connection.execute(
        """
        INSERT INTO pulses
        SELECT device, state, seen_ms, session, sequence,
            ARRAY(SELECT jsonb_array_elements_text(sessions::jsonb)), running, partition, goodbye
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::int[], $8::int[],
            $9::bool[]) AS p(device, state, seen_ms, session, sequence, sessions, running, partition, goodbye)
        ON CONFLICT (device) DO UPDATE SET state = excluded.state, seen_ms = excluded.seen_ms,
            session = excluded.session, sequence = excluded.sequence, sessions = excluded.sessions,
            running = excluded.running, partition = excluded.partition, goodbye = excluded.goodbye
        """,
        [device for device, _ in pulses],
        [pulse.state for _, pulse in pulses],
        [pulse.seen_ms for _, pulse in pulses],
        [pulse.session for _, pulse in pulses],
        [pulse.sequence for _, pulse in pulses],
        [json.dumps(pulse.sessions) for _, pulse in pulses],
        [pulse.running for _, pulse in pulses],
        [pulse.partition for _, pulse in pulses],
        [pulse.goodbye for _, pulse in pulses],
    )


async def _save_orders(connection: asyncpg.Connection, before: State, after: State) -> None:
    """What changes rarely: gateways, nonces, what was advertised, the running epoch."""
    if gateways := after.gateways.changed_since(before.gateways):
        await connection.executemany(
            """
            INSERT INTO gateways VALUES ($1, $2, $3, $4) ON CONFLICT (gateway) DO UPDATE SET
                key_hash = excluded.key_hash, expires_at = excluded.expires_at, suspended = excluded.suspended
            """,
            [(name, each.key_hash, each.expires_at, each.suspended) for name, each in gateways],
        )
    if nonces := after.nonces.changed_since(before.nonces):
        await connection.executemany(
            "INSERT INTO nonces VALUES ($1, $2) ON CONFLICT (signer_and_subject) DO UPDATE SET nonce = excluded.nonce",
            nonces,
        )
    if after.advertised != before.advertised:
        await connection.executemany(
            """
            INSERT INTO advertised VALUES ($1, $2, $3) ON CONFLICT (capability) DO UPDATE SET
                gpus = excluded.gpus, slots = excluded.slots
            """,
            [(capability, *capacity) for capability, capacity in after.advertised.items()],
        )
    if (after.epoch, after.flow) != (before.epoch, before.flow):
        flow = after.flow
        await connection.execute(
            """
            INSERT INTO running (epoch, excused_ms, paused_ms, judged_ms, ticking) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (only_row) DO UPDATE SET epoch = excluded.epoch, excused_ms = excluded.excused_ms,
                paused_ms = excluded.paused_ms, judged_ms = excluded.judged_ms, ticking = excluded.ticking
            """,
            after.epoch,
            flow.excused_ms,
            flow.paused_ms,
            flow.judged_ms,
            flow.ticking,
        )


def _published(row: asyncpg.Record) -> Published:
    return Published(Terms.model_validate_json(row["document"]), row["document"], row["stamp_ms"])


def _plain(delegation: Delegation) -> dict[str, Any]:
    return asdict(delegation) | {"expires_at": delegation.expires_at.isoformat()}


def _delegation(plain: dict[str, Any]) -> Delegation:
    return Delegation(**plain | {"expires_at": datetime.fromisoformat(plain["expires_at"])})


def _contributor_row(each: Contributor) -> tuple[object, ...]:
    pending = json.dumps([_plain(delegation) for delegation in each.pending])
    return (
        each.address,
        each.state,
        each.suspended,
        list(each.devices),
        pending,
        sorted(each.revoked),
        each.since_ms,
        each.nonce,
        each.left_nonce,
    )


def _contributor(row: asyncpg.Record) -> Contributor:
    return Contributor(
        address=row["address"],
        state=row["state"],
        suspended=row["suspended"],
        devices=tuple(row["devices"]),
        pending=tuple(map(_delegation, json.loads(row["pending"]))),
        revoked=frozenset(row["revoked"]),
        since_ms=row["since_ms"],
        nonce=int(row["nonce"]),
        left_nonce=int(row["left_nonce"]),
    )


def _device(row: asyncpg.Record) -> Device:
    return Device(row["contributor"], _delegation(json.loads(row["delegation"])), row["removed"])


def _pulse(row: asyncpg.Record) -> Pulse:
    return Pulse(
        state=row["state"],
        seen_ms=row["seen_ms"],
        session=row["session"],
        sequence=row["sequence"],
        sessions=tuple(row["sessions"]),
        running=row["running"],
        partition=row["partition"],
        goodbye=row["goodbye"],
    )


def _card_row(card: Card) -> dict[str, Any]:
    return {"hardware": card.hardware.model_dump(mode="json"), "standing": card.standing}


def _cards(row: asyncpg.Record) -> tuple[Card, ...]:
    return tuple(
        Card(
            Gpu.model_validate_json(json.dumps(each["hardware"])),
            None if each["standing"] is None else _standing(*each["standing"]),
        )
        for each in json.loads(row["cards"])
    )


def _standing(state: Any, reason: str, missing: Sequence[str]) -> Standing:
    return Standing(state, reason, tuple(missing))


def _gateway(row: asyncpg.Record) -> Gateway:
    return Gateway(row["key_hash"], row["expires_at"], row["suspended"])
