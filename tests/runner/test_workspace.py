"""Folders: one for each runner and each job, and what killed runners left is removed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from millpond_runner.errors import DirectoryUnusable
from millpond_runner.workspace import workspace

# Takes a folder, leaves a file in it, says so, and waits to be killed.
PROGRAM = """
import sys, time
from pathlib import Path
from millpond_runner.workspace import workspace
with workspace(Path(sys.argv[1])) as space:
    (space.job_folder() / "input").write_text("left")
    print(space.folder, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_runner_left_is_removed_and_a_living_one_s_is_not(tmp_path: Path) -> None:
    runners = [
        subprocess.Popen((sys.executable, "-c", PROGRAM, str(tmp_path)), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        folders = [Path(runner.stdout.readline().strip()) for runner in runners if runner.stdout]
        runners[0].kill()
        runners[0].wait()
        with workspace(tmp_path) as space:
            assert not folders[0].exists()
            assert [path.name for path in folders[1].rglob("input")] == ["input"]
            assert space.is_there
        assert not space.folder.exists()
    finally:
        for runner in runners:
            runner.kill()
            runner.wait()
            assert runner.stdout
            runner.stdout.close()


def test_nobody_else_can_look_into_it_and_strange_files_stay(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "place"
    with workspace(directory) as space:
        assert stat.S_IMODE(space.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(space.job_folder().stat().st_mode) == 0o700
    (directory / "holiday.jpg").write_text("mine")
    with workspace(directory):
        assert (directory / "holiday.jpg").exists()


def test_a_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DirectoryUnusable, match="file"), workspace(tmp_path / "file"):
        pass


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """In a shared temporary directory anybody can put one there."""
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(DirectoryUnusable, match="a link"), workspace(tmp_path / "link"):
        pass


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    directory = tmp_path / "theirs"
    directory.mkdir()
    os.chown(directory, 12345, 12345)
    with pytest.raises(DirectoryUnusable, match="another user"), workspace(directory):
        pass
