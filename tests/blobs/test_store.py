"""What has a name has that content; what was refused, broken off or cut short has left nothing."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from millpond.blobs import BlobMissing, BlobStore, BlobStoreFailed, BlobTooLarge, HashDiffers

ENOUGH = 100_000_000
# More than the 5 MiB in which obstore writes.
LARGE = bytes(range(256)) * 40_000


def name_of(content: bytes) -> str:
    return "0x" + hashlib.sha256(content).hexdigest()


async def pieces(content: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def read(store: BlobStore, hash: str) -> bytes:
    blob = await store.open(hash)
    content = b"".join([chunk async for chunk in blob.chunks])
    assert len(content) == blob.size_bytes
    return content


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore.at(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"x", LARGE], ids=["empty", "small", "large"])
async def test_what_was_put_is_read_back_also_twice(store: BlobStore, content: bytes) -> None:
    for _ in range(2):
        assert await store.put(name_of(content), pieces(content), size_bytes_max=ENOUGH) == len(content)
        assert await read(store, name_of(content)) == content
        assert await store.size_bytes(name_of(content)) == len(content)


async def test_what_is_not_there_is_missing(store: BlobStore) -> None:
    assert not await store.exists(name_of(b"x"))
    with pytest.raises(BlobMissing):
        await store.open(name_of(b"x"))


async def test_other_bytes_than_the_name_says_leave_nothing(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(HashDiffers, match=name_of(LARGE)):
        await store.put(name_of(b"x"), pieces(LARGE), size_bytes_max=ENOUGH)
    assert files(tmp_path) == []


async def test_one_byte_too_many_leaves_nothing(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(BlobTooLarge):
        await store.put(name_of(LARGE), pieces(LARGE), size_bytes_max=len(LARGE) - 1)
    assert files(tmp_path) == []
    await store.put(name_of(LARGE), pieces(LARGE), size_bytes_max=len(LARGE))


async def test_a_sender_who_breaks_off_leaves_nothing(store: BlobStore, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield LARGE
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.put(name_of(LARGE), broken(), size_bytes_max=ENOUGH)
    assert files(tmp_path) == []


async def test_a_bad_repeat_does_not_touch_what_is_there(store: BlobStore) -> None:
    await store.put(name_of(LARGE), pieces(LARGE), size_bytes_max=ENOUGH)
    with pytest.raises(HashDiffers):
        await store.put(name_of(LARGE), pieces(LARGE[:-1]), size_bytes_max=ENOUGH)
    assert await read(store, name_of(LARGE)) == LARGE


async def test_a_disk_that_takes_nothing_is_an_error_with_its_cause(store: BlobStore, tmp_path: Path) -> None:
    digits = name_of(LARGE)[2:]
    (tmp_path / digits[:2]).write_text("a file where the folder should be")
    with pytest.raises(BlobStoreFailed, match="could not store"):
        await store.put(name_of(LARGE), pieces(LARGE), size_bytes_max=ENOUGH)


async def test_a_folder_that_cannot_be_made_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BlobStoreFailed, match="file/below"):
        BlobStore.at(str(tmp_path / "file" / "below"))


async def test_many_may_put_the_same_at_once(store: BlobStore) -> None:
    puts = [store.put(name_of(LARGE), pieces(LARGE), size_bytes_max=ENOUGH) for _ in range(4)]
    assert await asyncio.gather(*puts) == [len(LARGE)] * 4
    assert await read(store, name_of(LARGE)) == LARGE


def test_a_process_that_is_stopped_during_an_upload_ends_in_an_orderly_way(tmp_path: Path) -> None:
    program = """
        import asyncio, sys
        from millpond.blobs import BlobStore

        async def stuck():
            yield bytes(6_000_000)
            await asyncio.sleep(60)

        async def main():
            put = BlobStore.at(sys.argv[1]).put("0x" + "00" * 32, stuck(), size_bytes_max=10_000_000)
            try:
                await asyncio.wait_for(put, 0.2)
            except TimeoutError:
                print("stopped")

        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "stopped\n"), ended.stderr
    assert files(tmp_path) == []
