"""``make demo``, as a user starts it: the whole pool on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

# Several times what it takes on a busy machine of two cores: only a demo that hangs is cut off.
DEMO_S_MAX = 400
FILES = ("bigbuckbunny-240p.mp4", "bigbuckbunny-360p.mp4", "bigbuckbunny-480p.mp4")


def demo(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "millpond_demo", "--directory", str(directory), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEMO_S_MAX,
    )


def left_running(directory: Path) -> list[str]:
    """Processes that have anything of this demo on their command line or in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if int(process.name) != os.getpid() and str(directory).encode() in text:
            found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def summary_of(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "summary.json").read_text())
    return found


def test_every_job_is_counted_once_and_every_wei_paid_once(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout
    summary = summary_of(tmp_path)
    check_work(summary)
    check_money(summary)
    assert all((tmp_path / "renditions" / name).exists() for name in FILES)
    assert "ended by itself" not in done.stdout
    assert "  It all comes out: epochs 0 to 0" in done.stdout
    assert "  Good: the pool 'demo' has countersigned this line" in done.stdout
    assert left_running(tmp_path) == []


def check_work(summary: dict[str, Any]) -> None:
    jobs = summary["jobs"]
    assert jobs["requested"] == jobs["succeeded"] == summary["usage_lines"] > 0
    # The machine that is killed on its own first job.
    assert jobs["reassigned"] >= 1
    contributors = summary["contributors"].values()
    assert sorted(each["devices"] for each in contributors) == [1, 2]
    assert sum(each["jobs"] for each in contributors) == summary["usage_lines"]
    assert sum(each["pixels"] for each in contributors) == summary["pixels"]
    # 132 frames, each in 426x240, 640x360 and 854x480.
    assert summary["pixels"] == 132 * (426 * 240 + 640 * 360 + 854 * 480)


def check_money(summary: dict[str, Any]) -> None:
    """``proportional/1``, once more and by itself: each has the part of what is shared that his pixels are of all."""
    revenue, operator = int(summary["revenue_wei"]), int(summary["operator_wei"])
    assert (revenue, operator) == (5 * 10**17, 5 * 10**16)
    paid = 0
    for each in summary["contributors"].values():
        wei = (revenue - operator) * each["pixels"] // summary["pixels"]
        assert int(each["wei"]) == wei
        assert each["status"] == ("paid" if wei else "nothing-to-pay")
        assert (each["payout_tx"] is not None) == bool(wei)
        paid += wei
    assert revenue == paid + operator + int(summary["carried_wei"])
    assert summary["audit"] == "match"


def test_a_file_that_is_no_video_ends_in_a_sentence_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear pool, here is no video.")
    done = demo(tmp_path / "demo", "--input", str(tmp_path / "letter.txt"))
    assert done.returncode == 1
    assert "letter.txt is no video" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "demo").exists()


def test_an_unknown_victim_is_refused_with_those_there_are(tmp_path: Path) -> None:
    done = demo(tmp_path / "demo", "--chaos", "treasurer")
    assert done.returncode == 1
    assert "'treasurer'" in done.stdout
    assert "scheduler" in done.stdout
