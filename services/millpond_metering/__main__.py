"""``python -m millpond_metering``: counts what was done."""

from __future__ import annotations

import sys

from millpond.stream import run_service
from millpond_metering.app import build

if __name__ == "__main__":
    sys.exit(run_service(build))
