"""Whatever bytes do to the program that reads them, the answer is a finding, and nothing leaves the sandbox."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from millpond_inspector.sandbox import Limits, NotReadable, Sandbox, SandboxFailed, Seen

HOSTILE = (sys.executable, "-I", str(Path(__file__).with_name("hostile_zygote.py")))
# What a test waits for is short; what must not end early is long.
QUICK = Limits(cpu_s=1, wall_s=3.0)


@pytest.fixture(scope="module")
def real() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def hostile() -> Iterator[Sandbox]:
    with Sandbox(HOSTILE, QUICK) as sandbox:
        yield sandbox


async def examined(sandbox: Sandbox, content: bytes, *, decode: bool = False) -> Seen | NotReadable:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return await sandbox.examine(file, decode=decode)


async def obeyed(sandbox: Sandbox, order: str) -> NotReadable:
    found = await examined(sandbox, order.encode())
    assert isinstance(found, NotReadable)
    return found


@pytest.mark.parametrize("kind", ["transport stream", "odd size", "mp4", "fragmented mp4"])
@pytest.mark.parametrize("decode", [False, True])
async def test_a_video_is_counted(real: Sandbox, videos: dict[str, bytes], kind: str, decode: bool) -> None:
    found = await examined(real, videos[kind], decode=decode)
    assert isinstance(found, Seen), found
    assert (found.width, found.height) == ((426, 240) if kind == "odd size" else (128, 72))
    assert (found.frames, found.codec, found.decoded_frames) == (25, "h264", 25 if decode else None)
    assert found.duration_ms in range(920, 1_041)


async def test_what_decodes_is_told_where_packets_are_broken(real: Sandbox, videos: dict[str, bytes]) -> None:
    whole = bytearray(videos["transport stream"])
    # Payloads of the second half are noise; the packets still stand there.
    for start in range(len(whole) // 2 // 188 * 188, len(whole), 188):
        whole[start + 30 : start + 188] = os.urandom(158)
    found = await examined(real, bytes(whole), decode=True)
    assert isinstance(found, Seen), found
    assert found.decoded_frames is not None
    assert found.decoded_frames < 25


async def test_a_stream_that_shrinks_on_the_way_does_not_decode_as_what_it_began(
    real: Sandbox, videos: dict[str, bytes]
) -> None:
    found = await examined(real, videos["odd size"] + videos["transport stream"], decode=True)
    assert isinstance(found, Seen), found
    assert (found.width, found.frames, found.decoded_frames) == (426, 50, 25)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "unknown-format", id="nothing"),
        pytest.param(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "unknown-format", id="a playlist"),
        pytest.param(b"ffconcat version 1.0\nfile /etc/passwd\n", "unknown-format", id="a concat script"),
        pytest.param(b"RIFF\x10\0\0\0AVI LIST", "unknown-format", id="another container"),
        pytest.param(b"\x47" * 200_000, "broken", id="sync bytes and nothing else"),
        pytest.param(b"\0\0\0\x18ftypmp42" + b"\xff" * 5_000, "broken", id="a header and noise"),
        # moov → trak nested without end.
        pytest.param(b"\0\0\0\x18ftypmp42" + b"\0\0\0\x08moov" * 20_000, "broken", id="boxes in boxes"),
    ],
)
async def test_what_is_no_video_is_told_why(real: Sandbox, content: bytes, reason: str) -> None:
    found = await examined(real, content)
    assert isinstance(found, NotReadable)
    assert (found.reason, found.sentence[-1]) == (reason, ".")


async def test_a_cut_off_index_is_broken_and_a_cut_off_stream_has_fewer_frames(
    real: Sandbox, videos: dict[str, bytes]
) -> None:
    assert isinstance(await examined(real, videos["mp4"][:-300]), NotReadable)
    found = await examined(real, videos["transport stream"][: len(videos["transport stream"]) // 2])
    assert isinstance(found, Seen)
    assert found.frames < 25


async def test_frames_that_are_too_large_or_not_of_a_known_codec_are_not_counted(
    real: Sandbox, videos: dict[str, bytes]
) -> None:
    assert (await obeyed_by(real, videos["huge"])).reason == "too-large"
    assert (await obeyed_by(real, videos["raw"])).reason == "unknown-codec"


async def obeyed_by(sandbox: Sandbox, content: bytes) -> NotReadable:
    found = await examined(sandbox, content)
    assert isinstance(found, NotReadable), found
    return found


async def test_the_same_bytes_are_always_seen_the_same(real: Sandbox, videos: dict[str, bytes]) -> None:
    content = videos["odd size"][:-1_000]
    seen = await asyncio.gather(*(examined(real, content, decode=True) for _ in range(4)))
    assert len({found.model_dump_json() for found in seen}) == 1


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("crash", "crashed"),
        ("leave", "crashed"),
        ("spin", "too-long"),
        ("sleep", "too-long"),
        ("flood", "too-long"),
        ("eat", "too-much-memory"),
        ("lie {", "crashed"),
        ('lie {"width":1,"height":1,"frames":-1,"duration_ms":null,"codec":"h264"}', "crashed"),
        ('lie {"width":99999,"height":1,"frames":1,"duration_ms":null,"codec":"h264"}', "crashed"),
        ('lie {"reason":"Not-a-reason","sentence":"x"}', "crashed"),
    ],
)
async def test_a_program_that_is_taken_over_ends_as_a_finding(hostile: Sandbox, order: str, reason: str) -> None:
    assert (await obeyed(hostile, order)).reason == reason


async def test_it_has_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLPOND_POSTGRES_DSN", "postgresql://secret")
    with Sandbox(HOSTILE, QUICK) as sandbox:
        # LC_CTYPE is what Python itself sets.
        assert (await obeyed(sandbox, "environment")).sentence in ("[]", "['LC_CTYPE']")


async def test_it_opens_no_file_and_starts_no_process(hostile: Sandbox) -> None:
    assert (await obeyed(hostile, "open-anew /dev/null")).sentence == "OSError 24"
    assert (await obeyed(hostile, "fork")).sentence.startswith("BlockingIOError")


async def test_with_a_descriptor_that_it_gave_up_it_still_finds_no_file_and_no_network(hostile: Sandbox) -> None:
    await obeyed(hostile, "environment")
    if hostile.refused:
        pytest.skip(f"this kernel does not grant {', '.join(hostile.refused)}: descriptors are all that holds it")
    for path in ("/etc/hostname", f"/proc/{os.getpid()}/environ", str(Path(__file__))):
        assert (await obeyed(hostile, f"read {path}")).sentence in ("FileNotFoundError 2", "PermissionError 13")
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert (await obeyed(hostile, f"connect {server.getsockname()[1]}")).sentence == "OSError 101"


async def test_others_go_on_while_one_hangs(hostile: Sandbox) -> None:
    slow = asyncio.create_task(obeyed(hostile, "sleep"))
    quick = [await obeyed(hostile, "environment") for _ in range(3)]
    assert not slow.done()
    assert [each.reason for each in quick] == ["done"] * 3
    await slow


async def test_a_zygote_that_died_is_started_anew(hostile: Sandbox) -> None:
    await obeyed(hostile, "environment")
    waiting = asyncio.create_task(obeyed(hostile, "sleep"))
    await asyncio.sleep(0.2)
    assert hostile._process is not None
    first = hostile._process.pid
    hostile._process.kill()
    with pytest.raises(SandboxFailed):
        await waiting
    assert (await obeyed(hostile, "environment")).reason == "done"
    assert hostile._process.pid != first


async def test_nothing_is_left_behind_when_the_sandbox_is_closed(hostile: Sandbox) -> None:
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await obeyed(hostile, "environment")
    assert set(os.listdir("/proc/self/fd")) == before
