"""What a process gives up before it touches hostile bytes. Linux; what the kernel refuses is left out, and said."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import tempfile
from typing import Final, Literal

CLONE_NEWIPC: Final = 0x0800_0000
CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWNET: Final = 0x4000_0000
PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NO_NEW_PRIVS: Final = 38
CAPABILITY_VERSION_3: Final = 0x2008_0522
NOBODY: Final = 65_534
# The blob, the answer, and where what a library prints goes: to nobody.
DESCRIPTORS: Final = 3

Refused = Literal["network", "files"]

_libc = ctypes.CDLL(None, use_errno=True)


def confine() -> list[Refused]:
    """For the rest of this process and all its children: no rights, no network, no files. Returns what wasn't granted.

    Root can do it as root; others become root of a user namespace of their own, where the kernel lets them. Whatever is
    refused, ``limit`` still leaves no descriptor to open a file or a socket with.
    """
    refused: list[Refused] = []
    root = os.getuid() == 0
    # A directory that is deleted: nothing is in it, and nothing can be put there.
    empty = tempfile.mkdtemp(prefix="millpond-empty-")
    os.chdir(empty)
    os.rmdir(empty)
    if _libc.unshare(CLONE_NEWNET | CLONE_NEWIPC | (0 if root else CLONE_NEWUSER)) != 0:
        refused.append("network")
    try:
        os.chroot(".")
    except OSError:
        refused.append("files")
    if root:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    _drop_capabilities()
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return refused


def limit(*, cpu_s: int, mapped_bytes_max: int) -> None:
    """For one examination: seconds of processor time, bytes of memory; no new file, socket, thread or process."""
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_AS, (mapped_bytes_max, mapped_bytes_max))
    # Ended by SIGXCPU, or a second later by SIGKILL.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


def die_with_parent() -> None:
    """Of the thread that started us. A change of rights takes it back, so it comes after all of those."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def hide_memory() -> None:
    """For a process with keys in its environment: no other process of the same user may look into it."""
    _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def mapped_bytes() -> int:
    """What this process has mapped now; to be asked while there still is a /proc."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    _libc.capset(header, (ctypes.c_uint32 * 6)())
