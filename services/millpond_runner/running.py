"""One runner from its start to its end: what it works with, the server, and the way down."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from uvicorn import Config, Server

from millpond.hardware.errors import GpusUnreadable
from millpond.hardware.nvml import read_gpus
from millpond_runner.app import create_app
from millpond_runner.encoder import Ffmpeg, find_ffmpeg
from millpond_runner.errors import AddressUnusable, GpuUnknown
from millpond_runner.ffmpeg import environment
from millpond_runner.jobs import Jobs, Limits
from millpond_runner.settings import RunnerSettings
from millpond_runner.transcoding import Transcoding
from millpond_runner.workshop import Workshop
from millpond_runner.workspace import Workspace, workspace

# Longer than callers keep a connection (httpx: 5 s): else one is closed at the moment when the next job comes over it.
KEEP_ALIVE_S: Final = 75
# For last lines to reach whoever still listens.
GOODBYE_S: Final = 2

log = structlog.get_logger(__name__)


class Ending:
    """``asked`` by the first signal: finish what runs. ``insisted`` by the second: now."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()

    def ask(self) -> None:
        (self.insisted if self.asked.is_set() else self.asked).set()


class _Server(Server):
    """uvicorn without its signal handling: ours lets the jobs finish first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run_runner(settings: RunnerSettings) -> None:
    """Until a signal. Raises a ``MillpondError`` if it can't begin."""
    ending = Ending()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.ask)
    await _check_gpu(settings.gpu)
    with _listening(settings.host, settings.port) as listening, workspace(settings.directory) as space:
        ffmpeg = await find_ffmpeg(
            settings.ffmpeg,
            encoder=settings.encoder,
            environment=environment(settings.gpu),
            directory=space.folder,
        )
        shop = _workshop(settings, ffmpeg, space)
        await _serve(shop, listening, ending, settings.stop_s)


def _workshop(settings: RunnerSettings, ffmpeg: Ffmpeg, space: Workspace) -> Workshop:
    limits = Limits(slots=settings.slots, hang_s=settings.hang_s, job_s=settings.job_s, keep_s=settings.keep_s)
    threads = settings.threads or max(1, (os.cpu_count() or 1) // settings.slots)
    transcoding = Transcoding(ffmpeg, threads=threads, hang_s=settings.hang_s)
    return Workshop(
        slots=settings.slots,
        gpu=settings.gpu,
        token=settings.auth_token.get_secret_value() if settings.auth_token else None,
        ffmpeg=ffmpeg,
        workspace=space,
        jobs=Jobs(limits, transcoding=transcoding, workspace=space),
    )


async def _check_gpu(gpu: str | None) -> None:
    """A card that isn't there would be none to ffmpeg, and the processor would do its work. Raises ``GpuUnknown``."""
    if gpu is None:
        return
    try:
        known = [each.id for each in await asyncio.to_thread(read_gpus)]
    except GpusUnreadable as error:
        raise GpuUnknown(gpu=gpu, known=error) from error
    if gpu not in known:
        raise GpuUnknown(gpu=gpu, known=", ".join(known) or "no NVIDIA GPU")


async def _serve(shop: Workshop, listening: socket.socket, ending: Ending, stop_s: float) -> None:
    config = Config(
        create_app(shop),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GOODBYE_S,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        # It listens since it was bound; who connects before the server is there, waits.
        announce(listening, shop)
        await _until_over(shop.jobs, serving, ending, stop_s)
    finally:
        await shop.jobs.stop()
        server.should_exit = True
        await serving


async def _until_over(jobs: Jobs, serving: asyncio.Task[None], ending: Ending, stop_s: float) -> None:
    await _first(ending.asked, serving)
    finishing = asyncio.create_task(jobs.finish(stop_s))
    await _first(ending.insisted, serving, finishing)
    finishing.cancel()


async def _first(event: asyncio.Event, *tasks: asyncio.Task[None]) -> None:
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


def announce(listening: socket.socket, shop: Workshop) -> None:
    """The one line on standard output. Raises ``BrokenPipeError`` if nobody is there any more to read it."""
    host, port = listening.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    said = {"url": url, "pid": os.getpid(), "encoder": shop.ffmpeg.encoder, "slots": shop.slots}
    print(json.dumps(said), flush=True)
    log.info("listens", **said)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Raises ``AddressUnusable``."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressUnusable(host=host, port=port, why=error.strerror or error) from error
    with listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
            listening.listen()
        except OSError as error:
            raise AddressUnusable(host=host, port=port, why=error.strerror or error) from error
        yield listening
