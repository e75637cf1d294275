"""Every output gets its answer; what fails on the pool's own side is no answer."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from metering.samples import OTHER_DEVICE, RENDITIONS, Topics, claim, output, signed, story
from millpond.blobs import BlobStore, BlobStoreFailed
from millpond.events.agent_claims import JobSucceeded
from millpond.events.event import Event
from millpond.events.inspector_observations import OutputObserved, OutputUnavailable, OutputUnreadable
from millpond.stream.decision import Received
from millpond.workloads.blob import Blob
from millpond_inspector import observe as observe_module
from millpond_inspector.observe import Observer
from millpond_inspector.rules import decide, is_drawn
from millpond_inspector.sandbox import NotReadable, Sandbox, SandboxFailed, Seen


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore.at(str(tmp_path / "blobs"))


def observer(store: BlobStore, sandbox: Sandbox, *, decode_ppm: int = 0) -> Observer:
    return Observer(store, sandbox, examinations_max=2, decode_ppm=decode_ppm)


async def stored(store: BlobStore, content: bytes) -> Blob:
    blob = Blob(hash="0x" + hashlib.sha256(content).hexdigest(), size_bytes=len(content))

    async def chunks() -> AsyncIterator[bytes]:
        yield content

    await store.put(blob.hash, chunks(), size_bytes_max=len(content))
    return blob


def result_of(*blobs: Blob, **signing: Any) -> JobSucceeded:
    job = story().job
    outputs = [output(job, each, blob=blob) for each, blob in zip(RENDITIONS, blobs, strict=False)]
    return signed(claim(job, outputs=outputs).model_dump_json(), **signing)


def received(event: Event) -> Received:
    return Topics().put(event, story().job)


async def answers(of: Observer, event: Event) -> list[Any]:
    arrived = received(event)
    found = arrived._replace(finding=await of.observe(arrived))
    outgoing = decide(None, found).events
    assert {out.key for out in outgoing} <= {arrived.key}
    assert {out.time_ms for out in outgoing} <= {arrived.stamp_ms}
    return [out.event for out in outgoing]


async def test_each_output_is_answered_in_its_order(
    store: BlobStore, sandbox: Sandbox, videos: dict[str, bytes]
) -> None:
    blobs = await stored(store, videos["odd size"]), await stored(store, b"no video")
    result = result_of(*blobs)
    seen, unreadable = await answers(observer(store, sandbox), result)
    assert isinstance(seen, OutputObserved)
    assert (seen.job, seen.attempt, seen.result) == (story().job, 1, result.payload_hash)
    assert (seen.rendition, seen.blob, seen.size_bytes) == ("240p", blobs[0], len(videos["odd size"]))
    assert (seen.width, seen.height, seen.frames, seen.pixels) == (426, 240, 25, 426 * 240 * 25)
    assert seen.decoder.startswith("PyAV ")
    assert isinstance(unreadable, OutputUnreadable)
    assert (unreadable.rendition, unreadable.blob, unreadable.reason) == ("360p", blobs[1], "unknown-format")


async def test_what_the_store_does_not_have_is_unavailable(store: BlobStore, sandbox: Sandbox) -> None:
    missing = Blob(hash="0x" + "ab" * 32, size_bytes=3)
    (answer,) = await answers(observer(store, sandbox), result_of(missing))
    assert isinstance(answer, OutputUnavailable)
    assert answer.reason == "missing"


async def test_other_bytes_under_the_name_are_unavailable(
    store: BlobStore, sandbox: Sandbox, tmp_path: Path, videos: dict[str, bytes]
) -> None:
    blob = await stored(store, videos["odd size"])
    (path,) = [each for each in (tmp_path / "blobs").rglob("*") if each.is_file()]
    path.write_bytes(videos["odd size"] + b"more")
    (answer,) = await answers(observer(store, sandbox), result_of(blob))
    assert isinstance(answer, OutputUnavailable)
    assert answer.reason == "other-bytes"


async def test_what_is_too_large_is_not_read_to_its_end(
    store: BlobStore, sandbox: Sandbox, videos: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = await stored(store, videos["odd size"])
    monkeypatch.setattr(observe_module, "BLOB_BYTES_MAX", 1_000)
    (answer,) = await answers(observer(store, sandbox), result_of(blob))
    assert isinstance(answer, OutputUnavailable)
    assert answer.reason == "too-large"


async def test_a_forged_copy_of_a_claim_gets_the_same_answer_as_the_claim(
    store: BlobStore, sandbox: Sandbox, videos: dict[str, bytes]
) -> None:
    blob = await stored(store, videos["odd size"])
    mine, forged = result_of(blob), result_of(blob, device=OTHER_DEVICE, by=None, pool="another")
    both = observer(store, sandbox)
    assert await answers(both, mine) == await answers(both, forged)


@pytest.mark.parametrize("payload", ["", "{}", '{"outputs": []}', "\x00"])
async def test_a_text_that_claims_no_outputs_has_no_answer(store: BlobStore, sandbox: Sandbox, payload: str) -> None:
    assert await answers(observer(store, sandbox), signed(payload)) == []


async def test_other_events_have_no_answer(store: BlobStore, sandbox: Sandbox) -> None:
    assert await answers(observer(store, sandbox), story().accepted) == []


async def test_a_drawn_result_is_decoded(store: BlobStore, sandbox: Sandbox, videos: dict[str, bytes]) -> None:
    blob = await stored(store, videos["odd size"])
    (drawn,) = await answers(observer(store, sandbox, decode_ppm=1_000_000), result_of(blob))
    assert drawn.decoded_frames == 25


def test_the_draw_hangs_on_the_result_alone() -> None:
    hashes = ["0x" + hashlib.sha256(str(number).encode()).hexdigest() for number in range(4_000)]
    drawn = [each for each in hashes if is_drawn(each, parts_per_million=100_000)]
    assert 300 < len(drawn) < 500
    assert [each for each in hashes if is_drawn(each, parts_per_million=100_000)] == drawn
    assert not any(is_drawn(each, parts_per_million=0) for each in hashes)
    assert all(is_drawn(each, parts_per_million=1_000_000) for each in hashes)


async def test_a_store_that_is_away_is_no_answer(
    store: BlobStore, sandbox: Sandbox, tmp_path: Path, videos: dict[str, bytes]
) -> None:
    blob = await stored(store, videos["odd size"])
    (path,) = [each for each in (tmp_path / "blobs").rglob("*") if each.is_file()]
    path.unlink()
    # A link to itself: something is there, and the disk can't say what.
    path.symlink_to(path)
    with pytest.raises(BlobStoreFailed):
        await observer(store, sandbox).observe(received(result_of(blob)))


class Failing(Sandbox):
    """Fails as often as it is told, and then answers."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    async def examine(self, blob: Any, *, decode: bool) -> Seen | NotReadable:
        self.times -= 1
        if self.times >= 0:
            raise SandboxFailed(problem="it has died")
        return NotReadable(reason="broken", sentence="It is broken.")


async def test_a_sandbox_that_fails_once_is_asked_again_and_then_no_answer_is_given(store: BlobStore) -> None:
    result = result_of(await stored(store, b"anything"))
    (answer,) = await answers(observer(store, Failing(1)), result)
    assert isinstance(answer, OutputUnreadable)
    with pytest.raises(SandboxFailed):
        await answers(observer(store, Failing(2)), result)
