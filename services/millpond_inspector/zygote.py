"""``python -m millpond_inspector.zygote``: has everything loaded, gives up all rights, and forks for each examination.

A fork takes a millisecond or two, a fresh Python with its libraries a third of a second. Standard input is a socket; a
request is JSON with three descriptors: the file, where the answer goes, and where its end is told. Ends with the socket.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from typing import Any, Final

import av

from millpond_inspector import confinement
from millpond_inspector.examine import Unreadable, examine

REQUEST_BYTES_MAX: Final = 4_096
ANSWER_BYTES_MAX: Final = 16_384

Examine = Callable[..., dict[str, Any]]


@dataclass
class Child:
    """One examination under way. ``told``: where its end is told; ``killed``: it took too long."""

    pid: int
    told: int
    deadline_s: float
    killed: bool = False


class Zygote:
    """Forks for each request, ends what takes too long, tells how each ended. One thread, so that a fork is safe."""

    def __init__(self, requests: socket.socket, examine: Examine) -> None:
        self._requests = requests
        self._examine = examine
        self._mapped_bytes = confinement.mapped_bytes()
        self._children: dict[int, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(requests, selectors.EVENT_READ)
        self._nowhere = os.open(os.devnull, os.O_WRONLY)

    def serve(self, greeting: dict[str, Any]) -> None:
        """Returns when nobody is there to ask any more."""
        self._requests.send(json.dumps(greeting).encode())
        while True:
            for key, _ in self._selector.select(self._patience_s()):
                if key.fileobj is self._requests:
                    if not self._take():
                        return
                else:
                    self._reap(key.fd)
            self._end_late()

    def _take(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._requests, REQUEST_BYTES_MAX, 3)
        if not message:
            return False
        file, answer, told = descriptors
        request = json.loads(message)
        pid = os.fork()
        if pid == 0:
            self._child(request, file, answer)
        # A group of its own, whichever of the two comes first: it is ended as a group.
        os.setpgid(pid, pid)
        os.close(file)
        os.close(answer)
        process = os.pidfd_open(pid)
        self._children[process] = Child(pid, told, time.monotonic() + request["wall_s"])
        self._selector.register(process, selectors.EVENT_READ)
        return True

    def _child(self, request: dict[str, Any], file: int, answer: int) -> None:
        """Never returns: whatever happens ends this process, and the answer says what did."""
        try:
            # Moved up first: a descriptor may be one of those that are overwritten.
            high = [os.dup(each) for each in (file, answer, self._nowhere)]
            for wanted, each in enumerate(high):
                os.dup2(each, wanted)
            os.closerange(confinement.DESCRIPTORS, 4_096)
            mapped_bytes_max = self._mapped_bytes + request["memory_bytes"]
            confinement.limit(cpu_s=request["cpu_s"], mapped_bytes_max=mapped_bytes_max)
            found = self._found(request)
            os.write(1, json.dumps(found).encode()[:ANSWER_BYTES_MAX])
        finally:
            os._exit(0)

    def _found(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            # The file itself, without a buffer between: the demuxer reads in pieces of its own.
            blob = FileIO(0, "rb", closefd=False)
            return self._examine(blob, decode=request["decode"], side_max=request["side_max"])
        except Unreadable as unreadable:
            return {"reason": unreadable.reason, "sentence": unreadable.sentence}
        except MemoryError:
            return {"reason": "too-much-memory", "sentence": "Reading it takes more memory than a rendition may."}
        # Whatever a hostile file makes a library raise is an answer, too.
        except Exception as error:
            return {"reason": "broken", "sentence": f"It can't be read as a video ({type(error).__name__})."}

    def _reap(self, process: int) -> None:
        child = self._children.pop(process)
        self._selector.unregister(process)
        os.close(process)
        _, status = os.waitpid(child.pid, 0)
        killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        end = {"late": child.killed, "signal": killed_by}
        with suppress(OSError):  # nobody waits for it any more
            os.write(child.told, json.dumps(end).encode())
        os.close(child.told)

    def _patience_s(self) -> float | None:
        deadlines_s = [child.deadline_s for child in self._children.values() if not child.killed]
        return max(0.0, min(deadlines_s) - time.monotonic()) if deadlines_s else None

    def _end_late(self) -> None:
        now_s = time.monotonic()
        for child in self._children.values():
            if now_s >= child.deadline_s and not child.killed:
                child.killed = True
                os.killpg(child.pid, signal.SIGKILL)


def main(examine: Examine, decoder: str) -> int:
    zygote = Zygote(socket.socket(fileno=os.dup(0)), examine)
    refused = confinement.confine()
    # What is loaded stays shared: a child's collector would copy every page that it looks at.
    gc.collect()
    gc.freeze()
    zygote.serve({"decoder": decoder, "refused": refused})
    return 0


def load() -> str:
    """Imports all of PyAV, which otherwise imports parts of itself when they are used, and there are no files then.

    Returns the versions that decide what is counted.
    """
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    versions = {name: ".".join(map(str, number)) for name, number in av.library_versions.items()}
    return f"PyAV {av.__version__}, libavformat {versions['libavformat']}, libavcodec {versions['libavcodec']}"


if __name__ == "__main__":
    sys.exit(main(examine, load()))
