"""``millpond send``: a video through the pool, from the terminal."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console

from millpond.errors import MillpondError
from millpond.settings.environment import load
from millpond_cli.gateway.client import EdgeClient, EdgeUrlInvalid
from millpond_cli.gateway.progress import OnEvent
from millpond_cli.gateway.send import DEADLINE_S, IN_FLIGHT, SEGMENT_S, SendResult, new_send_id
from millpond_cli.gateway.send import send as send_video
from millpond_cli.gateway.settings import GatewaySettings
from millpond_cli.gateway.view import shown

_KEY: Final = re.compile(r"mpk_[a-z0-9][a-z0-9-]{0,63}_[A-Za-z0-9_-]{43}")


class KeyMissing(MillpondError):
    """There is no API key: set MILLPOND_GATEWAY_API_KEY, or name a file with --key-file. The pool's operator makes keys."""


class KeyUnreadable(MillpondError):
    """--key-file {path} can't be read: {cause}. Name a file that holds the API key and nothing else."""


class KeyInvalid(MillpondError):
    """The API key from {where} is none: it reads mpk_<gateway>_ and 43 letters, digits, - or _, and nothing else."""


def send(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="Any video file.")],
    rendition: Annotated[
        list[str], typer.Option("--rendition", help="360p (the shorter side), or name:WxH@kbps. Once for each.")
    ],
    edge: Annotated[str | None, typer.Option("--edge", help="The pool's edge; or MILLPOND_GATEWAY_EDGE_URL.")] = None,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="A file with the API key; or MILLPOND_GATEWAY_API_KEY.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="The folder for the renditions.")] = Path(),
    send_id: Annotated[
        str | None, typer.Option("--id", help="Go on with a send that was interrupted, under the id it showed.")
    ] = None,
    segment_s: Annotated[float, typer.Option("--segment-s", help="Seconds of a segment, about.")] = SEGMENT_S,
    deadline_s: Annotated[
        int, typer.Option("--deadline-s", help="Seconds that the pool has for a segment.")
    ] = DEADLINE_S,
    in_flight: Annotated[int, typer.Option("--in-flight", help="Segments at the pool at a time.")] = IN_FLIGHT,
    reencode: Annotated[bool, typer.Option("--reencode", help="Code the video again before it is cut.")] = False,
) -> None:
    """Send a video through the pool: into segments, to the GPUs, and joined into playable files."""
    send_id = send_id or new_send_id()
    console = Console()
    go_on = f"Go on with: --id {send_id}"

    async def work(on_event: OnEvent) -> SendResult:
        this = asyncio.current_task()
        assert this is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
        async with EdgeClient.open(url, key) as client:
            return await send_video(
                video,
                rendition,
                client,
                output,
                on_event,
                send_id=send_id,
                segment_s=segment_s,
                deadline_s=deadline_s,
                in_flight=in_flight,
                reencode=reencode,
            )

    try:
        settings = load(GatewaySettings)
        url, key = edge or settings.edge_url, _key(key_file, settings)
        if not url:
            raise EdgeUrlInvalid(url=url)
        with shown(console) as on_event:
            result = asyncio.run(work(on_event))
    except MillpondError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename or output}. Free it, or take another --output. {go_on}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        _fail(f"Stopped; jobs that were sent go on. {go_on}")
    console.print(_summary(result), markup=False, highlight=False, soft_wrap=True)


def _summary(result: SendResult) -> str:
    again = sum(job.attempts > 1 for job in result.jobs)
    files = "\n".join(f"  {path}" for path in result.files.values())
    repeated = f", {again} of them done again elsewhere" if again else ""
    return f"{result.frames} frames in {len(result.jobs)} segments{repeated}; every file is checked:\n{files}"


def _key(key_file: Path | None, settings: GatewaySettings) -> str:
    """Raises ``KeyMissing``, ``KeyUnreadable``, ``KeyInvalid``. The key itself is never shown."""
    if key_file is not None:
        try:
            key, where = key_file.read_text(errors="replace").strip(), str(key_file)
        except OSError as error:
            raise KeyUnreadable(path=key_file, cause=error.strerror) from error
    elif settings.api_key is not None:
        key, where = settings.api_key.get_secret_value().strip(), "MILLPOND_GATEWAY_API_KEY"
    else:
        raise KeyMissing
    if not _KEY.fullmatch(key):
        raise KeyInvalid(where=where)
    return key


def _fail(sentence: str) -> NoReturn:
    typer.secho(sentence, fg="red", err=True)
    raise typer.Exit(1)
