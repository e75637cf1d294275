"""Running ffmpeg: what it may use, what it says, and that it ends when it has to."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from millpond_runner.lifeline import die_with

# What it needs to find its libraries and a card's driver. All else, tokens above all, stays here.
PASSED_ON: Final = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
CHUNK_BYTES: Final = 64 * 1024
# A line of -progress has some dozen characters.
LINE_BYTES_MAX: Final = 4 * 1024
# A broken input makes it complain for each macroblock: the first words name the cause, the last ones the end.
ERRORS_BYTES_EACH: Final = 16 * 1024


@dataclass(frozen=True)
class Exit:
    """``status``: -n is signal n. ``errors``: beginning and end of its standard error."""

    status: int
    errors: str


def environment(gpu: str | None) -> dict[str, str]:
    """For ffmpeg. ``gpu``: the UUID of the one card that it may use; None: all."""
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**passed_on, "CUDA_VISIBLE_DEVICES": gpu} if gpu else passed_on


async def run_ffmpeg(
    command: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    output_bytes_max: int,
    told: Callable[[str], None],
) -> Exit:
    """Runs it in ``directory``; ``told`` hears each line of its standard output. No file grows over ``output_bytes_max``.

    Cancelled, it kills ffmpeg, with all that it started, before it goes on. Raises ``OSError`` if it can't be started.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=directory,
        env=environment,
        start_new_session=True,
        preexec_fn=partial(_confine, os.getpid(), _file_limit(output_bytes_max)),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        _, errors, status = await asyncio.gather(
            _hear(process.stdout, told), _beginning_and_end(process.stderr), process.wait()
        )
    except BaseException:
        # The whole group: the binary may be a script that has started another.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    return Exit(status, errors)


def _confine(parent: int, file_bytes_max: int) -> None:
    """Runs between fork and exec."""
    die_with(parent)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, file_bytes_max))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _file_limit(bytes_max: int) -> int:
    """Nobody may raise the limit that he was given."""
    _, given = resource.getrlimit(resource.RLIMIT_FSIZE)
    return bytes_max if given == resource.RLIM_INFINITY else min(bytes_max, given)


async def _hear(output: asyncio.StreamReader, told: Callable[[str], None]) -> None:
    rest = b""
    while chunk := await output.read(CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[-LINE_BYTES_MAX:]
        for line in lines:
            told(line.decode(errors="replace"))


async def _beginning_and_end(errors: asyncio.StreamReader) -> str:
    beginning = end = b""
    while chunk := await errors.read(CHUNK_BYTES):
        room = ERRORS_BYTES_EACH - len(beginning)
        beginning += chunk[:room]
        end = (end + chunk[room:])[-ERRORS_BYTES_EACH:]
    return (beginning + end).decode(errors="replace")
