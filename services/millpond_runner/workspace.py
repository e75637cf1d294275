"""The runner's folders on disk: a new one for each job, and none of them is left behind for long."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from millpond_runner.errors import DirectoryUnusable

# A folder is its runner's as long as the lock on it is held; the kernel lets go of it when the runner dies. The same
# lock tells systemd-tmpfiles to keep its hands off.
RUNNER_PREFIX: Final = "runner-"
JOB_PREFIX: Final = "job-"


@dataclass(frozen=True)
class Workspace:
    """``folder`` is this runner's alone."""

    folder: Path

    def job_folder(self) -> Path:
        """A new, empty one. Not named after the job: ids that differ only in case are two jobs on every disk."""
        return Path(tempfile.mkdtemp(prefix=JOB_PREFIX, dir=self.folder))

    def remove(self, job_folder: Path) -> None:
        """Nothing happens if it is gone. Some unlinks: quick enough to do without a thread."""
        shutil.rmtree(job_folder, ignore_errors=True)

    @property
    def is_there(self) -> bool:
        return self.folder.is_dir() and os.access(self.folder, os.W_OK)


@contextmanager
def workspace(directory: Path | None) -> Iterator[Workspace]:
    """A folder in ``directory``, which is made; removed at the end. What killed runners left there is removed at once.

    Raises ``DirectoryUnusable``.
    """
    place = directory or Path(tempfile.gettempdir(), f"millpond-runner-{os.getuid()}")
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(place)
        # Runners that start together take turns: a folder is locked before anybody else may find it.
        with _locked(place):
            _remove_orphans(place)
            folder = Path(tempfile.mkdtemp(prefix=RUNNER_PREFIX, dir=place))
            lock = _lock(folder, fcntl.LOCK_EX)
    except OSError as error:
        raise DirectoryUnusable(directory=place, why=error.strerror or error) from error
    try:
        yield Workspace(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _check_owner(place: Path) -> None:
    # In a temporary directory anybody may have made it before us, to read or to change what is put there.
    if place.is_symlink() or place.stat().st_uid != os.getuid():
        raise DirectoryUnusable(directory=place, why="it belongs to another user, or is a link")


def _remove_orphans(place: Path) -> None:
    for folder in place.glob(f"{RUNNER_PREFIX}*"):
        with suppress(OSError):  # a living runner's is locked; what else can't be removed is in nobody's way
            lock = _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    lock = _lock(place, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)


def _lock(folder: Path, how: int) -> int:
    """Held until the returned descriptor is closed; children don't inherit it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
