"""A zygote whose libraries have been taken over: what it does in an examination is what the blob says. Run as a program."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import time
from io import FileIO
from typing import Any

from millpond_inspector.examine import Unreadable
from millpond_inspector.zygote import main


def obey(blob: FileIO, *, decode: bool, side_max: int) -> dict[str, Any]:
    words = blob.readall().decode().split()
    raise Unreadable("done", tried(*words))


def tried(order: str, argument: str = "") -> str:
    match order:
        case "crash":
            ctypes.string_at(0)
        case "sleep":
            time.sleep(1_000)
        case "spin":
            while True:
                pass
        case "eat":
            return str(len(bytearray(2**33)))
        case "flood":
            os.write(1, b"x" * 2**20)
        case "lie":
            os.write(1, argument.encode())
            os._exit(0)
        case "leave":
            os._exit(0)
        case "environment":
            return str(sorted(os.environ))
    try:
        return escaped(order, argument)
    except OSError as refused:
        return f"{type(refused).__name__} {refused.errno}"


def escaped(order: str, argument: str) -> str:
    match order:
        case "open-anew":
            return str(os.open(argument, os.O_RDONLY))
        # With a descriptor that it has given up for it.
        case "read":
            os.close(0)
            return os.read(os.open(argument, os.O_RDONLY), 100).decode()
        case "connect":
            os.close(0)
            socket.socket().connect(("127.0.0.1", int(argument)))
            return "connected"
        case "fork":
            return str(os.fork())
    raise AssertionError(order)


if __name__ == "__main__":
    sys.exit(main(obey, "hostile"))
