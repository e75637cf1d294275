"""Wiring of the inspector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import asyncpg

from millpond.blobs import BlobStore
from millpond.events.topics import AGENT_RESULTS, INSPECTOR_OBSERVATIONS, deadletters
from millpond.settings import BlobSettings, load
from millpond.stream import Received, Service
from millpond.stream.decision import Input
from millpond_inspector.observe import Observer
from millpond_inspector.rules import decide, fold
from millpond_inspector.sandbox import Sandbox
from millpond_inspector.settings import InspectorSettings


class NoState:
    """The rules remember nothing; how far they have read is the library's."""

    schema = ""

    async def load(self, connection: asyncpg.Connection, keys: Sequence[str] | None) -> None:
        return None

    async def save(self, connection: asyncpg.Connection, before: None, after: None) -> None:
        return None


def no_keys(_received: Input) -> Iterable[str]:
    return ()


def build() -> Service[None]:
    """Raises ``SettingsInvalid`` and ``BlobStoreFailed``."""
    settings = load(InspectorSettings)
    observer = Observer(
        BlobStore.at(load(BlobSettings).url),
        Sandbox(),
        examinations_max=settings.examinations_max,
        decode_ppm=settings.decode_ppm,
    )
    return inspector(observer)


def inspector(observer: Observer) -> Service[None]:
    async def observe(received: Received) -> object:
        return await observer.observe(received)

    return Service(
        name="inspector",
        shape="grouped",
        reads=(AGENT_RESULTS,),
        writes=(INSPECTOR_OBSERVATIONS,),
        dead_letters=deadletters("inspector"),
        decide=decide,
        store=NoState(),
        keys=no_keys,
        observe=observe,
        fold=fold,
    )
