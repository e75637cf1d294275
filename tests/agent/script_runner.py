"""A runner that does what the segment's first word says: it speaks the runner's HTTP, and fails in every way there is.

As a program it announces itself as the real one does.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


class ScriptRunner:
    def __init__(self, *, encoder: str = "libx264", slots: int = 2, token: str | None = None) -> None:
        self.encoder = encoder
        self.slots = slots
        self.token = token
        self.cards: dict[str, Any] = {}
        self.started: list[str] = []
        self.deleted: list[str] = []
        self.outputs: dict[tuple[str, str], bytes] = {}
        self.is_well = True
        self.app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/capacity", self._capacity),
                Route("/hardware/info", self._info),
                Route("/hardware/stats", self._stats),
                Route("/transcode", self._transcode, methods=["POST"]),
                Route("/outputs/{job}/{rendition}", self._output),
                Route("/outputs/{job}", self._delete, methods=["DELETE"]),
            ]
        )

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "OK" if self.is_well else "ERROR"})

    async def _capacity(self, _: Request) -> Response:
        return JSONResponse({"encoder": self.encoder, "slots": self.slots, "running": 0})

    async def _info(self, _: Request) -> Response:
        return JSONResponse({"pipeline": "transcode", "model_id": "h264", "gpu_info": self.cards})

    async def _stats(self, _: Request) -> Response:
        return JSONResponse({"pipeline": "transcode", "model_id": "h264", "gpu_stats": self.cards})

    async def _transcode(self, request: Request) -> Response:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return _refused(401, "unauthorized")
        content = await request.body()
        spec = json.loads(request.headers["millpond-spec"])
        word = content.split(b" ")[0].decode()
        self.started.append(spec["job"])
        match word:
            case "disk-full":
                return _refused(507, "disk-full")
            case "odd-words":
                return _refused(418, "I'm A Teapot")
            case "no-slot" if self.started.count(spec["job"]) == 1:
                return _refused(503, "no-slot")
            case "job-exists" if spec["job"] not in self.deleted:
                return _refused(409, "job-exists")
        return StreamingResponse(self._lines(word, content, spec), media_type="application/x-ndjson")

    async def _lines(self, word: str, content: bytes, spec: Any) -> AsyncIterator[bytes]:
        for frames in (5, 10):
            yield _line({"type": "progress", "frames": frames, "seconds": 0.1})
            await asyncio.sleep(0.02)
        match word:
            case "crash":
                return
            case "nonsense":
                yield b"<html>\n"
                return
            case "bad-input":
                yield _line({"type": "failed", "reason": "bad-input", "sentence": "There is no video in it."})
                return
            case "slow":
                for frames in range(11, 10_000):
                    yield _line({"type": "progress", "frames": frames, "seconds": 0.1})
                    await asyncio.sleep(0.05)
            case "while":
                await asyncio.sleep(float(content.split(b" ")[1]))
            case "die":
                os._exit(3)
        renditions = spec["renditions"][:1] if word == "too-few" else spec["renditions"]
        yield _line(
            {"type": "done", "decoded_frames": 10, "renditions": [self._made(spec, each) for each in renditions]}
        )

    def _made(self, spec: Any, rendition: Any) -> Any:
        content = json.dumps([spec["job"], rendition]).encode()
        self.outputs[spec["job"], rendition["name"]] = content
        return {
            "name": rendition["name"],
            "hash": "0x" + hashlib.sha256(content).hexdigest(),
            "size_bytes": len(content),
            "width": rendition["width"],
            "height": rendition["height"],
            "frames": 10,
            "pixels": rendition["width"] * rendition["height"] * 10,
        }

    async def _output(self, request: Request) -> Response:
        content = self.outputs.get((request.path_params["job"], request.path_params["rendition"]))
        return Response(content, media_type="video/mp2t") if content else _refused(404, "no-output")

    async def _delete(self, request: Request) -> Response:
        job = request.path_params["job"]
        self.deleted.append(job)
        self.outputs = {key: content for key, content in self.outputs.items() if key[0] != job}
        return Response(status_code=204)


def _refused(status: int, reason: str) -> Response:
    return JSONResponse({"detail": {"msg": f"It refuses: {reason}.", "reason": reason}}, status)


def _line(said: Any) -> bytes:
    return json.dumps(said).encode() + b"\n"


def main() -> None:
    if os.environ.get("SCRIPT_RUNNER_FAILS"):
        sys.exit("no ffmpeg")
    # The first argument is the encoder of a machine with a card; without a card there is x264.
    encoder = sys.argv[1] if os.environ.get("MILLPOND_RUNNER_GPU") else "libx264"
    runner = ScriptRunner(encoder=encoder, token=os.environ["MILLPOND_RUNNER_AUTH_TOKEN"])
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    slots = int(os.environ["MILLPOND_RUNNER_SLOTS"])
    print(json.dumps({"url": url, "pid": os.getpid(), "encoder": encoder, "slots": slots}), flush=True)
    uvicorn.Server(uvicorn.Config(runner.app, log_config=None, lifespan="off")).run(sockets=[listening])


if __name__ == "__main__":
    main()
