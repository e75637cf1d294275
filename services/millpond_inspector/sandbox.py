"""Asks a zygote for examinations, and believes nothing that comes back: it was said beside hostile bytes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, BinaryIO, Final, Self

import structlog
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from millpond.errors import MillpondError
from millpond.events.ids import Reason, Sentence
from millpond.workloads.transcode import SIDE_PIXELS_MAX

ZYGOTE: Final = (sys.executable, "-I", "-m", "millpond_inspector.zygote")
GREETING_S: Final = 30.0
# Beyond an examination's own limit: only a zygote that is frozen or gone takes so long.
GRACE_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 16_384
FRAMES_MAX: Final = 2**31

log = structlog.get_logger(__name__)


class SandboxFailed(MillpondError):
    """The sandbox could not examine a blob: {problem}. It is started anew, and the blob examined again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one examination. ``memory_bytes`` comes on top of what the program has loaded."""

    cpu_s: int = 5
    # Decoding besides counting.
    decode_cpu_s: int = 20
    # Far more than the processor time: a busy machine must not make an honest output unreadable.
    wall_s: float = 30.0
    memory_bytes: int = 1_073_741_824


class Seen(BaseModel):
    """What was counted in a video."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Annotated[int, Field(strict=True, ge=1, le=SIDE_PIXELS_MAX)]
    height: Annotated[int, Field(strict=True, ge=1, le=SIDE_PIXELS_MAX)]
    frames: Annotated[int, Field(strict=True, ge=1, le=FRAMES_MAX)]
    duration_ms: Annotated[int, Field(strict=True, ge=0, le=2**53)] | None
    codec: Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9_]{1,32}$")]
    decoded_frames: Annotated[int, Field(strict=True, ge=0, le=FRAMES_MAX)] | None = None


class NotReadable(BaseModel):
    """No video that could be counted within the limits, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: Reason
    sentence: Sentence


class _Greeting(BaseModel):
    decoder: Annotated[str, StringConstraints(max_length=128)]
    refused: tuple[str, ...]


class _End(BaseModel):
    late: bool
    signal: int | None


class Sandbox:
    """One zygote, started when it is first needed, and again when it has died.

    ``decoder`` says what counts in it, ``refused`` what the kernel did not grant (see ``confinement``).
    """

    def __init__(self, command: Sequence[str] = ZYGOTE, limits: Limits | None = None) -> None:
        self._command = command
        self._limits = limits or Limits()
        self._starting = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None
        self.decoder = ""
        self.refused: tuple[str, ...] = ()

    async def examine(self, blob: BinaryIO, *, decode: bool) -> Seen | NotReadable:
        """What is in an open file. Raises ``SandboxFailed``, which says nothing about the file."""
        requests = await self._zygote()
        request = {
            "decode": decode,
            "side_max": SIDE_PIXELS_MAX,
            "cpu_s": self._limits.decode_cpu_s if decode else self._limits.cpu_s,
            "wall_s": self._limits.wall_s,
            "memory_bytes": self._limits.memory_bytes,
        }
        blob.seek(0)
        with ExitStack() as opened:
            answer, told = _pipe(opened), _pipe(opened)
            descriptors = [blob.fileno(), answer.write, told.write]
            try:
                socket.send_fds(requests, [json.dumps(request).encode()], descriptors)
            except OSError as cause:
                self.close()
                raise SandboxFailed(problem=cause) from cause
            answer.close_write()
            told.close_write()
            end = await self._end(told)
            return _judged(end, os.read(answer.read, ANSWER_BYTES_MAX))

    async def _end(self, told: _Pipe) -> _End:
        try:
            await asyncio.wait_for(_until_readable(told.read), self._limits.wall_s + GRACE_S)
            return _End.model_validate_json(os.read(told.read, ANSWER_BYTES_MAX))
        except (TimeoutError, ValidationError) as cause:
            self.close()
            raise SandboxFailed(problem="it has died, or does not answer") from cause

    async def _zygote(self) -> socket.socket:
        async with self._starting:
            if self._requests is None or self._process is None or self._process.poll() is not None:
                self.close()
                await self._start()
            assert self._requests is not None
            return self._requests

    async def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._requests = ours
        with theirs:
            self._process = self._spawn(theirs)
        # A frozen zygote must not freeze us: what it doesn't take is refused.
        ours.setblocking(False)
        try:
            await asyncio.wait_for(_until_readable(ours.fileno()), GREETING_S)
            greeting = _Greeting.model_validate_json(ours.recv(ANSWER_BYTES_MAX))
        except (TimeoutError, ValidationError, OSError) as cause:
            self.close()
            raise SandboxFailed(problem="it did not start") from cause
        self.decoder, self.refused = greeting.decoder, greeting.refused
        log.info("sandbox_started", decoder=greeting.decoder)
        if greeting.refused:
            log.warning("sandbox_weaker", not_granted=greeting.refused, see="services/millpond_inspector/README.md")

    def _spawn(self, requests: socket.socket) -> subprocess.Popen[bytes]:
        # Without our environment, where the keys are; and Ctrl-C at a terminal is not for it.
        return subprocess.Popen(
            self._command,
            stdin=requests.fileno(),
            stdout=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )

    def close(self) -> None:
        """Ends the zygote, and with it whatever it examines."""
        if self._requests is not None:
            self._requests.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._requests = self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _judged(end: _End, answer: bytes) -> Seen | NotReadable:
    """How it ended comes first: a process that was killed may have said anything before."""
    if end.late or end.signal == signal.SIGXCPU:
        return NotReadable(reason="too-long", sentence="Reading it takes longer than a rendition may.")
    if end.signal is not None:
        return NotReadable(reason="crashed", sentence=f"The program that reads it was ended by signal {end.signal}.")
    for kind in (Seen, NotReadable):
        try:
            return kind.model_validate_json(answer)
        except ValidationError:
            continue
    return NotReadable(reason="crashed", sentence="The program that reads it ended without a usable answer.")


class _Pipe:
    """Both ends of a pipe, as descriptors; closed with the stack that opened it."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        os.set_blocking(self.read, False)
        self._writable = True

    def close_write(self) -> None:
        if self._writable:
            os.close(self.write)
            self._writable = False

    def close(self) -> None:
        self.close_write()
        os.close(self.read)


def _pipe(opened: ExitStack) -> _Pipe:
    pipe = _Pipe()
    opened.callback(pipe.close)
    return pipe


async def _until_readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
