"""``python -m millpond_scheduler``."""

from __future__ import annotations

import sys

from millpond.stream.main import run_service
from millpond_scheduler.app import build

if __name__ == "__main__":
    sys.exit(run_service(build))
