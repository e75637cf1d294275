"""Fetches each output of a result from the store, and has it looked at in the sandbox."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from typing import BinaryIO

import structlog

from millpond.blobs.errors import BlobMissing, BlobTooLarge, HashDiffers
from millpond.blobs.store import BlobStore
from millpond.events.agent_claims import JobSucceeded
from millpond.events.device_claims import Output
from millpond.stream import Received
from millpond.workloads.blob import BLOB_BYTES_MAX
from millpond_inspector.rules import Counted, Finding, Unavailable, Unreadable, is_drawn, outputs_of
from millpond_inspector.sandbox import NotReadable, Sandbox, SandboxFailed, Seen

log = structlog.get_logger(__name__)


class Observer:
    """``examinations_max`` outputs at once, over all results that are observed side by side: each may fill the disk with
    a whole blob, and a processor.
    """

    def __init__(self, store: BlobStore, sandbox: Sandbox, *, examinations_max: int, decode_ppm: int) -> None:
        self._store = store
        self._sandbox = sandbox
        self._slots = asyncio.Semaphore(examinations_max)
        self._decode_ppm = decode_ppm

    async def observe(self, received: Received) -> tuple[Finding, ...]:
        """A finding for each output, in their order.

        Raises ``BlobStoreFailed`` and ``SandboxFailed``: what fails on our side says nothing about the output, so the
        partition waits and tries again.
        """
        outputs = outputs_of(received)
        if not outputs:
            return ()
        assert isinstance(received.event, JobSucceeded)
        decode = is_drawn(received.event.payload_hash, parts_per_million=self._decode_ppm)
        return tuple(await asyncio.gather(*(self._look(output, decode) for output in outputs)))

    async def _look(self, output: Output, decode: bool) -> Finding:
        # Unlinked as soon as it is open: whatever kills us, nothing is left on the disk.
        async with self._slots:
            with tempfile.TemporaryFile() as file:
                try:
                    size_bytes = await self._fetch(output.blob.hash, file)
                except BlobMissing:
                    return Unavailable("missing", "The pool's store does not have it.")
                except BlobTooLarge:
                    return Unavailable(
                        "too-large", f"It has more than {BLOB_BYTES_MAX:,} bytes, the most that is allowed."
                    )
                except HashDiffers as differs:
                    return Unavailable("other-bytes", f"The pool's store has other bytes: {differs.facts['found']}.")
                return self._found(await self._examined(file, decode), size_bytes)

    async def _fetch(self, hash: str, file: BinaryIO) -> int:
        blob = await self._store.open(hash)
        digest, size_bytes = hashlib.sha256(), 0
        async for chunk in blob.chunks:
            size_bytes += len(chunk)
            if size_bytes > BLOB_BYTES_MAX:
                raise BlobTooLarge(allowed=BLOB_BYTES_MAX)
            digest.update(chunk)
            file.write(chunk)
        found = "0x" + digest.hexdigest()
        if found != hash:
            raise HashDiffers(hash=hash, found=found)
        file.flush()
        return size_bytes

    async def _examined(self, file: BinaryIO, decode: bool) -> Seen | NotReadable:
        try:
            return await self._sandbox.examine(file, decode=decode)
        except SandboxFailed as failure:
            # Perhaps another's examination took the zygote down. Once more; then the partition tries again later.
            log.warning("sandbox_failed", cause=str(failure))
            return await self._sandbox.examine(file, decode=decode)

    def _found(self, seen: Seen | NotReadable, size_bytes: int) -> Finding:
        if isinstance(seen, NotReadable):
            return Unreadable(seen.reason, seen.sentence, self._sandbox.decoder)
        return Counted(
            size_bytes,
            seen.width,
            seen.height,
            seen.frames,
            seen.duration_ms,
            seen.codec,
            seen.decoded_frames,
            self._sandbox.decoder,
        )
