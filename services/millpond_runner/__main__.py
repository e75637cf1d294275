"""``python -m millpond_runner``: the workload beside one GPU, over HTTP."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

import structlog

from millpond.errors import MillpondError
from millpond.settings import LogSettings, load
from millpond.telemetry.logs import set_up_logs
from millpond_runner.lifeline import die_with
from millpond_runner.running import run_runner
from millpond_runner.settings import RunnerSettings

log = structlog.get_logger(__name__)


def main() -> int:
    """Runs until SIGTERM or SIGINT, and returns the exit code: 1 if it can't begin, and says why."""
    parser = argparse.ArgumentParser(prog="python -m millpond_runner", description=__doc__)
    parser.add_argument(
        "--die-with-parent", action="store_true", help="end when the thread that started this ends (Linux)"
    )
    if parser.parse_args().die_with_parent:
        die_with(os.getppid())
    try:
        set_up_logs(load(LogSettings), service="runner")
        asyncio.run(run_runner(load(RunnerSettings)))
    except MillpondError as refusal:
        log.error("refused", service="runner", why=str(refusal))
        return 1
    except BrokenPipeError:
        # Whoever started this has died before it was ready.
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
