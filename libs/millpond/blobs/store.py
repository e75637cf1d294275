"""The store of blobs on obstore: a folder, or a bucket."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from millpond.blobs.errors import BlobMissing, BlobStoreFailed, BlobTooLarge, HashDiffers

# A read's piece, in memory once per reader.
CHUNK_BYTES: Final = 262_144
# What a writer may be ahead of the disk.
QUEUE_CHUNKS_MAX: Final = 4
# After a writer that ended early: its thread has a last word with Python, and one that comes while Python ends aborts it.
LAST_WORD_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class OpenBlob:
    """A blob to be read once. ``chunks`` raises ``BlobStoreFailed``."""

    size_bytes: int
    chunks: AsyncIterator[bytes]


class BlobStore:
    """Blobs by ``0x`` and the SHA-256 of their bytes. A name stands for one content for ever, so nothing is ever replaced."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def at(cls, url: str) -> Self:
        """``url``: a folder's path, which is made if it is missing, or a bucket such as ``s3://bucket/prefix``.

        Raises ``BlobStoreFailed``.
        """
        try:
            if "://" in url:
                return cls(from_url(url))
            return cls(LocalStore(prefix=Path(url), mkdir=True))
        except (BaseError, OSError, ValueError) as cause:
            raise BlobStoreFailed(what=f"open {url}", cause=cause) from cause

    async def put(self, hash: str, chunks: AsyncIterable[bytes], *, size_bytes_max: int) -> int:
        """Stores the bytes if their SHA-256 is ``hash``; returns how many they are. All of them are there, or none.

        Raises ``HashDiffers``, ``BlobTooLarge``, ``BlobStoreFailed``, and whatever ``chunks`` raises.
        """
        queue = asyncio.Queue[bytes | None | BaseException](QUEUE_CHUNKS_MAX)
        writing = asyncio.create_task(self._write(hash, _taken(queue)))
        try:
            size_bytes = await _hand_over(hash, chunks, size_bytes_max, queue, writing)
        except BaseException as failure:
            # The writer ends by what it reads, never by being cancelled: obstore would go on reading in a thread of its
            # own, and crash the process when that is about to end.
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(failure)
            await asyncio.wait({writing})
            await asyncio.sleep(LAST_WORD_S)
            if not writing.cancelled():
                writing.exception()
            raise
        await writing
        return size_bytes

    async def open(self, hash: str) -> OpenBlob:
        """Raises ``BlobMissing``, ``BlobStoreFailed``."""
        try:
            found = await obstore.get_async(self._store, _path(hash))
        except FileNotFoundError as cause:
            raise BlobMissing(hash=hash) from cause
        except (BaseError, OSError) as cause:
            raise BlobStoreFailed(what=f"open {hash}", cause=cause) from cause
        return OpenBlob(found.meta["size"], _read(hash, found))

    async def size_bytes(self, hash: str) -> int | None:
        """How large the blob is; None if there is none. Raises ``BlobStoreFailed``."""
        try:
            return int((await obstore.head_async(self._store, _path(hash)))["size"])
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as cause:
            raise BlobStoreFailed(what=f"look at {hash}", cause=cause) from cause

    async def exists(self, hash: str) -> bool:
        """Raises ``BlobStoreFailed``."""
        return await self.size_bytes(hash) is not None

    async def _write(self, hash: str, chunks: AsyncIterator[bytes]) -> None:
        try:
            await obstore.put_async(self._store, _path(hash), chunks)
        except (BaseError, OSError) as cause:
            raise BlobStoreFailed(what=f"store {hash}", cause=cause) from cause


def _path(hash: str) -> str:
    # 256 folders: a million files in one would be slow to list, and to back up.
    digits = hash.removeprefix("0x")
    return f"{digits[:2]}/{digits}"


async def _hand_over(
    hash: str,
    chunks: AsyncIterable[bytes],
    size_bytes_max: int,
    queue: asyncio.Queue[bytes | BaseException | None],
    writing: asyncio.Task[None],
) -> int:
    """Checks while the bytes pass; the last word, None, is only said if all is right."""
    digest, size_bytes = hashlib.sha256(), 0
    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > size_bytes_max:
            raise BlobTooLarge(allowed=size_bytes_max)
        digest.update(chunk)
        if chunk:
            await _put(queue, chunk, writing)
    found = "0x" + digest.hexdigest()
    if found != hash:
        raise HashDiffers(hash=hash, found=found)
    await _put(queue, None, writing)
    return size_bytes


async def _put(
    queue: asyncio.Queue[bytes | BaseException | None], chunk: bytes | None, writing: asyncio.Task[None]
) -> None:
    """Waits for room, but not behind a writer that has failed: raises what it failed with."""
    while queue.full() and not writing.done():
        # Room is made by the writer; a failed one makes none.
        waiting = asyncio.create_task(queue.join())
        await asyncio.wait({waiting, writing}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
    if writing.done():
        writing.result()
    queue.put_nowait(chunk)


async def _taken(queue: asyncio.Queue[bytes | BaseException | None]) -> AsyncIterator[bytes]:
    while True:
        chunk = await queue.get()
        queue.task_done()
        match chunk:
            case None:
                return
            case BaseException():
                raise OSError("the upload has ended early")
            case _:
                yield chunk


async def _read(hash: str, found: obstore.GetResult) -> AsyncIterator[bytes]:
    try:
        async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)
    except (BaseError, OSError) as cause:
        raise BlobStoreFailed(what=f"read {hash}", cause=cause) from cause
